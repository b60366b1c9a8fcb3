"""Fit the two classical referees of the reward: NIQE for previews, and the scene regression.

Repeats attiqa/weights/niqe-previews and attiqa/weights/natural-scenes (one CPU core, 3 minutes):

    python experiments/fit_natural_scenes.py --pristine KODAK --data BIQ2021

NIQE's pristine model is that of photographs reduced to the size of previews. The regression learns
the scores of the photographs that the judge learned from, and is measured on those that were
kept aside for both; its two settings are chosen by cross-validation among the former.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float
from rich import print_json
from rich.progress import track

from attiqa.checkpoints import write_atomically
from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.folder import cache_photos, content_hash, list_photos
from attiqa.datasets.rated import random_split, split_hash
from attiqa.metrics import bootstrap_interval, correlations, srocc
from attiqa.model_sources import WEIGHTS
from attiqa.niqe import fit_pristine, niqe, save_pristine
from attiqa.robustness import ladder_responses
from attiqa.scene_regression import fit_regression, save_regression, scene_features
from attiqa.scoring import to_tensor
from attiqa.versions import versions
from attiqa.views import resize_short_side
from experiments.reward_measures import PREVIEW, previews

FOLDS = 5
BATCH = 8
LADDER_PHOTOS = 8


@dataclass(frozen=True)
class Settings:
    """Settings of the fits; the defaults are those of the embedded models."""

    pristine: Path
    """Folder of pristine photographs: ours were the 24 of Kodak."""
    data: Path
    """Folder of BIQ2021: Images/ and "Train (Images and MOS).csv"."""
    weights: Path = WEIGHTS
    """Folder that the models and their cards are written to."""
    cache: Path = Path("runs/cache")
    """Folder for the decoded photographs (2.4 GB)."""
    patch: int = 48
    """Side of NIQE's patches in pixels."""
    sides: tuple[int, ...] = (160, 192, 224)
    """Short sides that the pristine photographs are reduced to."""
    test: int = 300
    """Photographs kept aside, as for the judge."""
    split_seed: int = 0
    """Fixes the split, as for the judge."""
    gammas: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Kernels to choose from."""
    ridges: tuple[float, ...] = (0.3, 1.0)
    """Penalties to choose from."""


def main(settings: Settings) -> None:
    """Fit both and write them with their cards."""
    pristine = fit_niqe(settings)
    regression = fit_scores(settings)
    print_json(json.dumps([pristine["metrics"], regression["metrics"]]))


def fit_niqe(settings: Settings) -> dict[str, Any]:
    """Fit NIQE's pristine model; returns its card."""
    paths = list_photos(settings.pristine)
    photos = [
        resize_short_side(to_tensor(path)[None], side)[0].clamp(0, 1)
        for path in paths
        for side in settings.sides
    ]
    model = fit_pristine(photos, settings.patch)
    distances = np.array([niqe(photo[None], model).item() for photo in photos])
    by_side = distances.reshape(len(paths), -1).mean(0)
    card = {
        "name": "niqe-previews",
        "kind": "NIQE pristine model: mean and covariance of 36 features",
        "training": f"the sharp patches of {len(paths)} photographs at short sides of "
        f"{settings.sides} pixels",
        "data_sha256": content_hash(paths),
        "settings": {"patch": settings.patch, "sides": settings.sides},
        "metrics": {
            "mean distance of the same photographs": {
                str(side): float(value) for side, value in zip(settings.sides, by_side, strict=True)
            }
        },
        "versions": versions(),
        "limits": "For pictures of about these sizes. Blind to exposure and colour, and to sharp "
        "halos that look like detail.",
    }
    save_pristine(settings.weights / "niqe-previews.safetensors", model)
    _write_card(settings, card)
    return card


def fit_scores(settings: Settings) -> dict[str, Any]:
    """Fit the regression; returns its card."""
    photos = read_biq2021(settings.data)
    split = random_split(len(photos.paths), 0, settings.test, settings.split_seed)
    pixels = cache_photos(photos.paths, 512, settings.cache)
    batches = np.array_split(np.arange(len(pixels)), len(pixels) // BATCH)
    features = np.concatenate(
        [scene_features(previews(pixels, batch)).numpy() for batch in track(batches, "features")]
    )
    known, mos = features[split.train], photos.mos[split.train]
    tried = {
        (gamma, ridge): cross_validated(known, mos, gamma, ridge)
        for gamma in settings.gammas
        for ridge in settings.ridges
    }
    gamma, ridge = max(tried, key=lambda pair: tried[pair])
    model = fit_regression(known, mos, gamma, ridge)
    scores, truth = model.predict(features[split.test]), photos.mos[split.test]
    interval = bootstrap_interval(scores, truth)
    good = split.test[truth >= np.median(photos.mos)][:LADDER_PHOTOS]
    ladders = ladder_responses(model, previews(pixels, good))
    card = {
        "name": "natural-scenes",
        "kind": "SceneRegression: kernel ridge on 114 statistics of natural scenes",
        "training": f"{photos.name}, previews of {PREVIEW} pixels of {len(split.train)} "
        "photographs: those that attiqa-judge learned from, and their scores",
        "data_sha256": content_hash(photos.paths),
        "split_sha256": split_hash(photos.names, split),
        "settings": {"gamma": gamma, "ridge": ridge},
        "metrics": {
            "cross-validation among the training photographs, srocc": tried[gamma, ridge],
            f"test, {len(truth)} photographs": correlations(scores, truth)
            | {"srocc, 95 %": [interval.low, interval.high]},
            f"test, ladders on {LADDER_PHOTOS} good previews": {
                k: asdict(v) for k, v in ladders.items()
            },
        },
        "versions": versions(),
        "license": "weights Apache-2.0; the photographs of BIQ2021 are for research use",
        "limits": f"For previews of about {PREVIEW} pixels. A referee beside others: it sees "
        "statistics, not scenes.",
    }
    save_regression(settings.weights / "natural-scenes.safetensors", model)
    _write_card(settings, card)
    return card


def cross_validated(
    features: Float[np.ndarray, "n f"], mos: Float[np.ndarray, " n"], gamma: float, ridge: float
) -> float:
    """SROCC of predictions for photographs that the fit did not see, all folds together."""
    fold = np.random.default_rng(0).permutation(len(mos)) % FOLDS
    predicted = np.empty(len(mos))
    for number in range(FOLDS):
        rest = fold != number
        model = fit_regression(features[rest], mos[rest], gamma, ridge)
        predicted[~rest] = model.predict(features[~rest])
    return srocc(predicted, mos)


def _write_card(settings: Settings, card: dict[str, Any]) -> None:
    path = settings.weights / f"{card['name']}.json"
    write_atomically(path, (json.dumps(card, indent=2) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Settings))
