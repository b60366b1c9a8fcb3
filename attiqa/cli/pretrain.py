"""`attiqa pretrain PHOTOS --labels LABELS`: teach a network the order of the attributes."""

import json
from dataclasses import asdict, replace
from typing import Any

import torch
from rich import print

from attiqa.attributes import ATTRIBUTES
from attiqa.cli.settings.pretrain import Settings
from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.photo_folder import PhotoFiles, list_photos
from attiqa.files import write_atomically
from attiqa.labels.rank_averaging import read_averaged_labels
from attiqa.model.cards import Card
from attiqa.model.checkpoints import load_backbone, save_checkpoint
from attiqa.model.networks import AttributeNet
from attiqa.provenance.versions import versions
from attiqa.teachers.teacher import AttributeTeacher, ClipTeacher, MeasuredTeacher
from attiqa.training.pretraining import Labels, pretrain


def main(settings: Settings) -> None:
    """Train, then write the network and its card.

    Raises:
        ValueError: The architecture asks for other attributes than the labels have, or averaged
            ranks are to be Eq. 2's.
    """
    fabric = settings.machine.launch(settings.out)
    photos, teacher, attributes, source = _supervision(settings, fabric.device)
    if settings.architecture.attributes not in (ATTRIBUTES, attributes):
        raise ValueError(
            f"architecture.attributes: the labels have {attributes}, which the network takes over; "
            f"found {settings.architecture.attributes}"
        )
    architecture = replace(settings.architecture, attributes=attributes)
    torch.manual_seed(settings.pretraining.schedule.seed)
    net = AttributeNet(architecture)
    if settings.init:
        load_backbone(net, settings.init)
    state = settings.out / "state.ckpt"
    history = pretrain(fabric, net, photos, teacher, settings.pretraining, state)
    if not fabric.is_global_zero:
        return
    card = Card(
        name=settings.name,
        kind="AttributeNet",
        architecture=architecture,
        protocol=CropProtocol(),
        scale=None,
        teacher=source["teacher"],
        training=source
        | {"photographs": len(photos), "init": settings.init.name if settings.init else "random"},
        settings=asdict(settings.pretraining) | {"machine": asdict(settings.machine)},
        metrics={"last epoch": history[-1]},
        versions=versions(),
        limits="Orders photographs by attributes, as its teacher does; no quality score.",
        attributes=attributes,
    )
    path = save_checkpoint(settings.out, net, card)
    text = json.dumps(history, indent=2) + "\n"
    write_atomically(settings.out / "history.json", text.encode())
    print(f"{path}: {history[-1]}")


def _supervision(
    settings: Settings, device: torch.device
) -> tuple[PhotoFiles, AttributeTeacher | Labels, tuple[str, ...], dict[str, Any]]:
    """Get the photographs, what labels them with which attributes, and the card's words for it."""
    if settings.labels:
        labels = read_averaged_labels(settings.labels)
        if settings.pretraining.loss == "eq2" and "logit_scale" not in labels.manifest["teacher"]:
            raise ValueError("pretraining.loss: eq2 needs the differences of one teacher's cosines")
        photos = PhotoFiles(settings.photos / path for path in labels.paths)
        name = f"labels of {json.dumps(labels.manifest['teacher'])}"
        source = {"teacher": name, "labels": dict(labels.manifest)}
        return photos, labels.deltas, labels.attributes, source
    photos = PhotoFiles(list_photos(settings.photos))
    if settings.teacher == "measured":
        return photos, MeasuredTeacher(), ATTRIBUTES, {"teacher": MeasuredTeacher.name}
    prompts = settings.prompting.read()
    teacher = ClipTeacher(settings.clip, settings.clip_weights, device, prompts=prompts)
    labels = teacher.describe() | {"prompts_from": settings.prompting.describe()}
    return photos, teacher, tuple(prompts), {"teacher": teacher.name, "labels": labels}
