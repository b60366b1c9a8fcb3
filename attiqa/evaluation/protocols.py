"""The measuring protocols of the field, and of ATTIQA's experiments (sections 4.2 to 5.1).

| experiment of the paper | here |
|---|---|
| within-dataset (Table 2) | `over_splits` with `fits.FinetuneFit` |
| cross-dataset (Table 3) | the same with `others` |
| 10 % and 20 % of the data (Table 4) | the same with `training_subset(split, 0.1)` |
| linear probing (section 4.5) | the same with `fits.ProbeFit` |
| feature drift (Table 5) | `feature_drift` |
| AGIQA-3k fine-tuned (Table 5) | within-dataset; the images of a prompt share a part |
| AGIQA-3k zero-shot | `as_is` with a model of another data set |
| generated pairs (section 5.1) | `metrics.preference_accuracy` |

Which epoch counts is seldom said in the literature, and often it is the best one *on the test
part*. Every result therefore has all three, under these names: "last epoch", "selected on
validation", "best on test". Everything returned is ready for JSON.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.evaluation.metrics import bootstrap_interval, correlations, pair_accuracy, spread
from attiqa.provenance.versions import versions

logger = logging.getLogger(__name__)

Indices = Int[np.ndarray, " n"]
Predict = Callable[[RatedPhotos, Indices], Float[np.ndarray, " n"]]
"""Scores some photographs of a data set."""
Evaluate = Callable[[Predict], dict[str, float]]
"""Measures a model as it is now: `PART/METRIC` to value, for the history of its training."""


class Fitted(NamedTuple):
    """A model that was trained on one split.

    Attributes:
        history: One entry per epoch. Each holds what `evaluate` returned after that epoch where the
            fit chose to ask; what the finished model shows joins the last one.
        predict: Of the finished model.
    """

    history: list[dict[str, float]]
    predict: Predict


Fit = Callable[[RatedPhotos, Split, Evaluate], Fitted]
"""Trains on `split.train`."""

Predictions = Mapping[str, Float[np.ndarray, " n"]]
"""Scores by part of the data: "test", "validation", and all photographs of further data sets."""

SELECTIONS = ("last epoch", "selected on validation", "best on test")


def over_splits(
    photos: RatedPhotos,
    splits: Sequence[Split],
    fit: Fit,
    others: Sequence[RatedPhotos] = (),
    settings: Mapping[str, Any] | None = None,
    keep: Callable[[int, Predictions], None] | None = None,
) -> dict[str, Any]:
    """Train and test on every split of a data set; report each of them, medians and quartiles.

    Args:
        photos: Trained and tested on.
        splits: Ten random ones of 80 % and 20 % in the paper.
        fit: Trains one model.
        others: Data sets that every model is tested on, for cross-dataset results: on the official
            test part of those that have one, on the others whole.
        settings: Of `fit`, for the record.
        keep: Is given what the model of each split predicts, and the split's number from 0.
    """
    names = {photos.name, *(other.name for other in others)}
    if len(names) != 1 + len(others):
        raise ValueError(f"data sets must have different names: {sorted(names)}")
    runs = []
    for number, split in enumerate(splits):
        run, predictions = one_split(photos, split, fit, others)
        runs.append(run)
        if keep:
            keep(number, predictions)
        logger.info("split %d of %d: %s", number + 1, len(splits), _headline(run))
    return {
        "summary": summarise([run["selected"] for run in runs]),
        "runs": runs,
        "others": {other.name: _tested_part(other) for other in others},
        **provenance([photos, *others], settings),
    }


def one_split(
    photos: RatedPhotos, split: Split, fit: Fit, others: Sequence[RatedPhotos] = ()
) -> tuple[dict[str, Any], Predictions]:
    """Train on one split, select among the epochs, and predict with the finished model.

    Returns:
        The result, ready for JSON, with intervals for the finished model alone; and its scores.
    """
    fitted = fit(photos, split, lambda predict: measure_parts(predict, photos, split, others))
    parts = {"test": (photos, split.test), "validation": (photos, split.validation)}
    parts |= {other.name: (other, np.arange(len(other.paths))) for other in others}
    predictions: dict[str, np.ndarray] = {}
    last: dict[str, float] = {}
    for part, (rated, indices) in parts.items():
        if not len(indices):
            continue
        scores = predictions[part] = fitted.predict(rated, indices)
        if rated is photos:
            last |= _prefixed(part, measure_scores(scores, rated, indices))
            continue
        tested = cross_test(rated)
        last |= _prefixed(part, measure_scores(scores[tested], rated, tested))
        if len(tested) < len(indices):
            last |= _prefixed(f"{part}, all", measure_scores(scores, rated, indices))
    history = [*fitted.history[:-1], fitted.history[-1] | last]
    sizes = {part: len(getattr(split, part)) for part in ("train", "validation", "test")}
    identity = split_hash(photos.names, split)
    record = {
        "split": {"sha256": identity, **sizes},
        "selected": select(history),
        "history": history,
    }
    return record, predictions


def measure_parts(
    predict: Predict,
    photos: RatedPhotos,
    split: Split,
    others: Sequence[RatedPhotos] = (),
    thorough: bool = False,
) -> dict[str, float]:
    """Measure a model on the test and validation parts and on other data sets, for a history.

    Args:
        predict: Scores photographs.
        photos: The data set that is divided.
        split: How.
        others: Further data sets.
        thorough: Intervals and pairs of the test part, too, which take long after every epoch.

    Returns:
        `PART/METRIC` to value.
    """
    tested = measure_scores if thorough else agreement
    scores = predict(photos, split.test)
    found = _prefixed("test", tested(scores, photos, split.test))
    if len(split.validation):
        scores = predict(photos, split.validation)
        found |= _prefixed("validation", agreement(scores, photos, split.validation))
    for other in others:
        rows = cross_test(other)
        found |= _prefixed(other.name, agreement(predict(other, rows), other, rows))
    return found


def cross_test(photos: RatedPhotos) -> Indices:
    """Choose what a model of another data set is tested on: the official test part, or all."""
    if photos.split is None or not len(photos.split.test):
        return np.arange(len(photos.paths))
    return photos.split.test


def as_is(
    photos: RatedPhotos,
    predict: Predict,
    settings: Mapping[str, Any] | None = None,
    trained_on: str | None = None,
) -> dict[str, Any]:
    """Measure a finished model on a whole data set.

    Args:
        photos: The data set.
        predict: Scores its photographs.
        settings: For the record.
        trained_on: What the model's card says of the opinion scores that it was trained on.

    Returns:
        The result, and as "setting" what it is worth: "zero-shot" where the card names other data
        sets alone, "trained on this data set" where it names this one, or else "unknown", as where
        it was distilled from a model of which that is not known.
    """
    found = measure(predict, photos, np.arange(len(photos.paths)))
    setting = setting_of(photos.name, trained_on)
    return {"result": found, "setting": setting, **provenance([photos], settings)}


def setting_of(dataset: str, trained_on: str | None) -> str:
    """Say what a model's result on a data set is worth; see `as_is`."""

    def names(word: str) -> bool:
        pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
        return re.search(pattern, trained_on or "unknown", re.IGNORECASE) is not None

    if names(dataset):
        return "trained on this data set"
    return "unknown" if names("unknown") else "zero-shot"


def measure(predict: Predict, photos: RatedPhotos, indices: Indices) -> dict[str, float]:
    """Score some photographs and compare with people's scores: see `measure_scores`."""
    return measure_scores(predict(photos, indices), photos, indices)


def agreement(
    scores: Float[np.ndarray, " n"], photos: RatedPhotos, indices: Indices
) -> dict[str, float]:
    """Correlate scores of some photographs with people's; `mapped` is 1 where the logistic fitted.

    Linear in the photographs but for their sorting: cheap enough for every epoch.
    """
    found = correlations(scores, photos.mos[indices])
    return {name: float(value) for name, value in found.items()}


def measure_scores(
    scores: Float[np.ndarray, " n"], photos: RatedPhotos, indices: Indices, resamples: int = 1000
) -> dict[str, float]:
    """Compare the scores of some photographs with people's.

    Args:
        scores: Theirs.
        photos: The data set.
        indices: Which of its photographs.
        resamples: Of the bootstrap of the SROCC (95 %).

    Returns:
        The correlations, the interval, and the share of pairs in the right order: of all pairs
        and, for photographs with groups, of those within a group.
    """
    found, mos = agreement(scores, photos, indices), photos.mos[indices]
    interval = bootstrap_interval(scores, mos, resamples=resamples)
    found |= {"srocc_low": interval.low, "srocc_high": interval.high}
    everything = pair_accuracy(scores, mos)
    found |= {"pair_accuracy": everything.share, "pairs": float(everything.pairs)}
    if photos.groups is not None:
        within = pair_accuracy(scores, mos, np.asarray(photos.groups)[indices])
        if within.pairs:
            found |= {"group_pair_accuracy": within.share, "group_pairs": float(within.pairs)}
    return found


def select(history: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any] | None]:
    """Choose an epoch in three ways: last, best SROCC on validation, best SROCC on test.

    The third one looks at the test part and so promises too much; it is here because much of the
    literature reports it. The earliest epoch wins a draw.

    Returns:
        Per selection the epoch, counted from 1, and what every part of the data showed after it;
        None for the second one where there is no validation part.

    Raises:
        ValueError: The last epoch was not measured.
    """
    if not history or "test/srocc" not in history[-1]:
        raise ValueError("a history must end with an epoch that was measured on the test part")
    measured = [number for number, entry in enumerate(history) if "test/srocc" in entry]

    def best(part: str) -> dict[str, Any] | None:
        name = f"{part}/srocc"
        if name not in history[-1]:
            return None
        return parts(max(measured, key=lambda number: history[number][name]))

    def parts(number: int) -> dict[str, Any]:
        found: dict[str, Any] = {"epoch": number + 1}
        for name, value in history[number].items():
            part, slash, metric = name.rpartition("/")
            if slash:
                found.setdefault(part, {})[metric] = value
        return found

    chosen = (parts(len(history) - 1), best("validation"), best("test"))
    return dict(zip(SELECTIONS, chosen, strict=True))


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe the selected results of the splits by medians and quartiles."""
    summary: dict[str, Any] = {}
    for selection in SELECTIONS:
        chosen = [run[selection] for run in runs if run[selection] is not None]
        if not chosen:
            summary[selection] = None
            continue
        parts = [name for name in chosen[0] if name != "epoch"]
        summary[selection] = {
            part: {
                metric: spread(np.array([found[part][metric] for found in chosen]))
                for metric in ("srocc", "plcc", "plcc_mapped", "krocc", "rmse")
            }
            for part in parts
            if all(part in found for found in chosen)
        }
    return summary


def feature_drift(
    before: Float[np.ndarray, "n f"], after: Float[np.ndarray, "n f"]
) -> dict[str, float | int]:
    """Compare features before and after fine-tuning by their cosine similarity (Table 5).

    One cosine per photograph; their mean, as in the table, and quartiles. Pooled features of a
    ReLU network are not negative, so that even unrelated ones are far from -1.
    """
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = (before * after).sum(1) / lengths
    low, median, high = np.quantile(cosines, [0.25, 0.5, 0.75])
    return {
        "mean": float(cosines.mean()),
        "quartile_1": float(low),
        "median": float(median),
        "quartile_3": float(high),
        "photographs": len(cosines),
    }


def provenance(
    datasets: Iterable[RatedPhotos], settings: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Say what a result was made from: labels by their hash, settings, versions."""
    return {
        "data": {
            photos.name: {
                "photographs": len(photos.paths),
                "source": photos.source,
                "scale": list(photos.scale),
                "dropped": len(photos.dropped),
                "labels_sha256": labels_hash(photos),
            }
            for photos in datasets
        },
        "settings": dict(settings or {}),
        "versions": versions(),
    }


def labels_hash(photos: RatedPhotos) -> str:
    """Return the SHA-256 over the file names and opinion scores."""
    rows = zip(photos.paths, photos.mos, strict=True)
    text = "\n".join(f"{path.name}\t{float(mos)!r}" for path, mos in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _prefixed(part: str, found: Mapping[str, float]) -> dict[str, float]:
    return {f"{part}/{name}": value for name, value in found.items()}


def _tested_part(photos: RatedPhotos) -> dict[str, Any]:
    count = len(cross_test(photos))
    return {"part": "all" if count == len(photos.paths) else "official test", "photographs": count}


def _headline(run: Mapping[str, Any]) -> str:
    found = run["selected"]["last epoch"]
    return f"test SROCC {found['test']['srocc']:.3f} after epoch {found['epoch']}"
