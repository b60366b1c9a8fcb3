"""`attiqa finetune DATA --model PRETRAINED`: fit a network to mean opinion scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from rich import print_json
from rich.console import Console
from torch import nn

from attiqa.cli.settings.finetune import Settings
from attiqa.cli.views import warn_of_views
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photo_folder import PhotoFiles, list_photos
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.data.splits import OFFICIAL, divide, require_different_scores
from attiqa.errors import DatasetLayoutError
from attiqa.evaluation.fits import read_files
from attiqa.evaluation.predictions import crop_means, quality_scores
from attiqa.evaluation.protocols import Indices, measure_parts, select
from attiqa.files import write_atomically
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import load_backbone, load_checkpoint, save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from attiqa.model.sources import weight_file
from attiqa.provenance.versions import versions
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.finetuning import UNRATED, Scorer, finetune

STANDARD = 500
"""Training photographs that fix the scale of the attribute scores."""


def main(settings: Settings) -> None:
    """Train, compare every epoch with people, then write the last epoch's network and its card."""
    photos = load_dataset(settings.dataset, settings.data, settings.subset, settings.scale)
    as_published = photos.name in OFFICIAL and photos.split is not None
    official, seed = settings.official or as_published, settings.split_seed
    (split,) = divide(photos, 1, settings.validation, official=official, seed=seed)
    require_different_scores(photos, split)
    mixture = mix(photos, split, settings.mixed, settings.subset, settings.scale)
    unrated = _unrated(settings, photos, split)
    mixture = mixture.with_unrated(unrated)
    devices, nodes = settings.machine.size
    settings.finetuning.schedule.epoch_steps(len(mixture.paths), devices * nodes)
    torch.manual_seed(settings.finetuning.schedule.seed)
    start, teacher = _start(settings)
    net = QualityNet(start)
    fabric = settings.machine.launch(settings.out)
    views = warn_of_views(mixture.paths, settings.finetuning.schedule.crops, settings.protocol)

    def evaluate(net: nn.Module, epoch: int) -> Mapping[str, float]:
        def predict(photos: RatedPhotos, rows: Indices) -> Float[np.ndarray, " n"]:
            files = read_files(photos, rows)
            return quality_scores(cast(QualityNet, net), files, settings.protocol)

        last = epoch == settings.finetuning.schedule.epochs
        return measure_parts(predict, photos, split, thorough=last)

    scorer = _scorer(settings.distilled, fabric.device) if settings.distilled else None
    history = finetune(
        fabric,
        net,
        PhotoFiles(mixture.paths),
        mixture.mos,
        MeasuredTeacher(),
        settings.finetuning,
        settings.out / "state.ckpt",
        evaluate=evaluate,
        scale=photos.scale,
        evaluation={
            "data": photos.name,
            "split": split_hash(photos.names, split),
            "protocol": asdict(settings.protocol),
        },
        sets=mixture.sets,
        scorer=scorer,
    )
    if not fabric.is_global_zero:
        return
    some = read_files(photos, split.train[:STANDARD])
    raw = crop_means(net, net.attribute_net, some, settings.protocol)
    net.standardise(torch.from_numpy(raw).float())
    data = [photos.name, *mixture.others]
    if settings.unlabelled:
        data.append(f"unrated photographs of {settings.unlabelled.name}")
    if scorer:  # nothing that was learnt at second hand is zero-shot
        data.append(f"what {scorer.name} was trained on, {scorer.data}")
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    card = Card(
        name=settings.name,
        kind="QualityNet",
        architecture=net.architecture,
        protocol=settings.protocol,
        scale=Scale(*photos.scale, meaning=f"{photos.name}: mean opinion score"),
        teacher=teacher,
        training={
            "data": " and ".join(data),
            "split": {name: len(rows) for name, rows in parts.items()}
            | {"sha256": split_hash(photos.names, split)},
            "mixed": dict(mixture.others),
            "distilled": scorer and scorer.name,
            "unrated": len(unrated),
            "start": Path(settings.model or settings.init or "random").name,
            **({"views": views} if views else {}),
        },
        settings=asdict(settings.finetuning) | {"machine": asdict(settings.machine)},
        metrics=select(history),
        versions=versions(),
        limits=f"Trained on {' and '.join(data)} alone.",
        attributes=net.architecture.attributes,
    )
    path = save_checkpoint(settings.out, net, card)
    text = json.dumps(history, indent=2) + "\n"
    write_atomically(settings.out / "history.json", text.encode())
    Console(soft_wrap=True).print(f"{path} (last epoch)", markup=False, highlight=False)
    print_json(json.dumps(card.metrics))


@dataclass(frozen=True)
class Mixture:
    """Photographs of one or more data sets to learn from.

    Attributes:
        paths: Their files, those of the main set first.
        mos: Their scores, those of other sets mapped from their scale to the main one's.
        sets: Number of the data set of each; 0 is the main one.
        others: Name of each further set and how many of its photographs are taken.
    """

    paths: tuple[Path, ...]
    mos: Float[np.ndarray, " n"]
    sets: Int[np.ndarray, " n"]
    others: Mapping[str, int]

    def with_unrated(self, paths: Sequence[Path]) -> "Mixture":
        """Add photographs that nobody rated."""
        mos = np.append(self.mos, np.full(len(paths), np.nan))
        sets = np.append(self.sets, np.full(len(paths), UNRATED))
        return Mixture((*self.paths, *paths), mos, sets, self.others)


def mix(
    photos: RatedPhotos,
    split: Split,
    named: tuple[str, ...],
    subset: bool = False,
    scale: tuple[float, float] | None = None,
) -> Mixture:
    """Put the training part of a data set and further data sets together.

    Raises:
        DatasetLayoutError: One of them is given twice: its test photographs would be trained on.
    """
    low, high = photos.scale
    paths = [photos.paths[row] for row in split.train]
    mos, sets, others = [photos.mos[split.train]], [np.zeros(len(paths), np.int64)], {}
    for number, entry in enumerate(named, 1):
        name, _, folder = entry.partition("=")
        other = load_dataset(name, Path(folder), subset, scale)
        if other.name == photos.name or other.name in others:
            raise DatasetLayoutError(f"mixed: {other.name} is there already; {folder}")
        rows = np.arange(len(other.paths)) if other.split is None else other.split.train
        share = (other.mos[rows] - other.scale[0]) / (other.scale[1] - other.scale[0])
        paths += [other.paths[row] for row in rows]
        mos.append(low + (high - low) * share)
        sets.append(np.full(len(rows), number))
        others[other.name] = len(rows)
    return Mixture(tuple(paths), np.concatenate(mos), np.concatenate(sets), others)


def _unrated(settings: Settings, photos: RatedPhotos, split: Split) -> Sequence[Path]:
    """List the photographs that nobody rated.

    Raises:
        DatasetLayoutError: One of them is kept aside to compare epochs on, or to test.
    """
    if settings.unlabelled is None:
        return ()
    unrated = list_photos(settings.unlabelled)
    kept = {photos.paths[row].resolve() for row in (*split.validation, *split.test)}
    for path in unrated:
        if path.resolve() in kept:
            raise DatasetLayoutError(f"unlabelled: {path} is kept aside from the training")
    return unrated


def _scorer(name: str, device: torch.device) -> Scorer:
    """Load the model whose scores are learnt."""
    model = load_model(name, device)
    scale = cast(Scale, model.card.scale)
    known = f"{model.card.name} {str(model.card.sha256)[:16]}"
    data = str(model.card.training.get("data", "unknown"))
    return Scorer(known, lambda images: model.predict(images).score, (scale.low, scale.high), data)


def _start(settings: Settings) -> tuple[AttributeNet, str]:
    """Get the network to start from, and who taught it."""
    if settings.model:
        net, card = load_checkpoint(weight_file(settings.model))
        return (net.attribute_net if isinstance(net, QualityNet) else net), card.teacher
    net = AttributeNet(settings.architecture)
    if settings.init:
        load_backbone(net, settings.init)
    return net, "none"
