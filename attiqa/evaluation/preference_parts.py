"""Agreement with people's preferences between two photographs (ATTIQA section 5.1)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from attiqa.data.preference_pairs import Preferences
from attiqa.data.rated_photos import Split
from attiqa.evaluation.metrics import preference_accuracy


def measure_preferences(
    predict: Callable[[Sequence[Path]], Float[np.ndarray, " n"]],
    paths: Sequence[Path],
    preferences: Preferences,
    split: Split,
) -> Mapping[str, float]:
    """Count the pairs in the test and validation parts in which a model prefers what most do.

    Args:
        predict: Scores photographs; only those of the two parts are asked for.
        paths: The photographs.
        preferences: Between them.
        split: Rows of the pairs.

    Returns:
        `PART/preference_accuracy` and the number of pairs that people are decided about,
        `PART/preferences`.
    """
    found = {}
    for part in ("test", "validation"):
        pairs = preferences.take(getattr(split, part))
        if not len(pairs):
            continue
        rows, places = np.unique([pairs.first, pairs.second], return_inverse=True)
        first, second = predict([paths[row] for row in rows])[places.reshape(2, -1)]
        agreed = preference_accuracy(first - second, pairs.shares - 0.5)
        found |= {
            f"{part}/preference_accuracy": agreed.share,
            f"{part}/preferences": float(agreed.pairs),
        }
    return found


def by_part(epoch: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    """Group the measurements of an epoch, `PART/METRIC` to value; its losses are left out."""
    parts: dict[str, dict[str, float]] = {}
    for name, value in epoch.items():
        part, slash, metric = name.rpartition("/")
        if slash:
            parts.setdefault(part, {})[metric] = value
    return dict(parts)
