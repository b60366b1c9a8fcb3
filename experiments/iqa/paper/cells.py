"""The cells of `evaluate.py`: one start, one amount of labels and one split each.

A cell is a file that appears whole or not at all; its training can be interrupted, too.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric

from attiqa.attributes import ATTRIBUTES
from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.data.crops import Photos
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photo_folder import PhotoFiles, cache_photos, list_photos
from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.data.splits import random_splits, training_subset
from attiqa.errors import CheckpointError
from attiqa.evaluation.fits import FinetuneFit, ProbeFit
from attiqa.evaluation.predictions import backbone_features, head_features
from attiqa.evaluation.protocols import feature_drift, one_split
from attiqa.files import write_atomically
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_backbone
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.teachers.teacher import AttributeTeacher, ClipTeacher, MeasuredTeacher
from attiqa.training.pretraining import pretrain
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule

Initialisation = Literal["scratch", "ImageNet", "five attributes", "one attribute", "L2 loss"]
Labels = Literal["all labels", "20 % of labels", "10 % of labels", "linear probe"]

SHARES = {"20 % of labels": 0.2, "10 % of labels": 0.1}

Cell = dict[str, Any]
"""What stands in the file of a cell."""

TEACHERS = {
    "measured": "measured teacher (signal measurements, the offline stand-in for CLIP)",
    "clip": "CLIP ViT-B/16",
}


@dataclass(frozen=True)
class Settings:
    """Settings of the experiment; the defaults are for two CPU cores and about half an hour."""

    data: Path
    """Folder of the data set in its official layout."""
    init: Path | None = None
    """ImageNet weights of the backbone (safetensors, no classifier); needed but for "scratch"."""
    dataset: str = "biq2021-train"
    """Its name, as in attiqa.data.datasets.registry."""
    subset: bool = False
    """The folder holds a part of the data set on purpose."""
    out: Path = Path("runs/evaluate_reward")
    """Folder for the cells, results.json, the table and the figure."""
    initialisations: tuple[Initialisation, ...] = (
        "scratch",
        "ImageNet",
        "five attributes",
        "one attribute",
        "L2 loss",
    )
    """Starting points to compare."""
    labels: tuple[Labels, ...] = (
        "linear probe",
        "10 % of labels",
        "20 % of labels",
        "all labels",
    )
    """What each of them is given."""
    splits: int = 3
    """Random splits: 20 % test, 10 % validation."""
    pretraining_photos: Path | None = None
    """Folder of unlabelled photographs; without, a part of the data set is set aside for it."""
    reserved: int = 1500
    """Photographs of that part."""
    teacher: Literal["measured", "clip"] = "measured"
    """What labels the attributes."""
    one_attribute: str = "sharpness"
    """The only attribute of "one attribute"."""
    cache_side: int | None = 128
    """Photographs are resized once to squares of so many pixels; None decodes them when asked."""
    architecture: Architecture = field(
        default_factory=lambda: Architecture(
            "mobilenetv2_100", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 128, 128
        )
    )
    """The network."""
    protocol: CropProtocol = field(default_factory=lambda: CropProtocol(short_side=128, crop=112))
    """How photographs are tested."""
    crops: Literal[1, 5] = 1
    """Crops of a tested photograph: the centre, or with the four corners."""
    evaluate_every: int = 3
    """Epochs from one test to the next."""
    pretraining: PretrainSettings = field(
        default_factory=lambda: PretrainSettings(
            Schedule(epochs=8, backbone_lr=3e-4, crops=CropSettings(112, (112, 128)), workers=0)
        )
    )
    """On unlabelled photographs."""
    finetuning: FinetuneSettings = field(
        default_factory=lambda: FinetuneSettings(
            Schedule(epochs=6, backbone_lr=3e-4, crops=CropSettings(112, (112, 128)), workers=0)
        )
    )
    """On human scores; the same for every starting point."""
    few_epochs: int = 18
    """Epochs where there are few labels: each of them has few steps."""


@dataclass(frozen=True)
class Laboratory:
    """What every cell shares.

    Attributes:
        settings: Of the experiment.
        photos: Those that are trained and tested on.
        pixels: Theirs.
        unlabelled: What is pretrained on.
        splits: Of `photos`.
        fabric: Launched.
    """

    settings: Settings
    photos: RatedPhotos
    pixels: Photos
    unlabelled: Photos
    splits: tuple[Split, ...]
    fabric: Fabric

    def some(self, indices: np.ndarray) -> Photos:
        """Choose pixels; those of files are decoded when asked."""
        if isinstance(self.pixels, PhotoFiles):
            return PhotoFiles([self.pixels.paths[index] for index in indices])
        return [self.pixels[index] for index in indices]


@dataclass(frozen=True)
class OneAttribute:
    """A teacher of one attribute, for a network with one head."""

    teacher: AttributeTeacher
    attribute: str

    @property
    def name(self) -> str:
        """The teacher's, and the attribute."""
        return f"{self.teacher.name}, {self.attribute} alone"

    def __call__(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 1"]:
        """Leave out the other columns."""
        return self.teacher(images)[:, [ATTRIBUTES.index(self.attribute)]]


def prepare(settings: Settings) -> Laboratory:
    """Read the data set, set apart what is pretrained on, and draw the splits."""
    photos = load_dataset(settings.dataset, settings.data, settings.subset)
    order = np.random.default_rng(0).permutation(len(photos.paths))
    if settings.pretraining_photos:
        unlabelled = list_photos(settings.pretraining_photos)
    else:
        unlabelled = tuple(photos.paths[index] for index in np.sort(order[: settings.reserved]))
        photos = _subset(photos, np.sort(order[settings.reserved :]))

    def pixels(paths: Sequence[Path]) -> Photos:
        side = settings.cache_side
        return cache_photos(paths, side, settings.out / "cache") if side else PhotoFiles(paths)

    for folder in ("cells", "pretraining"):
        (settings.out / folder).mkdir(parents=True, exist_ok=True)
    fabric = Fabric()
    fabric.launch()
    splits = random_splits(len(photos.paths), settings.splits)
    return Laboratory(settings, photos, pixels(photos.paths), pixels(unlabelled), splits, fabric)


def cell(laboratory: Laboratory, init: str, labels: str, repeat: int) -> Cell:
    """Read one result, or make it: one start, one amount of labels, one split.

    Raises:
        CheckpointError: The file is from a run with other settings.
    """
    settings = laboratory.settings
    path = settings.out / "cells" / f"{init}, {labels}, split {repeat + 1}.json".replace(" ", "_")
    about = {"init": init, "labels": labels, "repeat": repeat + 1, "settings": recorded(settings)}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if {key: found[key] for key in about} != about:
            raise CheckpointError(f"{path}: made under other settings; use another --out")
        return found
    run = probe if labels == "linear probe" else tune
    states = path.with_suffix(".states")
    states.mkdir(exist_ok=True)
    result = about | run(laboratory, starting_point(laboratory, init), labels, repeat, states)
    write_atomically(path, (json.dumps(result) + "\n").encode())
    shutil.rmtree(states)
    return result


def starting_point(laboratory: Laboratory, init: str) -> AttributeNet:
    """Make a network as it is before fine-tuning; pretraining that has been done is read."""
    settings = laboratory.settings
    architecture = settings.architecture
    if init == "one attribute":
        architecture = replace(architecture, attributes=(settings.one_attribute,))
    torch.manual_seed(settings.finetuning.schedule.seed)
    net = AttributeNet(architecture).to(memory_format=torch.channels_last)
    if init == "scratch":
        return net
    if settings.init is None:
        raise CheckpointError(f'--init: "{init}" starts from ImageNet weights, and none were given')
    load_backbone(net, settings.init)
    if init == "ImageNet":
        return net
    teacher = MeasuredTeacher() if settings.teacher == "measured" else ClipTeacher()
    if init == "one attribute":
        teacher = OneAttribute(teacher, settings.one_attribute)
    pretraining = settings.pretraining
    if init == "L2 loss":
        pretraining = replace(pretraining, loss="standardised")
    state = settings.out / "pretraining" / f"{init.replace(' ', '_')}.ckpt"
    pretrain(laboratory.fabric, net, laboratory.unlabelled, teacher, pretraining, state)
    return net


def tune(laboratory: Laboratory, net: AttributeNet, labels: str, repeat: int, states: Path) -> Cell:
    """Fine-tune, test, and measure how far the features of the test photographs moved."""
    settings, finetuning = laboratory.settings, laboratory.settings.finetuning
    split = laboratory.splits[repeat]
    if labels in SHARES:
        split = training_subset(split, SHARES[labels])
        schedule = replace(finetuning.schedule, epochs=settings.few_epochs)
        finetuning = replace(finetuning, schedule=schedule)
    tested = laboratory.some(split.test)
    before = backbone_features(net, tested, settings.protocol, settings.crops)
    quality = QualityNet(net).to(memory_format=torch.channels_last)
    fit = FinetuneFit(
        laboratory.fabric,
        lambda: quality,
        finetuning,
        settings.protocol,
        states,
        settings.crops,
        settings.evaluate_every,
        lambda _, part: laboratory.some(part),
    )
    result = one_split(laboratory.photos, split, fit)
    after = backbone_features(net, tested, settings.protocol, settings.crops)
    return result | {"drift": feature_drift(before, after)}


def probe(
    laboratory: Laboratory, net: AttributeNet, labels: str, repeat: int, states: Path
) -> Cell:
    """Fit ridge regression on the frozen backbone; beside it, on the heads' hidden features."""
    settings, split = laboratory.settings, laboratory.splits[repeat]

    def fit(extract: Callable[..., Float[np.ndarray, "n f"]]) -> Cell:
        def features(_: RatedPhotos, part: np.ndarray) -> np.ndarray:
            return extract(net, laboratory.some(part), settings.protocol, settings.crops)

        return one_split(laboratory.photos, split, ProbeFit(features))

    return fit(backbone_features) | {"heads": fit(head_features)}


def recorded(settings: Settings) -> dict[str, Any]:
    """Settings that a cell depends on, ready for JSON: not where files are, nor which cells."""
    free = {"out", "data", "initialisations", "labels", "splits", "pretraining_photos"}
    kept = {key: value for key, value in asdict(settings).items() if key not in free}
    kept["init"] = settings.init and settings.init.name
    return json.loads(json.dumps(kept))


def _subset(photos: RatedPhotos, kept: np.ndarray) -> RatedPhotos:
    """Keep some photographs with their scores, which is all that is used here."""
    paths = tuple(photos.paths[index] for index in kept)
    return RatedPhotos(photos.name, paths, photos.mos[kept], photos.scale, photos.source)
