"""`attiqa evaluate PROTOCOL DATA`: measure a model by a protocol of the field; results as JSON."""

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from attiqa.attributes import ATTRIBUTES
from attiqa.cli.settings.evaluate import Settings
from attiqa.data.datasets.image_names import ImageNames
from attiqa.data.datasets.label_tables import read_table
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.data.splits import hold_out_validation, random_splits, training_subset
from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.evaluation.attribute_agreement import attribute_agreement
from attiqa.evaluation.fits import FinetuneFit, ProbeFit, read_files
from attiqa.evaluation.metrics import preference_accuracy, spread
from attiqa.evaluation.predictions import (
    attribute_scores,
    backbone_features,
    head_features,
    quality_scores,
)
from attiqa.evaluation.protocols import as_is, feature_drift, labels_hash, over_splits, provenance
from attiqa.files import write_atomically
from attiqa.model.cards import Card
from attiqa.model.checkpoints import load_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model


def main(settings: Settings) -> None:
    """Measure, print a summary, write the results."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    net, card = open_network(settings.model)
    if settings.protocol == "pairs":
        results = preferences(settings, _quality(net, settings.model), card)
    else:
        photos = load_dataset(settings.dataset, settings.data, settings.subset, settings.scale)
        if settings.protocol == "as-is":
            results = zero_shot(settings, photos, _quality(net, settings.model), card)
        elif settings.protocol == "attributes":
            results = attributes(settings, photos, net, card)
        else:
            results = train_and_test(settings, photos, net)
    found = {"protocol": settings.protocol, "model_sha256": card.sha256} | results
    path = settings.folder / "results.json"
    write_atomically(path, (json.dumps(found, indent=2) + "\n").encode())
    shutil.rmtree(settings.folder / "states", ignore_errors=True)
    Console().print(summary(results), f"{path}", sep="\n")


def open_network(source: str) -> tuple[AttributeNet | QualityNet, Card]:
    """Load any checkpoint; `load_model` knows those with a quality score by name too."""
    if source.endswith(".safetensors"):
        return load_checkpoint(Path(source))
    model = load_model(source)
    return model.net, model.card


def zero_shot(
    settings: Settings, photos: RatedPhotos, net: QualityNet, card: Card
) -> dict[str, Any]:
    """Score a whole data set by the model's own protocol."""

    def predict(photos: RatedPhotos, indices: np.ndarray) -> Float[np.ndarray, " n"]:
        return quality_scores(net, read_files(photos, indices), card.protocol)

    return as_is(photos, predict, _recorded(settings), card.training.get("data"))


def attributes(
    settings: Settings, photos: RatedPhotos, net: AttributeNet | QualityNet, card: Card
) -> dict[str, Any]:
    """Compare the attribute heads of any network with people's attribute scores.

    Raises:
        DatasetLayoutError: The data set has none.
        CheckpointError: The network has not the heads of these attributes.
    """
    if photos.attributes is None:
        raise DatasetLayoutError(
            f"{photos.name} has no human scores of attributes; use --dataset spaq"
        )
    if card.attributes != ATTRIBUTES:
        raise CheckpointError(
            f"{settings.model}: expected heads of {', '.join(ATTRIBUTES)}; "
            f"found {', '.join(card.attributes)}"
        )
    predicted = attribute_scores(net, PhotoFiles(photos.paths), card.protocol)
    return {
        "attributes": attribute_agreement(predicted, photos.attributes, ATTRIBUTES),
        **provenance([photos], _recorded(settings)),
    }


def train_and_test(
    settings: Settings, photos: RatedPhotos, net: AttributeNet | QualityNet
) -> dict[str, Any]:
    """Fine-tune or probe a pretrained network on every split."""
    start = net.attribute_net if isinstance(net, QualityNet) else net
    start.requires_grad_(True)
    named = (other.partition("=") for other in settings.others)
    others = [
        load_dataset(name, Path(folder), settings.subset, settings.scale)
        for name, _, folder in named
    ]
    splits, record = divide(settings, photos), _recorded(settings)
    if settings.protocol == "fine-tune":
        drifts: list[dict[str, float | int]] = []
        fit = finetune_fit(settings, start, others, drifts)
        results = over_splits(photos, splits, fit, others, record)
        for run, drift in zip(results["runs"], drifts, strict=True):
            run["feature_drift"] = drift
        means = np.array([drift["mean"] for drift in drifts])
        return results | {"feature_drift": spread(means)}
    extract = {"backbone": backbone_features, "heads": head_features}[settings.features]
    fit = ProbeFit(lambda p, indices: extract(start, read_files(p, indices), settings.whole))
    return over_splits(photos, splits, fit, others, record)


def finetune_fit(
    settings: Settings,
    start: AttributeNet,
    others: Sequence[RatedPhotos],
    drifts: list[dict[str, float | int]],
) -> FinetuneFit:
    """Make what fine-tunes a copy of a network on each split.

    Args:
        settings: Of the command.
        start: The pretrained network.
        others: Data sets that each model is tested on, too.
        drifts: Gets the drift of the features on the test part of each split.
    """
    fabric, states = Fabric(), settings.folder / "states"
    fabric.launch()
    states.mkdir(exist_ok=True)
    start.to(fabric.device)
    protocol = settings.whole

    def compare(net: QualityNet, photos: RatedPhotos, split: Split) -> None:
        files = read_files(photos, split.test)
        before = backbone_features(start, files, protocol)
        drifts.append(feature_drift(before, backbone_features(net.attribute_net, files, protocol)))

    return FinetuneFit(
        fabric,
        fresh_copies(start, settings.finetuning.schedule.seed),
        settings.finetuning,
        protocol,
        states,
        every=settings.evaluate_every,
        tested={"others": {other.name: labels_hash(other) for other in others}},
        trained=compare,
    )


def fresh_copies(start: AttributeNet, seed: int) -> Callable[[], QualityNet]:
    """Make networks with the pretrained weights and a new regressor, the same each time."""

    def make() -> QualityNet:
        torch.manual_seed(seed)
        return QualityNet(copy.deepcopy(start))

    return make


def divide(settings: Settings, photos: RatedPhotos) -> tuple[Split, ...]:
    """Draw the splits, or take the official one.

    Raises:
        DatasetLayoutError: The official one is wanted of a data set that has none.
    """
    groups = photos.groups if settings.by_group else None
    if settings.splits:
        splits = random_splits(
            len(photos.paths), settings.splits, validation=settings.validation, groups=groups
        )
    elif photos.split is None:
        raise DatasetLayoutError(f"{photos.name} has no official split; use --splits 10")
    elif settings.validation and not len(photos.split.validation):
        splits = (hold_out_validation(photos.split, settings.validation, groups),)
    else:
        splits = (photos.split,)
    if settings.labels < 1:
        splits = tuple(training_subset(split, settings.labels) for split in splits)
    return splits


def preferences(settings: Settings, net: QualityNet, card: Card) -> dict[str, Any]:
    """Count the pairs in which the model prefers what most people prefer (section 5.1).

    Raises:
        DatasetLayoutError: The table lacks a column or an image, or a preference is not a share.
    """
    columns = ("first", "second", "preference")
    table = read_table(settings.data, {name: name for name in columns})
    shares = np.asarray(pd.to_numeric(table["preference"], errors="coerce"), np.float64)
    if not np.all((shares >= 0) & (shares <= 1)):
        raise DatasetLayoutError(f"{settings.data}: expected preferences in [0, 1]")
    images = ImageNames(settings.data.parent)
    first, second = (
        quality_scores(net, PhotoFiles(map(images.require, table[column])), card.protocol)
        for column in ("first", "second")
    )
    preference = shares - 0.5
    found = preference_accuracy(first - second, preference)
    return {
        "result": {"pair_accuracy": found.share, "pairs": found.pairs},
        "scores": np.stack([first, second], axis=1).tolist(),
        **provenance([], _recorded(settings)),
    }


def summary(results: Mapping[str, Any]) -> Table:
    """Show the result, or the medians over splits of every selection."""
    if "result" in results:
        table = Table("metric", "value", caption=results.get("setting"))
        for name, value in results["result"].items():
            table.add_row(name, f"{value:.4g}")
        return table
    if "attributes" in results:
        table = Table("head", "SROCC", "95 %", "PLCC")
        for name, found in results["attributes"].items():
            interval = f"{found['srocc_low']:.3f} {found['srocc_high']:.3f}"
            table.add_row(name, f"{found['srocc']:.4f}", interval, f"{found['plcc']:.4f}")
        return table
    table = Table("epoch", "part", "SROCC", "quartiles", "PLCC")
    if "feature_drift" in results:
        median = results["feature_drift"]["median"]
        table.caption = f"features before and after: cosine {median:.3f}"
    for selection, parts in results["summary"].items():
        for part, found in (parts or {}).items():
            srocc = found["srocc"]
            table.add_row(
                selection,
                part,
                f"{srocc['median']:.4f}",
                f"{srocc['quartile_1']:.4f} {srocc['quartile_3']:.4f}",
                f"{found['plcc']['median']:.4f}",
            )
    return table


def _quality(net: AttributeNet | QualityNet, source: str) -> QualityNet:
    if not isinstance(net, QualityNet):
        raise CheckpointError(f"{source}: a pretrained network has no quality score to measure")
    return net


def _recorded(settings: Settings) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(settings), default=str))
