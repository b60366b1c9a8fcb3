"""The knobs of the ISP: theta in [-1, 1] <-> values in physical units, neutral at theta = 0."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from isp_env.arrays import Array, held, namespace


@dataclass(frozen=True)
class Parameter:
    """One knob.

    theta in [-1, 0] spans `low`..`neutral` and theta in [0, 1] spans `neutral`..`high`; each half
    is affine in the value (or in its logarithm), and theta = 0 gives `neutral` exactly.

    Attributes:
        name: The field's word for it, unique within a pipeline.
        unit: Physical unit, "" for a pure number.
        low: Value at theta = -1.
        neutral: Value at theta = 0.
        high: Value at theta = 1.
        scale: "log" for quantities that multiply; their bounds are positive.
        help: One line for people.
    """

    name: str
    unit: str
    low: float
    neutral: float
    high: float
    scale: Literal["affine", "log"] = "affine"
    help: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.low <= self.neutral <= self.high:
            raise ValueError(
                f"{self.name}: expected low <= neutral <= high, low < high; got {self}"
            )
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"{self.name}: a log scale needs low > 0, got {self.low}")

    def to_value(self, theta: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """Physical value of `theta`; values outside [-1, 1] are clamped, their gradient is not.

        The slope at the bounds and at 0 is that of the side above: clamping would make it 0, and
        gradient search would be stuck there.
        """
        low, neutral, high = self._bounds()
        xp = namespace(theta)
        theta = theta + held(xp.clip(theta, -1, 1) - theta)
        value = neutral + xp.where(theta < 0, theta * (neutral - low), theta * (high - neutral))
        return xp.exp(value) if self.scale == "log" else value

    def to_theta(self, value: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """Invert `to_value`; values outside [low, high] are clamped."""
        low, neutral, high = self._bounds()
        xp = namespace(value)
        offset = (xp.log(value) if self.scale == "log" else value) - neutral
        above = xp.clip(offset, 0, None) / (high - neutral) if high > neutral else 0 * offset
        below = xp.clip(offset, None, 0) / (neutral - low) if neutral > low else 0 * offset
        return xp.clip(above + below, -1, 1)

    def _bounds(self) -> tuple[float, float, float]:
        if self.scale == "log":
            return math.log(self.low), math.log(self.neutral), math.log(self.high)
        return self.low, self.neutral, self.high


def to_values(
    parameters: Sequence[Parameter], theta: Float[Array, "b d"]
) -> dict[str, Float[Array, " b"]]:
    """Return physical values by name; column i of `theta` belongs to `parameters[i]`."""
    if theta.shape[1] != len(parameters):
        raise ValueError(
            f"theta has {theta.shape[1]} columns, the pipeline {len(parameters)} knobs"
        )
    return {p.name: p.to_value(theta[:, i]) for i, p in enumerate(parameters)}


def theta_of(
    parameters: Sequence[Parameter], values: Mapping[str, float]
) -> Float32[np.ndarray, " d"]:
    """Return theta of one setting in physical units; parameters not named stay neutral.

    Raises:
        ValueError: A name that no parameter has, or a value outside its range.
    """
    known = {p.name: p for p in parameters}
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown parameter {', '.join(unknown)}; known: {', '.join(known)}")
    for name, value in values.items():
        if not known[name].low <= value <= known[name].high:
            raise ValueError(
                f"{name}: expected {known[name].low:g}..{known[name].high:g} {known[name].unit}, "
                f"got {value:g}"
            )
    theta = [p.to_theta(np.float32(values.get(p.name, p.neutral))) for p in parameters]
    return np.array(theta, np.float32)


def to_theta(parameters: Sequence[Parameter], values: Mapping[str, float]) -> Float[Array, "1 d"]:
    """Return `theta_of` as a batch of one, a tensor.

    Raises:
        ValueError: A name that no parameter has, or a value outside its range.
    """
    import torch  # slow to import: rendering does without

    return torch.from_numpy(theta_of(parameters, values))[None]
