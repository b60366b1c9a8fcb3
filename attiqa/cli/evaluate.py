"""`attiqa evaluate`: a model by the protocols of the field; results as JSON and as a table."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from attiqa.attributes import ATTRIBUTES
from attiqa.cli.finished import measure_finished
from attiqa.cli.settings.evaluate import Settings
from attiqa.data.crop_protocol import differing_views
from attiqa.data.crops import Photos
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.pixel_cache import CachedPhotos, cache_pixels
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.data.split_files import read_splits, write_splits
from attiqa.data.splits import divide, require_different_scores, training_subset
from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.evaluation.attribute_agreement import attribute_agreement
from attiqa.evaluation.fits import FinetuneFit, Pixels, ProbeFit, fresh_copies
from attiqa.evaluation.metrics import spread
from attiqa.evaluation.predictions import (
    attribute_scores,
    backbone_features,
    head_features,
)
from attiqa.evaluation.probes.mlp import MlpProbe
from attiqa.evaluation.protocols import (
    Predictions,
    feature_drift,
    labels_hash,
    over_splits,
    provenance,
)
from attiqa.evaluation.run_folder import begin, write_predictions
from attiqa.evaluation.trained_networks import save_trained
from attiqa.files import write_atomically
from attiqa.model.cards import Card
from attiqa.model.checkpoints import load_backbone, load_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from attiqa.provenance.identity import network_hash

logger = logging.getLogger(__name__)

FREE = ("out", "cache", "machine", "data", "keep_networks", "model", "init", "others", "split_file")
"""Settings that no result depends on, or that the identity of a run names by their content."""


def main(settings: Settings) -> None:
    """Measure, print a summary, write the results."""
    fabric = settings.machine.launch()
    if settings.protocol in ("as-is", "pairs"):
        results = measure_finished(settings, recorded(settings), fabric.device)
    else:
        results = measure_network(settings, fabric)
    if fabric.is_global_zero:
        results = {"protocol": settings.protocol} | results
        path = settings.folder / "results.json"
        write_atomically(path, (json.dumps(results, indent=2) + "\n").encode())
        shutil.rmtree(settings.folder / "states", ignore_errors=True)
        Console(soft_wrap=True).print(summary(results), f"{path}", sep="\n")


def open_network(settings: Settings) -> tuple[AttributeNet | QualityNet, Card | None]:
    """Load any checkpoint, or make a network with a backbone of other weights."""
    if settings.init is not None:
        torch.manual_seed(settings.finetuning.schedule.seed)
        net = AttributeNet(settings.architecture)
        load_backbone(net, settings.init)
        return net, None
    if settings.model.endswith(".safetensors"):
        return load_checkpoint(Path(settings.model))
    model = load_model(settings.model)
    return model.net, model.card


def measure_network(settings: Settings, fabric: Fabric) -> dict[str, Any]:
    """Train and test a network, or compare its heads; a result that was made before is read.

    Raises:
        CheckpointError: The folder holds a result of other settings, data or weights.
    """
    net, card = open_network(settings)
    net.to(fabric.device)
    photos = load_dataset(settings.dataset, settings.data, settings.subset, settings.scale)
    named = (other.partition("=") for other in settings.others)
    others = [
        load_dataset(name, Path(folder), settings.subset, settings.scale)
        for name, _, folder in named
    ]
    trains = settings.protocol in ("fine-tune", "linear-probe")
    splits = divisions(settings, photos) if trains else ()
    for split in splits:
        require_different_scores(photos, split)
    identity = {
        "protocol": settings.protocol,
        "settings": {key: value for key, value in recorded(settings).items() if key not in FREE},
        "network": network_hash(net),
        "data": {data.name: labels_hash(data) for data in (photos, *others)},
        "splits": [split_hash(photos.names, split) for split in splits],
    }
    done = begin(settings.folder, identity)
    if done:
        return done
    about = {"model_sha256": card and card.sha256}
    if settings.protocol == "attributes":
        return about | attributes(settings, photos, net, card)
    if fabric.is_global_zero:
        write_splits(settings.folder / "splits.json", photos, splits)
    return about | train_and_test(settings, fabric, photos, splits, others, net)


def attributes(
    settings: Settings, photos: RatedPhotos, net: AttributeNet | QualityNet, card: Card | None
) -> dict[str, Any]:
    """Compare the attribute heads of any network with people's attribute scores.

    Raises:
        DatasetLayoutError: The data set has none.
        CheckpointError: The network has not the heads of these attributes.
    """
    assert card is not None  # `init` makes no heads that have learnt anything
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
        **provenance([photos], recorded(settings)),
    }


def train_and_test(
    settings: Settings,
    fabric: Fabric,
    photos: RatedPhotos,
    splits: Sequence[Split],
    others: Sequence[RatedPhotos],
    net: AttributeNet | QualityNet,
) -> dict[str, Any]:
    """Fine-tune or probe a pretrained network on every split."""
    start = net.attribute_net if isinstance(net, QualityNet) else net
    start.requires_grad_(True)
    record, pixels = recorded(settings), pixels_of(settings, (photos, *others))

    def keep(number: int, predictions: Predictions) -> None:
        path = settings.folder / "predictions" / f"split_{number + 1:02}.csv"
        if fabric.is_global_zero:
            write_predictions(path, predictions, photos, splits[number], others)

    if settings.protocol == "fine-tune":
        views = differing_views(settings.finetuning.schedule.crops, settings.whole)
        if views:
            logger.warning("training and tests differ: %s", views)
            record["views"] = views
        drifts: list[dict[str, float | int]] = []
        fit = finetune_fit(settings, fabric, start, others, pixels, drifts)
        results = over_splits(photos, splits, fit, others, record, keep)
        for run, drift in zip(results["runs"], drifts, strict=True):
            run["feature_drift"] = drift
        means = np.array([drift["mean"] for drift in drifts])
        return results | {"feature_drift": spread(means)}
    features = features_once(settings, start, (photos, *others), pixels)
    fit = ProbeFit(features, MlpProbe() if settings.probe == "mlp" else None)
    return over_splits(photos, splits, fit, others, record, keep)


def pixels_of(settings: Settings, data: Sequence[RatedPhotos]) -> Pixels:
    """Get photographs from a cache of the size that they are looked at, or from their files.

    Where they are looked at in their own size, they are decoded each time.
    """

    def decoded(photos: RatedPhotos, indices: np.ndarray) -> Photos:
        return PhotoFiles(photos.paths[index] for index in indices)

    if settings.cache is None or settings.further:
        return decoded
    side = settings.short_side
    if settings.protocol == "fine-tune":
        side = max(side, settings.finetuning.schedule.crops.short_side[1])
    threads = max(1, settings.finetuning.schedule.workers)
    caches: dict[str, CachedPhotos] = {
        each.name: cache_pixels(each.paths, side, settings.cache, threads) for each in data
    }
    return lambda photos, indices: caches[photos.name].choose(indices)


def features_once(
    settings: Settings, net: AttributeNet, data: Sequence[RatedPhotos], pixels: Pixels
) -> Callable[[RatedPhotos, np.ndarray], Float[np.ndarray, "n k f"]]:
    """Compute the features of all photographs, once for all splits."""
    extract = {"backbone": backbone_features, "heads": head_features}[settings.features]
    found = {
        each.name: extract(net, pixels(each, np.arange(len(each.paths))), settings.whole)
        for each in data
    }
    return lambda photos, indices: found[photos.name][indices]


def finetune_fit(
    settings: Settings,
    fabric: Fabric,
    start: AttributeNet,
    others: Sequence[RatedPhotos],
    pixels: Pixels,
    drifts: list[dict[str, float | int]],
) -> FinetuneFit:
    """Make what fine-tunes a copy of a network on each split.

    Args:
        settings: Of the command.
        fabric: Launched.
        start: The pretrained network.
        others: Data sets that each model is tested on, too.
        pixels: Gets photographs.
        drifts: Gets the drift of the features on the test part of each split.
    """
    states, protocol = settings.folder / "states", settings.whole
    states.mkdir(exist_ok=True)

    def trained(net: QualityNet, photos: RatedPhotos, split: Split) -> None:
        tested = pixels(photos, split.test)
        before, after = (
            backbone_features(each, tested, protocol).mean(1) for each in (start, net.attribute_net)
        )
        drifts.append(feature_drift(before, after))
        if settings.keep_networks and fabric.is_global_zero:
            save_trained(
                settings.folder / "networks",
                f"split_{len(drifts):02}",
                net,
                photos,
                split,
                pixels(photos, split.train),
                protocol,
                settings.finetuning,
                str(settings.init or settings.model),
            )

    return FinetuneFit(
        fabric,
        fresh_copies(start, settings.finetuning.schedule.seed),
        settings.finetuning,
        protocol,
        states,
        every=settings.evaluate_every,
        pixels=pixels,
        tested={"others": {other.name: labels_hash(other) for other in others}},
        trained=trained,
    )


def divisions(settings: Settings, photos: RatedPhotos) -> tuple[Split, ...]:
    """Divide as the settings say, or as a file says.

    Raises:
        DatasetLayoutError: The file does not fit, or an official split is wanted where none is.
    """
    if settings.split_file is None:
        return divide(
            photos,
            settings.splits,
            settings.validation,
            settings.labels,
            settings.by_group,
            settings.official,
        )
    splits = read_splits(settings.split_file, photos)
    if settings.labels < 1:
        splits = tuple(training_subset(split, settings.labels) for split in splits)
    return splits


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


def recorded(settings: Settings) -> dict[str, Any]:
    """Settings ready for JSON; how many processes decode is no part of a result."""
    schedule = replace(settings.finetuning.schedule, workers=0)
    settings = replace(settings, finetuning=replace(settings.finetuning, schedule=schedule))
    return json.loads(json.dumps(asdict(settings), default=str))
