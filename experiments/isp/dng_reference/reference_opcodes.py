"""The opcodes of OpcodeList1 and OpcodeList2 by the DNG specification, slowly: an oracle.

Source: DNG 1.7.1, chapter 7. After each opcode values are clipped to the range of the image: in
list 1 that of the stored integers, in list 2 0 to 1. Where the specification is silent, as Adobe's
DNG SDK does: an empty area is the whole image, planes beyond the image's are passed over, a gain
lies at a pixel's centre. Written without a look at `isp_env`.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

WARP, FISHEYE, VIGNETTE, WARP_2 = 1, 2, 3, 14  # of OpcodeList3
BAD_CONSTANT, BAD_LIST, TRIM, TABLE, POLYNOMIAL, GAIN_MAP = 4, 5, 6, 7, 8, 9
DELTA_ROW, DELTA_COLUMN, SCALE_ROW, SCALE_COLUMN = 10, 11, 12, 13


@dataclass(frozen=True)
class Opcode:
    """One opcode, its parameters not yet read."""

    kind: int
    flags: int
    data: bytes


@dataclass(frozen=True)
class Processed:
    """An image after an opcode list.

    Attributes:
        image: Its values.
        mended: Pixels that were interpolated.
        clipped: Samples that an opcode brought above the logical range, and that were clipped.
        bounds: The rectangle that is left: top, left, bottom, right.
    """

    image: Float[np.ndarray, "planes h w"]
    mended: Bool[np.ndarray, "h w"]
    clipped: Bool[np.ndarray, "planes h w"]
    bounds: tuple[int, int, int, int]


def parse(content: bytes) -> list[Opcode]:
    """Return the opcodes of a list in their order."""
    (count,) = struct.unpack_from(">I", content)
    opcodes, place = [], 4
    for _ in range(count):
        kind, _, flags, size = struct.unpack_from(">4I", content, place)
        opcodes.append(Opcode(kind, flags, content[place + 16 : place + 16 + size]))
        place += 16 + size
    return opcodes


def process(
    image: Float[np.ndarray, "planes h w"], opcodes: list[Opcode], limit: float, unit: float
) -> Processed:
    """Apply a list of opcodes.

    Args:
        image: Values from 0 to `limit`.
        opcodes: In their order.
        limit: The end of the image's logical range.
        unit: What 1/65535 of a table's 16 bits is in the image's values.

    Raises:
        NotImplementedError: An opcode of another kind, such as belong into OpcodeList3.
    """
    image = np.array(image, np.float64)
    mended, clipped = np.zeros(image.shape[1:], bool), np.zeros(image.shape, bool)
    bounds = (0, 0, *image.shape[1:])
    for opcode in opcodes:
        data = opcode.data
        if opcode.kind == TRIM:
            top, left, bottom, right = struct.unpack_from(">4i", data)
            inside = slice(top, bottom), slice(left, right)
            image, mended, clipped = image[:, *inside], mended[inside], clipped[:, *inside]
            bounds = (
                bounds[0] + top,
                bounds[1] + left,
                bounds[0] + bottom,
                bounds[1] + right,
            )
        elif opcode.kind in (BAD_CONSTANT, BAD_LIST):
            bad = _bad_pixels(image[0], opcode)
            image = _interpolated(image, bad)
            mended |= bad
        else:
            _point(image, opcode, unit)
            clipped |= image > limit
            image = np.clip(image, 0, limit)
    return Processed(image, mended, clipped, bounds)


def _bad_pixels(plane: Float[np.ndarray, "h w"], opcode: Opcode) -> Bool[np.ndarray, "h w"]:
    if opcode.kind == BAD_CONSTANT:
        return plane == struct.unpack_from(">I", opcode.data)[0]
    bad = np.zeros(plane.shape, bool)
    _, points, rectangles = struct.unpack_from(">3I", opcode.data)
    numbers = struct.unpack_from(f">{2 * points + 4 * rectangles}I", opcode.data, 12)
    for row, column in zip(numbers[0 : 2 * points : 2], numbers[1 : 2 * points : 2], strict=True):
        bad[row, column] = True
    for i in range(2 * points, len(numbers), 4):
        top, left, bottom, right = numbers[i : i + 4]
        bad[top:bottom, left:right] = True
    return bad


def _interpolated(
    image: Float[np.ndarray, "planes h w"], bad: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "planes h w"]:
    """Put the mean of the nearest good pixels of the same colour in a bad one's place.

    The specification leaves the method open, so a comparison must allow for others.
    """
    out = image.copy()
    for row, column in np.argwhere(bad):
        for reach in range(2, 2 * max(bad.shape), 2):
            rows = slice(max(row % 2, row - reach), row + reach + 1, 2)
            columns = slice(max(column % 2, column - reach), column + reach + 1, 2)
            good = ~bad[rows, columns]
            if good.any():
                out[:, row, column] = image[:, rows, columns][:, good].mean(axis=1)
                break
    return out


def _point(image: Float[np.ndarray, "planes h w"], opcode: Opcode, unit: float) -> None:
    """Apply, in place, an opcode that changes each pixel of its area by itself."""
    area = struct.unpack_from(">4i4I", opcode.data)
    top, left, bottom, right, plane, planes, row_pitch, column_pitch = area
    if bottom <= top or right <= left:
        top, left, bottom, right = 0, 0, *image.shape[1:]
    i, j = (
        np.arange(n)
        for n in (len(range(top, bottom, row_pitch)), len(range(left, right, column_pitch)))
    )
    rows, columns = top + i * row_pitch, left + j * column_pitch
    inside = (rows >= 0) & (rows < image.shape[1]), (columns >= 0) & (columns < image.shape[2])
    affected = Affected(i[inside[0]], j[inside[1]], rows[inside[0]], columns[inside[1]])
    change = _changes(opcode, image.shape[1:], unit, affected)
    where = np.ix_(affected.rows, affected.columns)
    for number in range(plane, min(plane + planes, len(image))):
        image[number][where] = change(image[number][where], number)


@dataclass(frozen=True)
class Affected:
    """The rows and columns that an opcode changes: their numbers among them and in the image."""

    i: Int[np.ndarray, " m"]
    j: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " m"]
    columns: Int[np.ndarray, " n"]


Values = Float[np.ndarray, "m n"]
Change = Callable[[Values, int], Values]
"""Values of the affected pixels and the number of their plane -> new values."""


def _changes(opcode: Opcode, shape: tuple[int, ...], unit: float, affected: Affected) -> Change:
    if opcode.kind == GAIN_MAP:
        return _gains(opcode.data, shape, affected)
    (count,) = struct.unpack_from(">I", opcode.data, 32)
    if opcode.kind == TABLE:
        table = np.array(struct.unpack_from(f">{count}H", opcode.data, 36))
        return lambda x, _: unit * table[np.floor(x / unit + 0.5).astype(int).clip(0, count - 1)]
    if opcode.kind == POLYNOMIAL:
        terms = struct.unpack_from(f">{count + 1}d", opcode.data, 36)
        return lambda x, _: sum((k * x**power for power, k in enumerate(terms)), np.zeros_like(x))
    values = np.array(struct.unpack_from(f">{count}f", opcode.data, 36))
    of_row, of_column = (lambda: values[affected.i, None]), (lambda: values[affected.j])
    of_kind: dict[int, Change] = {
        DELTA_ROW: lambda x, _: x + of_row(),
        DELTA_COLUMN: lambda x, _: x + of_column(),
        SCALE_ROW: lambda x, _: x * of_row(),
        SCALE_COLUMN: lambda x, _: x * of_column(),
    }
    if opcode.kind not in of_kind:
        raise NotImplementedError(f"opcode {opcode.kind} in OpcodeList1 or OpcodeList2")
    return of_kind[opcode.kind]


def _gains(data: bytes, shape: tuple[int, ...], affected: Affected) -> Change:
    points_v, points_h = struct.unpack_from(">2I", data, 32)
    spacing_v, spacing_h, origin_v, origin_h = struct.unpack_from(">4d", data, 40)
    (planes,) = struct.unpack_from(">I", data, 72)
    found = struct.unpack_from(f">{points_v * points_h * planes}f", data, 76)
    gains = np.array(found).reshape(points_v, points_h, planes)
    v = ((affected.rows + 0.5) / shape[0] - origin_v) / spacing_v
    h = ((affected.columns + 0.5) / shape[1] - origin_h) / spacing_h

    def change(x: Values, plane: int) -> Values:
        grid = gains[..., min(plane, planes - 1)]
        # bilinear interpolation, edges repeated: linear in each direction, one after the other
        across = np.array([np.interp(h, np.arange(points_h), line) for line in grid])
        down = [np.interp(v, np.arange(points_v), line) for line in across.T]
        return x * np.array(down).T

    return change
