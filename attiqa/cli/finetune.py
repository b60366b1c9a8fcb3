"""`attiqa finetune DATA --model PRETRAINED`: fit a network to people's opinions.

They are mean opinion scores, preferences between two photographs (`--pairs`), or both.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from rich import print_json
from rich.console import Console
from torch import nn

from attiqa.cli.settings.finetune import Settings
from attiqa.cli.views import warn_of_views
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photo_folder import PhotoFiles, list_photos
from attiqa.data.preference_pairs import divide_preferences, read_preferences
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.data.splits import OFFICIAL, divide, require_different_scores
from attiqa.errors import DatasetLayoutError
from attiqa.evaluation.fits import read_files
from attiqa.evaluation.predictions import crop_means, quality_scores
from attiqa.evaluation.preferences import measure_preferences
from attiqa.evaluation.protocols import Indices, measure_parts, select
from attiqa.files import write_atomically
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import load_backbone, load_checkpoint, save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from attiqa.model.sources import weight_file
from attiqa.provenance.versions import versions
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.finetuning import Scorer, finetune
from attiqa.training.mixture import Mixture, mix

STANDARD = 500
"""Training photographs that fix the scale of the attribute scores."""


def main(settings: Settings) -> None:
    """Train, compare every epoch with people, then write the last epoch's network and its card."""
    lesson = _rated(settings) if settings.data else _compared(settings)
    unrated = _unrated(settings.unlabelled, lesson.kept)
    mixture = lesson.mixture.with_unrated(unrated)
    if mixture.preferences is None:
        devices, nodes = settings.machine.size
        settings.finetuning.schedule.epoch_steps(len(mixture.paths), devices * nodes)
    torch.manual_seed(settings.finetuning.schedule.seed)
    start, teacher = _start(settings)
    net = QualityNet(start)
    fabric = settings.machine.launch(settings.out)
    views = warn_of_views(mixture.paths, settings.finetuning.schedule.crops, settings.protocol)

    def evaluate(net: nn.Module, epoch: int) -> Mapping[str, float]:
        last = epoch == settings.finetuning.schedule.epochs
        return lesson.measure(cast(QualityNet, net), last)

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
        scale=(lesson.scale.low, lesson.scale.high),
        evaluation={
            "data": lesson.name,
            "split": lesson.split["sha256"],
            "protocol": asdict(settings.protocol),
        },
        sets=mixture.sets,
        scorer=scorer,
        deviations=mixture.deviations,
        preferences=mixture.preferences,
    )
    if not fabric.is_global_zero:
        return
    some = PhotoFiles(mixture.paths[: min(lesson.own, STANDARD)])
    raw = crop_means(net, net.attribute_net, some, settings.protocol)
    net.standardise(torch.from_numpy(raw).float())
    data = [lesson.name, *mixture.others]
    if settings.pairs and settings.data:
        data.append(f"preferences of {settings.pairs.name}")
    if settings.unlabelled:
        data.append(f"unrated photographs of {settings.unlabelled.name}")
    if scorer:  # nothing that was learnt at second hand is zero-shot
        data.append(f"what {scorer.name} was trained on, {scorer.data}")
    card = Card(
        name=settings.name,
        kind="QualityNet",
        architecture=net.architecture,
        protocol=settings.protocol,
        scale=lesson.scale,
        teacher=teacher,
        training={
            "data": " and ".join(data),
            "split": lesson.split,
            "mixed": dict(mixture.others),
            "preferences": len(mixture.preferences) if mixture.preferences else 0,
            "distilled": scorer and scorer.name,
            "unrated": len(unrated),
            "start": Path(settings.model or settings.init or "random").name,
            **({"views": views} if views else {}),
        },
        settings=asdict(settings.finetuning) | {"machine": asdict(settings.machine)},
        metrics=lesson.select(history),
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
class Lesson:
    """What people said of which photographs, and how a network is compared with them.

    Attributes:
        name: Of the data set, or of the table of pairs.
        mixture: To learn from.
        own: So many of its photographs are the data set's own.
        kept: Photographs that are kept aside.
        scale: Of the scores.
        split: Sizes of the parts, and what identifies the division.
        measure: Compares a network with the parts that are kept aside: `PART/METRIC` to value;
            thoroughly where it is the last one.
        select: Chooses among the epochs of a history.
    """

    name: str
    mixture: Mixture
    own: int
    kept: Sequence[Path]
    scale: Scale
    split: Mapping[str, Any]
    measure: Callable[[QualityNet, bool], Mapping[str, float]]
    select: Callable[[Sequence[Mapping[str, float]]], Mapping[str, Any]]


def _rated(settings: Settings) -> Lesson:
    """Get mean opinion scores to learn from, and preferences besides where there are any.

    Raises:
        DatasetLayoutError: A preference is about a photograph that is kept aside.
    """
    photos = load_dataset(
        settings.dataset, cast(Path, settings.data), settings.subset, settings.scale
    )
    as_published = photos.name in OFFICIAL and photos.split is not None
    official, seed = settings.official or as_published, settings.split_seed
    (split,) = divide(photos, 1, settings.validation, official=official, seed=seed)
    require_different_scores(photos, split)
    kept = [photos.paths[row] for row in (*split.validation, *split.test)]
    mixture = mix(photos, split, settings.mixed, settings.subset, settings.scale)
    if settings.pairs:
        paths, preferences = read_preferences(settings.pairs)
        _require_others(paths, kept, "pairs")
        mixture = mixture.with_preferences(paths, preferences)

    def measure(net: QualityNet, last: bool) -> Mapping[str, float]:
        def predict(photos: RatedPhotos, rows: Indices) -> Float[np.ndarray, " n"]:
            return quality_scores(net, read_files(photos, rows), settings.protocol)

        return measure_parts(predict, photos, split, thorough=last)

    return Lesson(
        photos.name,
        mixture,
        len(split.train),
        kept,
        Scale(*photos.scale, meaning=f"{photos.name}: mean opinion score"),
        _described(split, photos.names),
        measure,
        select,
    )


def _compared(settings: Settings) -> Lesson:
    """Get preferences alone to learn from, some of them kept aside."""
    table = cast(Path, settings.pairs)
    paths, preferences = read_preferences(table)
    split = divide_preferences(preferences, 0.2, settings.validation, settings.split_seed)
    shown = preferences.take(split.train)
    learnt = sorted({*shown.first.tolist(), *shown.second.tolist()})
    places = np.full(len(paths), -1)
    places[learnt] = np.arange(len(learnt))
    own = [paths[row] for row in learnt]
    ends = zip(preferences.first, preferences.second, strict=True)
    names = [f"{paths[first].name}\t{paths[second].name}" for first, second in ends]
    deviation = settings.finetuning.opinion_deviation

    def measure(net: QualityNet, last: bool) -> Mapping[str, float]:
        def predict(paths: Sequence[Path]) -> Float[np.ndarray, " n"]:
            return quality_scores(net, PhotoFiles(paths), settings.protocol)

        return measure_preferences(predict, paths, preferences, split)

    return Lesson(
        f"preferences of {table.name}",
        Mixture().with_preferences(own, shown.moved(places)),
        len(own),
        [path for path in paths if path not in set(own)],
        Scale(0.0, 1.0, f"preferences; an opinion deviates by {deviation:g}, zero means nothing"),
        _described(split, names),
        measure,
        lambda history: {"last epoch": {"epoch": len(history)} | _by_part(history[-1])},
    )


def _described(split: Split, names: Sequence[str]) -> dict[str, Any]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    sizes = {name: len(rows) for name, rows in parts.items()}
    return sizes | {"sha256": split_hash(names, split)}


def _unrated(folder: Path | None, kept: Sequence[Path]) -> Sequence[Path]:
    """List the photographs that nobody rated.

    Raises:
        DatasetLayoutError: One of them is kept aside to compare epochs on, or to test.
    """
    if folder is None:
        return ()
    unrated = list_photos(folder)
    _require_others(unrated, kept, "unlabelled")
    return unrated


def _require_others(paths: Sequence[Path], kept: Sequence[Path], argument: str) -> None:
    """Refuse to learn from photographs that are kept aside."""
    aside = {path.resolve() for path in kept}
    for path in paths:
        if path.resolve() in aside:
            raise DatasetLayoutError(f"{argument}: {path} is kept aside from the training")


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


def _by_part(epoch: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    """Group the measurements of an epoch, `PART/METRIC` to value; its losses are left out."""
    parts: dict[str, dict[str, float]] = {}
    for name, value in epoch.items():
        part, slash, metric = name.rpartition("/")
        if slash:
            parts.setdefault(part, {})[metric] = value
    return dict(parts)
