"""Intervals around scores: how far the opinion of people may be from what a model says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Interval(NamedTuple):
    """Lower and upper end, on the scale of the score."""

    low: float
    high: float


@dataclass(frozen=True)
class Uncertainty:
    """An interval for the mean opinion score: `score - half` to `score + half`, cut at the scale.

    `half = base + spread_weight * spread + distance_weight * (top of the scale - score)`, where
    `spread` is the standard deviation of the scores of a photograph's crops (divided by their
    number). `attiqa.evaluation.calibration` computes the constants. The level holds for photographs
    like those of the calibration, in the mean over all of them.

    Attributes:
        level: Share of photographs whose mean opinion score the interval is to hold.
        base: Half the width at the top of the scale where all crops agree, in units of the score.
        spread_weight: What a unit of spread adds.
        distance_weight: What a unit of distance below the top of the scale adds.
        calibration: Which photographs, and the coverage that was measured.

    Raises:
        ValueError: The level is not between 0 and 1, or a constant is negative.
    """

    level: float
    base: float
    spread_weight: float
    distance_weight: float
    calibration: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"level: expected a number between 0 and 1; found {self.level}")
        constants = (self.base, self.spread_weight, self.distance_weight)
        if not all(constant >= 0 for constant in constants):
            raise ValueError(
                f"base, spread_weight, distance_weight: expected 0 or more; found {constants}"
            )

    def interval(self, score: float, spread: float, low: float, high: float) -> Interval:
        """Return the interval of one photograph.

        Args:
            score: Mean over its crops.
            spread: Standard deviation over its crops.
            low: Lowest possible opinion.
            high: Highest possible one.
        """
        distance = max(high - score, 0.0)
        half = self.base + self.spread_weight * spread + self.distance_weight * distance
        ends = (min(max(end, low), high) for end in (score - half, score + half))
        return Interval(*ends)
