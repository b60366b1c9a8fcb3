"""Opcodes of a DNG: corrections that the camera leaves to whoever develops the file.

Source: DNG specification 1.7.1, chapter 7. List 1 works on the samples as they are stored, list 2
on the active area's samples mapped to 0 = black and 1 = white, list 3 on the demosaiced picture.
`opcode_lists` reads them, `apply_opcodes` and `develop.corrections` apply them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt16


class Area(NamedTuple):
    """The pixels that an opcode changes: every `row_pitch`-th row and `col_pitch`-th column.

    An area without pixels stands for the whole image, as in the DNG SDK.
    """

    top: int
    left: int
    bottom: int
    right: int
    plane: int
    planes: int
    row_pitch: int
    col_pitch: int

    @property
    def rows(self) -> slice:
        """Rows of the image."""
        return slice(self.top, self.bottom, self.row_pitch) if self._counts else slice(None)

    @property
    def columns(self) -> slice:
        """Columns of the image."""
        return slice(self.left, self.right, self.col_pitch) if self._counts else slice(None)

    @property
    def _counts(self) -> bool:
        return self.bottom > self.top and self.right > self.left


@dataclass(frozen=True)
class FixBadPixelsConstant:
    """Opcode 4: samples of this value are interpolated from their neighbours."""

    value: int


@dataclass(frozen=True)
class FixBadPixelsList:
    """Opcode 5: pixels (row, column) and rectangles (top, left, bottom, right) are interpolated."""

    points: Int[np.ndarray, "n 2"]
    rectangles: Int[np.ndarray, "m 4"]


@dataclass(frozen=True)
class TrimBounds:
    """Opcode 6: only this part of the image is kept; coordinates count from its corner then."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class MapTable:
    """Opcode 7: each 16-bit value is looked up; the last entry stands for all beyond it."""

    area: Area
    table: UInt16[np.ndarray, " n"]


@dataclass(frozen=True)
class MapPolynomial:
    """Opcode 8: c[0] + c[1] x + c[2] x^2 ..."""

    area: Area
    coefficients: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class PerLine:
    """Opcodes 10 to 13: a number for each row, or for each column, of the area."""

    area: Area
    values: Float[np.ndarray, " n"]


class DeltaPerRow(PerLine):
    """Opcode 10: added to each row of the area."""


class DeltaPerColumn(PerLine):
    """Opcode 11: added to each column of the area."""


class ScalePerRow(PerLine):
    """Opcode 12: each row of the area is multiplied."""


class ScalePerColumn(PerLine):
    """Opcode 13: each column of the area is multiplied."""


@dataclass(frozen=True)
class GainMap:
    """Opcode 9: gains on a coarse grid, interpolated bilinearly and multiplied into the pixels.

    `top` to `col_pitch` are those of an `Area` that is not empty (one CFA position of a Bayer
    mosaic: pitch 2). Grid point (i, j) lies at (origin + i * spacing) as a fraction of the image's
    height or width.
    """

    top: int
    left: int
    bottom: int
    right: int
    plane: int
    planes: int
    row_pitch: int
    col_pitch: int
    map: Float[np.ndarray, "rows cols"]
    spacing_v: float
    spacing_h: float
    origin_v: float
    origin_h: float


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


@dataclass(frozen=True)
class UnknownOpcode:
    """An opcode that no version of the specification up to 1.7.1 names, or a damaged one."""

    number: int


Warp = WarpRectilinear | WarpRectilinear2 | WarpFisheye
Opcode = (
    Warp
    | FixVignetteRadial
    | FixBadPixelsConstant
    | FixBadPixelsList
    | TrimBounds
    | MapTable
    | MapPolynomial
    | GainMap
    | PerLine
    | UnknownOpcode
)


class Listed(NamedTuple):
    """An opcode of a list, and whether the file allows to leave it out."""

    opcode: Opcode
    is_optional: bool
