"""Several finished models on the same photographs, and whether they differ.

Each model scores each data set once; its scores are kept in a table under a name made of all that
they depend on, so that a run that was stopped continues, and models can be added to a finished one.
"""

import csv
import hashlib
import io
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float
from scipy import stats

from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import AttiqaError
from attiqa.evaluation.finished.models import FinishedModel
from attiqa.evaluation.finished.paired_tests import (
    bootstrap_together,
    holm,
    percentile_interval,
    williams_test,
)
from attiqa.evaluation.metrics import Statistic, correlations, plcc, srocc
from attiqa.evaluation.protocols import labels_hash, provenance, setting_of
from attiqa.files import write_atomically
from attiqa.provenance.identity import photos_hash

logger = logging.getLogger(__name__)

Part = Literal["all", "official-test"]
"""What is scored of a data set."""
Advance = Callable[[int], None]
"""Is told how many photographs were scored."""

STEP = 32
"""Photographs scored between two signs of progress."""


def krocc(scores: Float[np.ndarray, " n"], mos: Float[np.ndarray, " n"]) -> float:
    """Kendall's tau-b; nan if one of the two is constant."""
    return float(cast(Any, stats.kendalltau(scores, mos)).statistic)


STATISTICS: Mapping[str, Statistic] = {"srocc": srocc, "plcc": plcc, "krocc": krocc}
TESTED = ("srocc", "plcc")
"""Differences of these are tested, too."""


def choose_part(photos: RatedPhotos, part: Part) -> RatedPhotos:
    """Keep the official test part of a data set that has one.

    Raises:
        AttiqaError: It is asked for where there is none.
    """
    if part == "all":
        return photos
    if photos.split is None or not len(photos.split.test):
        raise AttiqaError(f"{photos.name} has no official test part; use --part all")
    kept = photos.split.test.tolist()
    return replace(
        photos,
        paths=tuple(photos.paths[index] for index in kept),
        mos=photos.mos[kept],
        groups=photos.groups and tuple(photos.groups[index] for index in kept),
        attributes=None,
        factors={},
        split=None,
    )


def kept_scores(
    model: FinishedModel, photos: RatedPhotos, folder: Path, advance: Advance
) -> Float[np.ndarray, " n"]:
    """Score a data set, or read what an earlier run scored.

    The table has the columns name and score: another run may take it for a model (`table:FILE`).

    Args:
        model: Any.
        photos: The data set.
        folder: Of the tables.
        advance: Is told of each step.
    """
    depends = (model.sha256, labels_hash(photos), photos_hash(PhotoFiles(photos.paths)))
    digest = hashlib.sha256("".join(depends).encode()).hexdigest()[:16]
    table = folder / f"{photos.name}-{digest}.csv"
    if table.exists():
        with table.open(encoding="utf-8", newline="") as file:
            scores = np.array([float(row["score"]) for row in csv.DictReader(file)])
        advance(len(scores))
        return scores
    begun, parts = time.perf_counter(), []
    for first in range(0, len(photos.paths), STEP):
        paths = photos.paths[first : first + STEP]
        parts.append(model.score(paths))
        advance(len(paths))
    scores = np.concatenate(parts)
    seconds = (time.perf_counter() - begun) / len(scores)
    logger.info("%s: %s at %.3g s a photograph", model.source, photos.name, seconds)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(table, {"name": relative_names(photos), "score": scores.tolist()})
    return scores


def compare_on(
    photos: RatedPhotos,
    models: Sequence[FinishedModel],
    scores: Float[np.ndarray, "m n"],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure models on one data set, and each against the first one.

    Args:
        photos: What was scored.
        models: The first one is what the others are compared with.
        scores: One row per model; higher is better.
        resamples: Draws of photographs for all intervals (95 %, percentile), the same for all
            models: differences are paired.
        seed: Of the draws.

    Returns:
        By source of the model: "result" with correlations and intervals, "setting" (see
        `protocols.as_is`), and but for the first model "difference": that model's SROCC and PLCC
        less the first one's, with interval, Williams' t and p.

    Raises:
        AttiqaError: A model gives all photographs one score.
    """
    for model, row in zip(models, scores, strict=True):
        if np.ptp(row) == 0:
            raise AttiqaError(f"{model.source}: all of {photos.name} has the score {row[0]:g}")
    drawn = {
        name: bootstrap_together(scores, photos.mos, statistic, resamples, seed)
        for name, statistic in STATISTICS.items()
    }
    found: dict[str, Any] = {}
    for index, model in enumerate(models):
        result = {k: float(v) for k, v in correlations(scores[index], photos.mos).items()}
        for name in STATISTICS:
            low, high = percentile_interval(drawn[name][index])
            result |= {f"{name}_low": low, f"{name}_high": high}
        setting = setting_of(photos.name, model.trained_on)
        found[model.source] = {"result": result, "setting": setting}
        if index:
            found[model.source]["difference"] = {
                name: _difference(name, scores[[0, index]], photos.mos, drawn[name][[0, index]])
                for name in TESTED
            }
    return found


def compare(
    models: Sequence[FinishedModel],
    datasets: Sequence[RatedPhotos],
    folder: Path,
    resamples: int = 1000,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    advance: Advance = lambda count: None,
) -> dict[str, Any]:
    """Compare models on data sets; write predictions, and scores to continue from, to a folder.

    Holm's correction is over all models and data sets of the run, for SROCC and PLCC each.

    Args:
        models: Of different sources; the first one is what the others are compared with.
        datasets: Of different names.
        folder: For `scores/` and a `predictions_NAME.csv` of each data set.
        resamples: See `compare_on`.
        seed: See `compare_on`.
        settings: For the record.
        advance: Is told of each step.

    Returns:
        "models" (what their scores depend on), "datasets", provenance; ready for JSON.

    Raises:
        AttiqaError: A model cannot score a photograph, or scores all alike; or two data sets have
            one name.
    """
    if len({photos.name for photos in datasets}) < len(datasets):
        named = [photos.name for photos in datasets]
        raise AttiqaError(f"expected data sets of different names; found {named}")
    found: dict[str, Any] = {}
    for photos in datasets:
        rows = [kept_scores(model, photos, folder / "scores", advance) for model in models]
        columns = {model.source: row.tolist() for model, row in zip(models, rows, strict=True)}
        names = {"name": relative_names(photos), "mos": photos.mos.tolist()}
        write_table(folder / f"predictions_{photos.name}.csv", names | columns)
        compared = compare_on(photos, models, np.stack(rows), resamples, seed)
        found[photos.name] = {"photographs": len(photos.paths), "models": compared}
    _correct(found)
    return {
        "models": {model.source: dict(model.record) for model in models},
        "datasets": found,
        **provenance(datasets, settings),
    }


def relative_names(photos: RatedPhotos) -> list[str]:
    """Name photographs by their paths below the folder that all of them share."""
    shared = os.path.commonpath([path.parent for path in photos.paths])
    return [path.relative_to(shared).as_posix() for path in photos.paths]


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns as CSV, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    write_atomically(path, text.getvalue().encode(errors="surrogateescape"))


def _difference(
    name: str,
    scores: Float[np.ndarray, "2 n"],
    mos: Float[np.ndarray, " n"],
    drawn: Float[np.ndarray, "2 r"],
) -> dict[str, float]:
    """Compare the second model with the first one."""
    statistic = STATISTICS[name]
    first, second = (statistic(row, mos) for row in scores)
    low, high = percentile_interval(drawn[1] - drawn[0])
    test = williams_test(second, first, statistic(*scores), len(mos))
    return {"value": second - first, "low": low, "high": high, "t": test.t, "p": test.p}


def _correct(datasets: Mapping[str, Any]) -> None:
    """Add Holm's corrected p-values to the differences."""
    for name in TESTED:
        tests = [
            model["difference"][name]
            for found in datasets.values()
            for model in found["models"].values()
            if "difference" in model
        ]
        for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
            test["p_holm"] = p
