"""Intervals around scores, calibrated on photographs that the model was not trained on.

The error is expected to grow with the spread of the crops' scores, and with the distance from the
top of the scale: people agree on what is very good. A least-squares fit says by how much, and the
interval is so many times the expected error that it holds the opinion as often as wanted: the
locally weighted form of conformal prediction (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman,
Distribution-free predictive inference for regression, JASA 2018, section 5.2), but with the same
photographs for the fit of three constants and for the quantile, as a few hundred are all there
are. So the coverage is measured, not promised: on photographs that had no part in either.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize

from attiqa.errors import AttiqaError
from attiqa.evaluation.metrics import Values, srocc
from attiqa.model.uncertainty import Uncertainty


class CalibrationError(AttiqaError):
    """There are too few photographs for an interval of this level."""


class Judged(NamedTuple):
    """What a model says of photographs, and people."""

    scores: Values
    """Means over the crops."""
    spreads: Values
    """Standard deviations over the crops."""
    mos: Values
    """Mean opinion scores."""
    top: float
    """The highest opinion that there can be."""

    @property
    def errors(self) -> Values:
        """Distances of scores and opinions."""
        return np.abs(self.mos - self.scores)

    @property
    def regressors(self) -> Float[np.ndarray, "n 3"]:
        """One, the spread, and the distance from the top of the scale."""
        distances = np.maximum(self.top - self.scores, 0)
        return np.stack([np.ones_like(self.scores), self.spreads, distances], axis=1)

    def some(self, rows: Int[np.ndarray, " m"]) -> "Judged":
        """Choose photographs."""
        return Judged(self.scores[rows], self.spreads[rows], self.mos[rows], self.top)


def half_width(judged: Judged, level: float) -> Float[np.ndarray, "3"]:
    """Return base, weight of the spread and weight of the distance; none is negative.

    Raises:
        CalibrationError: There are too few photographs for the level.
    """
    weights, _ = optimize.nnls(judged.regressors, judged.errors)
    return weights * conformal_quantile(judged.errors / (judged.regressors @ weights), level)


def conformal_quantile(values: Float[np.ndarray, " n"], level: float) -> float:
    """Return the value of rank `ceil((n + 1) * level)`.

    A further value of the same distribution is at most that with a probability of `level` or more.

    Raises:
        CalibrationError: That rank is above n.
    """
    rank = _ceil((len(values) + 1) * level)
    if rank > len(values):
        raise CalibrationError(
            f"an interval for {level:.0%} of the opinions needs {_ceil(level / (1 - level))} "
            f"photographs or more; found {len(values)}"
        )
    return float(np.sort(values)[rank - 1])


def _ceil(value: float) -> int:
    """Round up, but not what is whole except for its last digits: 0.9 / (1 - 0.9) is 9."""
    return math.ceil(value - 1e-9)


def measured_coverage(
    judged: Judged, level: float, divisions: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Calibrate on two thirds of the photographs and test on the rest, again and again.

    Returns:
        `coverage`, the mean share of opinions that the intervals hold; its quantiles of 5 and 95 %
        over the divisions; the same share in the thirds of the tested photographs with low, middle
        and high spread, and score; the mean width; and of intervals of one width for all, whose
        width is calibrated in the same way, the same numbers.

    Raises:
        CalibrationError: There are too few photographs for the level.
    """
    random = np.random.default_rng(seed)
    ours, plain = [], []
    for _ in range(divisions):
        order = random.permutation(len(judged.mos))
        tested, rest = (judged.some(rows) for rows in np.split(order, [len(order) // 3]))
        half = tested.regressors @ half_width(rest, level)
        ours.append(_held(tested, half))
        one = conformal_quantile(rest.errors, level)
        plain.append(_held(tested, np.full(len(tested.mos), one)))
    return {
        **_over_divisions(ours),
        "one width for all": _over_divisions(plain),
        "srocc of spread and error": srocc(judged.spreads, judged.errors),
        "srocc of score and error": srocc(judged.scores, judged.errors),
        "divisions": divisions,
    }


class _Held(NamedTuple):
    coverage: float
    width: float
    by_spread: list[float]
    by_score: list[float]


def _held(tested: Judged, half: Values) -> _Held:
    """Measure intervals on one division."""
    held: Bool[np.ndarray, " n"] = tested.errors <= half

    def thirds(by: Values) -> list[float]:
        return [float(held[rows].mean()) for rows in np.array_split(np.argsort(by), 3)]

    width = float(2 * half.mean())
    return _Held(float(held.mean()), width, thirds(tested.spreads), thirds(tested.scores))


def _over_divisions(found: list[_Held]) -> dict[str, Any]:
    coverage, width, by_spread, by_score = zip(*found, strict=True)
    return {
        "coverage": float(np.mean(coverage)),
        "coverage, 5 and 95 % of the divisions": np.quantile(coverage, [0.05, 0.95]).tolist(),
        "coverage by spread, low to high": np.mean(by_spread, axis=0).tolist(),
        "coverage by score, low to high": np.mean(by_score, axis=0).tolist(),
        "mean width": float(np.mean(width)),
    }


def calibrate(
    judged: Judged, level: float, source: str, divisions: int = 1000, seed: int = 0
) -> Uncertainty:
    """Calibrate on all photographs; measure the coverage on parts of them.

    Args:
        judged: Photographs that the model was not trained on.
        level: Share of opinions that an interval is to hold.
        source: Which photographs they are.
        divisions: Of `measured_coverage`.
        seed: Of the divisions.

    Raises:
        CalibrationError: There are too few photographs for the level.
    """
    constants = half_width(judged, level).tolist()
    record = {"data": source, "photographs": len(judged.mos), "seed": seed}
    measured = measured_coverage(judged, level, divisions, seed)
    return Uncertainty(level, *constants, calibration=record | measured)
