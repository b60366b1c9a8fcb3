"""`attiqa pretrain PHOTOS --labels LABELS`: teach a network the order of the attributes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from rich import print
from tyro.conf import Positional

from attiqa.checkpoints import Card, Protocol, load_backbone, save_checkpoint, write_atomically
from attiqa.commands.machine import Machine
from attiqa.datasets.folder import PhotoFiles, list_photos
from attiqa.label_store import read_labels
from attiqa.models import Architecture, AttributeNet
from attiqa.pretraining import Labels, PretrainSettings, pretrain
from attiqa.teachers import AttributeTeacher, ClipTeacher, MeasuredTeacher
from attiqa.versions import versions


@dataclass(frozen=True)
class Settings:
    """Pretrain on unlabelled photographs (section 3.4); a run that was killed continues."""

    photos: Positional[Path]
    """Folder of photographs."""
    labels: Path | None = None
    """What `attiqa label` wrote about that folder; without, crops are labelled as drawn."""
    teacher: Literal["clip", "measured"] = "clip"
    """Who labels the crops where there are no labels."""
    clip: str = "ViT-B-16-quickgelu"
    """Model name of open_clip."""
    clip_weights: str = "openai"
    """Tag of open_clip or a local weight file."""
    architecture: Architecture = field(default_factory=Architecture)
    """The network."""
    init: Path | None = None
    """Weights of the backbone from timm (safetensors, no classifier); random without."""
    pretraining: PretrainSettings = field(default_factory=PretrainSettings.paper)
    """The paper's where it states them."""
    machine: Machine = field(default_factory=Machine)
    """Where to train."""
    name: str = "pretrained"
    """Name of the network's files."""
    out: Path = Path("runs/pretrain")
    """Folder for the network, its card, its history, the state of the run and TensorBoard."""


def main(settings: Settings) -> None:
    """Train, then write the network and its card."""
    fabric = settings.machine.launch(settings.out)
    photos, teacher, source = _supervision(settings, fabric.device)
    torch.manual_seed(settings.pretraining.schedule.seed)
    net = AttributeNet(settings.architecture)
    if settings.init:
        load_backbone(net, settings.init)
    state = settings.out / "state.ckpt"
    history = pretrain(fabric, net, photos, teacher, settings.pretraining, state)
    if not fabric.is_global_zero:
        return
    card = Card(
        name=settings.name,
        kind="AttributeNet",
        architecture=settings.architecture,
        protocol=Protocol(),
        scale=None,
        teacher=source["teacher"],
        training=source
        | {"photographs": len(photos), "init": settings.init.name if settings.init else "random"},
        settings=asdict(settings.pretraining) | {"machine": asdict(settings.machine)},
        metrics={"last epoch": history[-1]},
        versions=versions(),
        limits="Orders photographs by attributes, as its teacher does; no quality score.",
        attributes=settings.architecture.attributes,
    )
    path = save_checkpoint(settings.out, net, card)
    text = json.dumps(history, indent=2) + "\n"
    write_atomically(settings.out / "history.json", text.encode())
    print(f"{path}: {history[-1]}")


def _supervision(
    settings: Settings, device: torch.device
) -> tuple[PhotoFiles, AttributeTeacher | Labels, dict[str, Any]]:
    """Get the photographs, what labels them, and what the card says about that."""
    if settings.labels:
        labels = read_labels(settings.labels)
        photos = PhotoFiles(settings.photos / path for path in labels.paths)
        name = f"labels of {json.dumps(labels.manifest['teacher'])}"
        return photos, labels.deltas, {"teacher": name, "labels": dict(labels.manifest)}
    photos = PhotoFiles(list_photos(settings.photos))
    if settings.teacher == "measured":
        return photos, MeasuredTeacher(), {"teacher": MeasuredTeacher.name}
    teacher = ClipTeacher(settings.clip, settings.clip_weights, device)
    return photos, teacher, {"teacher": teacher.name, "labels": teacher.describe()}
