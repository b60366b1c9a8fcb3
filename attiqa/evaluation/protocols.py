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
from typing import Any

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
Fit = Callable[[RatedPhotos, Split, Evaluate], list[dict[str, float]]]
"""Trains on `split.train`; returns the history, one entry per epoch. Each entry holds what
`evaluate` returned after that epoch, the last entry always, others where the fit chose to ask."""

SELECTIONS = ("last epoch", "selected on validation", "best on test")


def over_splits(
    photos: RatedPhotos,
    splits: Sequence[Split],
    fit: Fit,
    others: Sequence[RatedPhotos] = (),
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train and test on every split of a data set; report each of them, medians and quartiles.

    Args:
        photos: Trained and tested on.
        splits: Ten random ones of 80 % and 20 % in the paper.
        fit: Trains one model.
        others: Data sets that every model is tested on, for cross-dataset results: on the official
            test part of those that have one, on the others whole.
        settings: Of `fit`, for the record.
    """
    names = {photos.name, *(other.name for other in others)}
    if len(names) != 1 + len(others):
        raise ValueError(f"data sets must have different names: {sorted(names)}")
    runs = []
    for number, split in enumerate(splits, 1):
        runs.append(one_split(photos, split, fit, others))
        logger.info("split %d of %d: %s", number, len(splits), _headline(runs[-1]))
    return {
        "summary": summarise([run["selected"] for run in runs]),
        "runs": runs,
        "others": {other.name: _tested_part(other) for other in others},
        **provenance([photos, *others], settings),
    }


def one_split(
    photos: RatedPhotos, split: Split, fit: Fit, others: Sequence[RatedPhotos] = ()
) -> dict[str, Any]:
    """Train on one split and select among the epochs."""
    history = fit(photos, split, lambda predict: measure_parts(predict, photos, split, others))
    sizes = {part: len(getattr(split, part)) for part in ("train", "validation", "test")}
    identity = split_hash(photos.names, split)
    return {
        "split": {"sha256": identity, **sizes},
        "selected": select(history),
        "history": history,
    }


def measure_parts(
    predict: Predict, photos: RatedPhotos, split: Split, others: Sequence[RatedPhotos] = ()
) -> dict[str, float]:
    """Measure a model on the test and validation parts and on other data sets, for a history.

    Returns:
        `PART/METRIC` to value.
    """
    found = {"test": measure(predict, photos, split.test)}
    if len(split.validation):
        found["validation"] = measure(predict, photos, split.validation, resamples=0)
    for other in others:
        found[other.name] = measure(predict, other, cross_test(other))
    return {f"{part}/{name}": value for part in found for name, value in found[part].items()}


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


def measure(
    predict: Predict, photos: RatedPhotos, indices: Indices, resamples: int = 1000
) -> dict[str, float]:
    """Compare the scores of some photographs with people's.

    Args:
        predict: Scores them.
        photos: The data set.
        indices: Which of its photographs.
        resamples: Of the bootstrap of the SROCC (95 %); 0 leaves it out.

    Returns:
        The correlations (`mapped` is 1 where the logistic fitted), and the share of pairs in the
        right order: of all pairs and, for photographs with groups, of those within a group.
    """
    scores, mos = predict(photos, indices), photos.mos[indices]
    found = {name: float(value) for name, value in correlations(scores, mos).items()}
    if resamples:
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


def _tested_part(photos: RatedPhotos) -> dict[str, Any]:
    count = len(cross_test(photos))
    return {"part": "all" if count == len(photos.paths) else "official test", "photographs": count}


def _headline(run: Mapping[str, Any]) -> str:
    found = run["selected"]["last epoch"]
    return f"test SROCC {found['test']['srocc']:.3f} after epoch {found['epoch']}"
