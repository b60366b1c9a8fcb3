"""`attiqa pretrain PHOTOS --labels LABELS`: teach a network the order of the attributes."""

import json
from dataclasses import asdict, replace
from typing import Any

import torch
from rich.console import Console

from attiqa.attributes import ATTRIBUTES
from attiqa.cli.settings.pretrain import Settings
from attiqa.cli.views import warn_of_views
from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.photo_folder import PhotoFiles, list_photos
from attiqa.errors import SettingsError
from attiqa.files import write_atomically
from attiqa.labels.rank_averaging import read_averaged_labels
from attiqa.labels.store import Labels as StoredLabels
from attiqa.model.cards import Card
from attiqa.model.checkpoints import load_backbone, save_checkpoint
from attiqa.model.networks import AttributeNet
from attiqa.provenance.versions import versions
from attiqa.teachers.teacher import AttributeTeacher, ClipTeacher, MeasuredTeacher
from attiqa.training.pretraining import Labels, pretrain


def main(settings: Settings) -> None:
    """Train, then write the network and its card.

    Raises:
        SettingsError: The architecture asks for other attributes than the labels have, there are
            fewer photographs than a step takes, or Eq. 2 is to be learnt from labels that are not
            CLIP's.
        BackboneError: There is no such backbone.
    """
    labels = read_averaged_labels(settings.labels) if settings.labels else None
    eq2 = settings.pretraining.loss == "eq2"
    if labels is not None and eq2 and "logit_scale" not in labels.manifest["teacher"]:
        raise SettingsError(
            "pretraining.loss: eq2 needs labels that are differences of CLIP's cosines; found "
            f"those of {labels.manifest['teacher'].get('teacher')}"
        )
    photos = _photographs(settings, labels)
    devices, nodes = settings.machine.size
    settings.pretraining.schedule.epoch_steps(len(photos), devices * nodes)
    attributes = _attributes(settings, labels)
    if settings.architecture.attributes not in (ATTRIBUTES, attributes):
        raise SettingsError(
            f"architecture.attributes: the labels have {attributes}, which the network takes over; "
            f"found {settings.architecture.attributes}"
        )
    architecture = replace(settings.architecture, attributes=attributes)
    torch.manual_seed(settings.pretraining.schedule.seed)
    net = AttributeNet(architecture)
    if settings.init:
        load_backbone(net, settings.init)
    views = warn_of_views(photos.paths, settings.pretraining.schedule.crops)
    fabric = settings.machine.launch(settings.out)
    teacher, source = _teacher(settings, labels, fabric.device)  # may be a large download
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
        | {"photographs": len(photos), "init": settings.init.name if settings.init else "random"}
        | ({"views": views} if views else {}),
        settings=asdict(settings.pretraining) | {"machine": asdict(settings.machine)},
        metrics={"last epoch": history[-1]},
        versions=versions(),
        limits="Orders photographs by attributes, as its teacher does; no quality score.",
        attributes=attributes,
    )
    path = save_checkpoint(settings.out, net, card)
    text = json.dumps(history, indent=2) + "\n"
    write_atomically(settings.out / "history.json", text.encode())
    Console(soft_wrap=True).print(f"{path}: {history[-1]}", markup=False, highlight=False)


def _photographs(settings: Settings, labels: StoredLabels | None) -> PhotoFiles:
    """List the photographs of a folder, or those that have labels."""
    if labels is None:
        return PhotoFiles(list_photos(settings.photos))
    return PhotoFiles(settings.photos / path for path in labels.paths)


def _attributes(settings: Settings, labels: StoredLabels | None) -> tuple[str, ...]:
    """Name what is labelled."""
    if labels is not None:
        return labels.attributes
    return ATTRIBUTES if settings.teacher == "measured" else tuple(settings.prompting.read())


def _teacher(
    settings: Settings, labels: StoredLabels | None, device: torch.device
) -> tuple[AttributeTeacher | Labels, dict[str, Any]]:
    """Get what labels the photographs, and the card's words for it."""
    if labels is not None:
        name = f"labels of {json.dumps(labels.manifest['teacher'])}"
        return labels.deltas, {"teacher": name, "labels": dict(labels.manifest)}
    if settings.teacher == "measured":
        return MeasuredTeacher(), {"teacher": MeasuredTeacher.name}
    prompts = settings.prompting.read()
    clip, weights = settings.encoder.clip, settings.encoder.clip_weights
    teacher = ClipTeacher(clip, weights, device, prompts=prompts)
    described = teacher.describe() | {"prompts_from": settings.prompting.describe()}
    return teacher, {"teacher": teacher.name, "labels": described}
