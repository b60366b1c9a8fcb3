"""Opcodes of a lens, until `dng.opcodes` has them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class WarpRectilinear:
    """Opcode 1: kr0, kr1, kr2, kr3, kt0, kt1 of each plane, or of all; centre (x, y) in [0, 1]."""

    coefficients: Float[np.ndarray, "planes 6"]
    center: tuple[float, float]


@dataclass(frozen=True)
class WarpRectilinear2:
    """Opcode 14 (DNG 1.6): kr0 to kr14, kt0, kt1 of each plane, and the radii where they hold."""

    coefficients: Float[np.ndarray, "planes 17"]
    valid: Float[np.ndarray, "planes 2"]
    center: tuple[float, float]
    reciprocal: bool


@dataclass(frozen=True)
class WarpFisheye:
    """Opcode 2: kr0, kr1, kr2, kr3 of each plane, or of all; centre (x, y) in [0, 1]."""

    coefficients: Float[np.ndarray, "planes 4"]
    center: tuple[float, float]


@dataclass(frozen=True)
class FixVignetteRadial:
    """Opcode 3: gain 1 + k0 r^2 + k1 r^4 + ... + k4 r^10; centre (x, y) in [0, 1]."""

    coefficients: Float[np.ndarray, "5"]
    center: tuple[float, float]


Opcode = WarpRectilinear | WarpRectilinear2 | WarpFisheye | FixVignetteRadial
