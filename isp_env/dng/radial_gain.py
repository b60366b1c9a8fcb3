"""Gains that depend on the distance from a point: opcode FixVignetteRadial, and its like of lenses.

Source: DNG specification 1.7.1, chapter 7, opcode 3.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64

from isp_env.compiled import warp as loops
from isp_env.dng.opcodes import FixVignetteRadial

RADII = 4096  # steps of a table of radial gains


def fix_vignette_in_place(
    picture: Float32[np.ndarray, "c h w"], opcode: FixVignetteRadial, shape: tuple[int, int]
) -> None:
    """Apply FixVignetteRadial: gain 1 + k0 r^2 + k1 r^4 + ... + k4 r^10.

    Args:
        picture: Any light; the first pixel is that of the area.
        opcode: Coefficients and centre.
        shape: Height and width of the area that its coordinates are relative to.

    Raises:
        ValueError: A gain is not finite or below 0.
    """
    x, y, radius = optical_center(opcode.center, shape)
    polynomial = np.polynomial.Polynomial([1.0, *opcode.coefficients])
    shade_in_place(picture, (x, y), radius, polynomial)


def optical_center(
    center: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float, float]:
    """Return x and y in pixels of a centre in [0, 1], and how far the farthest corner is.

    0 is the centre of the first pixel and 1 that of the last, as the specification has it.
    """
    height, width = shape
    x, y = center[0] * (width - 1), center[1] * (height - 1)
    radius = np.hypot(max(x, width - 1 - x), max(y, height - 1 - y))
    return x, y, max(float(radius), 1.0)


def shade_in_place(
    picture: Float32[np.ndarray, "c h w"],
    center: tuple[float, float],
    radius: float,
    gain: Callable[[Float64[np.ndarray, " n"]], Float64[np.ndarray, " n"]],
) -> None:
    """Multiply a picture by a gain that depends on the distance from a point.

    Args:
        picture: Any light.
        center: x, y of the point, in pixels; (0, 0) is the centre of the first.
        radius: Distance in pixels at which r = 1; no pixel should lie beyond.
        gain: Of r^2 in [0, 1].

    Raises:
        ValueError: A gain is not finite or below 0.
    """
    gains = gain(np.linspace(0, 1, RADII + 1)).astype(np.float32)
    if not (np.isfinite(gains).all() and gains.min() >= 0):
        raise ValueError("radial gains that are not finite or below 0")
    x, y = (np.float32(place) for place in center)
    loops.multiply_by_radius(picture, x, y, np.float32(1 / radius), gains)
