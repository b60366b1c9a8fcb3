r"""How far may people's opinion be from a score? Intervals, calibrated on rated photographs.

    python experiments/iqa/calibrate_uncertainty.py --data BIQ2021 --write

Scores the photographs that the model's card says were kept aside from its training, calibrates an
interval (`attiqa.evaluation.calibration`) and measures its coverage. Writes results.json, and with
`--write` the constants into the card: `attiqa score --uncertainty` and `score_with_interval` read
them there. A model of your own is calibrated on any rated photographs that it was not trained on:

    python experiments/iqa/calibrate_uncertainty.py --data KONIQ --dataset koniq --part test \
        --model runs/finetune/finetuned.safetensors --write
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Int
from rich import print, print_json
from rich.logging import RichHandler
from rich.progress import track

from attiqa.data.datasets.registry import load_dataset
from attiqa.data.rated_photos import RatedPhotos, random_split, split_hash
from attiqa.errors import DatasetLayoutError
from attiqa.evaluation.calibration import Judged, calibrate
from attiqa.evaluation.protocols import provenance
from attiqa.files import write_atomically
from attiqa.model.cards import Card
from attiqa.model.sources import weight_file
from attiqa.scoring.scorers import Scorer, load_scorer
from experiments.settings import parsed, without_paths


@dataclass(frozen=True)
class Settings:
    """Settings of the calibration; the defaults are those of the embedded models."""

    data: Path
    """Folder of the data set."""
    dataset: str = "biq2021-train"
    """Name of its official layout; "plain" for photographs of your own with a scores.csv."""
    scale: tuple[float, float] | None = None
    """Lowest and highest possible score, of "plain" only."""
    part: Literal["kept aside", "test", "all"] = "kept aside"
    """Photographs: those that the card says were kept aside, the official test part, or all."""
    subset: bool = True
    """The folder may hold a part of the data set."""
    model: str = "embedded"
    """What `load_model` takes."""
    level: float = 0.9
    """Share of opinions that an interval is to hold."""
    divisions: int = 1000
    """Random divisions that the coverage is measured on."""
    seed: int = 0
    """Fixes them."""
    write: bool = False
    """Write the constants into the model's card."""
    device: str = "cpu"
    """Where the model runs."""
    out: Path = Path("runs/calibrate_uncertainty")
    """Folder for results.json."""


def main(settings: Settings) -> None:
    """Score, calibrate, measure, write."""
    photos = load_dataset(settings.dataset, settings.data, settings.subset, settings.scale)
    scorer = load_scorer(settings.model, settings.device)
    check_scale(photos, scorer.card)
    rows = chosen(photos, scorer.card, settings.part)
    judged = judge(scorer, photos, rows)
    source = f"{photos.name}, {settings.part}"
    found = calibrate(judged, settings.level, source, settings.divisions, settings.seed)
    results = {
        "model": scorer.card.name,
        "sha256": scorer.card.sha256,
        "uncertainty": asdict(found),
        "photographs": [photos.names[row] for row in rows],
        "scores": judged.scores.tolist(),
        "spreads": judged.spreads.tolist(),
        "mos": judged.mos.tolist(),
        **provenance([photos], without_paths(asdict(settings))),
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / "results.json"
    write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())
    print_json(json.dumps(asdict(found)))
    print(path)
    if settings.write:
        card = replace(scorer.card, uncertainty=found)
        place = weight_file(settings.model).with_suffix(".json")
        write_atomically(place, (json.dumps(asdict(card), indent=2, default=str) + "\n").encode())
        print(f"{place}: written")


def check_scale(photos: RatedPhotos, card: Card) -> None:
    """Refuse opinions on another scale than the scores.

    Raises:
        DatasetLayoutError: They are.
    """
    assert card.scale is not None  # load_scorer sees to it
    expected = (card.scale.low, card.scale.high)
    if photos.scale != expected:
        raise DatasetLayoutError(
            f"{photos.name}: opinions from {photos.scale[0]:g} to {photos.scale[1]:g}; {card.name} "
            f"scores from {expected[0]:g} to {expected[1]:g}: calibrate it on opinions of its scale"
        )


def chosen(
    photos: RatedPhotos, card: Card, part: Literal["kept aside", "test", "all"]
) -> Int[np.ndarray, " n"]:
    """Choose the photographs to calibrate on.

    Raises:
        DatasetLayoutError: The card does not say which photographs were kept aside, these are
            others, or there is no official test part.
    """
    if part == "all":
        return np.arange(len(photos.paths))
    if part == "test":
        if photos.split is None or not len(photos.split.test):
            raise DatasetLayoutError(f"{photos.name} has no official test part; use --part all")
        return photos.split.test
    sizes = [card.settings.get(name) for name in ("validation", "test", "split_seed")]
    if not all(isinstance(size, int) for size in sizes):
        raise DatasetLayoutError(
            f"{card.name}: its card does not say which photographs were kept aside; use "
            "--part test or --part all, and photographs that it was not trained on"
        )
    validation, test, seed = cast(list[int], sizes)
    split = random_split(len(photos.paths), validation, test, seed)
    expected: Any = card.training.get("split", {})
    if split_hash(photos.names, split) != expected.get("sha256"):
        raise DatasetLayoutError(
            f"{photos.name}: {len(photos.paths)} photographs, and not those that {card.name} "
            "was trained on and kept from; use --part test or --part all, and photographs that it "
            "was not trained on"
        )
    return split.test


def judge(scorer: Scorer, photos: RatedPhotos, rows: Int[np.ndarray, " n"]) -> Judged:
    """Score photographs, one after the other."""
    found = [
        scorer.score([scorer.look(photos.paths[row]).crops])[0]
        for row in track(rows, "photographs")
    ]
    scores, _, spreads = zip(*found, strict=True)
    return Judged(np.array(scores), np.array(spreads), photos.mos[rows], photos.scale[1])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    main(parsed(Settings))
