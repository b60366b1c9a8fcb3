"""Does the quality map show where a photograph is spoilt? A part of clean photographs is distorted.

    python experiments/iqa/evaluate_quality_maps.py --photos PHOTOS

One region of each photograph, a half or a third of either side, is blurred, made noisy or darkened,
and the pixels of its quality map are ranked: the area under the ROC curve (AUC) is the share of
pairs of a pixel inside and one outside of which the inner one scores lower; 0.5 is chance. What a
photograph shows differs from place to place, too, so the same is said of the change of the map.
Writes quality_maps.json.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from rich import print
from rich.logging import RichHandler
from rich.progress import track
from rich.table import Table
from scipy import stats

from attiqa.data.photo_folder import content_hash, list_photos
from attiqa.data.photos.decoding import read_photo
from attiqa.distortions.ladders import LADDERS, distort
from attiqa.files import write_atomically
from attiqa.model.quality_map import WindowGrid, quality_map
from attiqa.scoring.scorers import Scorer, load_scorer
from experiments.settings import parsed, without_paths

LEVELS = {"blur": 1.6, "noise": 0.06, "exposure": -2.0}
BY_NAME = {ladder.name: ladder for ladder in LADDERS}
STEP = 8
"""Pixels of the map from one that is ranked to the next: it is smooth."""


@dataclass(frozen=True)
class Settings:
    """Measure how well quality maps localise distortions."""

    photos: Path
    """Folder of clean photographs."""
    count: int = 32
    """So many of them, evenly spaced in the order of their names."""
    model: str = "embedded"
    """What `load_model` takes."""
    grid: WindowGrid | None = None
    """Windows; those of the card's protocol if not given."""
    parts: tuple[int, ...] = (2, 3)
    """The distorted region is 1/part of either side."""
    seed: int = 0
    """Of the regions' places."""
    device: str = "cpu"
    """Where the model runs."""
    out: Path = Path("runs/evaluate_quality_maps")
    """Folder for quality_maps.json."""


def main(settings: Settings) -> None:
    """Distort, measure, print and write."""
    scorer = load_scorer(settings.model, settings.device)
    grid = settings.grid or WindowGrid.of(scorer.card.protocol)
    everything = list_photos(settings.photos)
    rows = np.linspace(0, len(everything) - 1, min(settings.count, len(everything))).astype(int)
    paths = [everything[row] for row in rows]
    random = np.random.default_rng(settings.seed)
    found: dict[str, dict[str, list[float]]] = {}
    for path in track(paths, "photographs"):
        photo = read_photo(path)
        before = quality_map(scorer.predict, photo, grid).scores
        for part in settings.parts:
            place = tuple(random.integers(part, size=2).tolist())
            for name, values in one_region(scorer, grid, photo, before, place, part).items():
                entry = found.setdefault(f"{name}, 1/{part}", {"map": [], "change": []})
                for key, value in values.items():
                    entry[key].append(value)
    results = {
        "model": scorer.card.name,
        "sha256": scorer.card.sha256,
        "grid": asdict(grid),
        "photos": {"count": len(paths), "sha256": content_hash(paths)},
        "auc": {
            name: {key: summary(values) for key, values in entry.items()}
            for name, entry in found.items()
        },
        "settings": without_paths(asdict(settings)),
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / "quality_maps.json"
    write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())
    table = Table("distortion, region", "AUC of the map", "of its change", caption=f"{grid}")
    for name, entry in results["auc"].items():
        table.add_row(
            name, *(f"{x['mean']:.3f} ({x['low']:.3f} {x['high']:.3f})" for x in entry.values())
        )
    print(table, f"{path}")


def one_region(
    scorer: Scorer,
    grid: WindowGrid,
    photo: UInt8[np.ndarray, "h w 3"],
    before: Float[np.ndarray, "r c"],
    place: tuple[int, ...],
    part: int,
) -> dict[str, dict[str, float]]:
    """Distort one region in each way; return the AUC of the map and that of its change."""
    clean = torch.from_numpy(photo).movedim(-1, 0)[None].float() / 255
    region = inside(photo.shape[:2], place, part)
    mask = torch.from_numpy(region)
    ranked = inside(before.shape, place, part)[::STEP, ::STEP]
    found = {}
    for name, level in LEVELS.items():
        spoilt = torch.where(mask, distort(clean, BY_NAME[name], level), clean)
        pixels = spoilt[0].movedim(0, -1).contiguous().numpy()
        after = quality_map(scorer.predict, pixels, grid).scores
        found[name] = {
            key: auc(values[::STEP, ::STEP], ranked)
            for key, values in (("map", after), ("change", after - before))
        }
    return found


def inside(shape: tuple[int, ...], place: tuple[int, ...], part: int) -> Bool[np.ndarray, "h w"]:
    """Mark one of the part x part regions of a picture."""
    mask = np.zeros(shape, bool)
    bounds = (
        (side * k // part, side * (k + 1) // part) for side, k in zip(shape, place, strict=True)
    )
    mask[tuple(slice(*bound) for bound in bounds)] = True
    return mask


def auc(values: Float[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"]) -> float:
    """Return the share of pairs of which the pixel inside is lower; equal ones count one half."""
    outer, inner = values[~region], values[region]
    return float(stats.mannwhitneyu(outer, inner).statistic / (len(outer) * len(inner)))


def summary(values: list[float]) -> dict[str, Any]:
    """Return the mean over the photographs, and its interval of 95 % (bootstrap)."""
    random = np.random.default_rng(0)
    found = np.array(values)
    means = found[random.integers(len(found), size=(2000, len(found)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(found.mean()), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    main(parsed(Settings))
