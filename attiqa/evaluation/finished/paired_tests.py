"""Whether one model agrees better with people than another on the same photographs.

The correlations of two models with one set of opinions depend on each other: intervals of each
model may overlap where their difference is certain. Compared are therefore differences.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from attiqa.evaluation.metrics import Interval, Statistic, Values


class WilliamsTest(NamedTuple):
    """The test of two dependent correlations that share a variable."""

    t: float
    """Positive where the first correlation is the larger one."""
    p: float
    """Two-sided."""


def williams_test(first: float, second: float, between: float, count: int) -> WilliamsTest:
    """Test whether two correlations with the same opinions are equal.

    Williams' t with n - 3 degrees of freedom (Williams, Regression Analysis, 1959; Steiger, Tests
    for comparing elements of a correlation matrix, Psychological Bulletin 87, 1980, Eq. 7). It is
    made for Pearson's correlation of normal variables; for correlations of ranks it is an
    approximation.

    Args:
        first: Correlation of the first model with the opinions, in [-1, 1].
        second: That of the second model.
        between: Correlation of the two models with each other.
        count: Photographs.

    Raises:
        ValueError: Fewer than four photographs.
    """
    if count < 4:
        raise ValueError(f"the test needs four or more photographs; got {count}")
    determinant = 1 - first**2 - second**2 - between**2 + 2 * first * second * between
    mean = (first + second) / 2
    variance = 2 * (count - 1) / (count - 3) * max(determinant, 0.0)
    variance += mean**2 * (1 - between) ** 3
    if first == second:  # models of the same order have no variance either
        return WilliamsTest(0.0, 1.0)
    scale = np.sqrt((count - 1) * (1 + between) / variance) if variance > 0 else np.inf
    t = (first - second) * float(scale)
    return WilliamsTest(t, float(2 * stats.t.sf(abs(t), count - 3)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that the chance of any false finding stays below theirs.

    Holm's step-down method (A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6, 1979): it assumes nothing of how the tests depend on each other.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = np.arange(len(order), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values, np.float64)[order] * factors)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def bootstrap_together(
    scores: Float[np.ndarray, "m n"],
    mos: Values,
    statistic: Statistic,
    resamples: int = 1000,
    seed: int = 0,
) -> Float[np.ndarray, "m r"]:
    """Compute a statistic of several models on the same draws of photographs.

    Differences between rows are those of a paired bootstrap.

    Args:
        scores: Of each model.
        mos: Human opinion.
        statistic: Of scores and opinions; nan where a draw has none.
        resamples: Draws with replacement.
        seed: Fixes them.
    """
    random = np.random.default_rng(seed)
    found = np.empty((len(scores), resamples))
    for column in range(resamples):
        draw = random.integers(len(mos), size=len(mos))
        drawn = mos[draw]
        found[:, column] = [statistic(row[draw], drawn) for row in scores]
    return found


def percentile_interval(values: Float[np.ndarray, " r"], level: float = 0.95) -> Interval:
    """Cut off the same share of resampled values at both ends; nan is left out.

    Raises:
        ValueError: All are nan.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError("a bootstrap needs two or more different scores and opinions")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
