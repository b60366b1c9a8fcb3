"""Opcodes that change pixels where they are: everything but the warps.

DNG specification 1.7.1, chapter 7. Numbers of list 1 are in the unit of the stored samples, those
of lists 2 and 3 in [0, 1]; tables are of 16 bits in all of them.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from isp_env.dng.gain_maps import multiply_in_place
from isp_env.dng.opcodes import (
    DeltaPerColumn,
    DeltaPerRow,
    FixBadPixelsConstant,
    FixBadPixelsList,
    FixVignetteRadial,
    GainMap,
    MapPolynomial,
    MapTable,
    Opcode,
    ScalePerColumn,
    ScalePerRow,
    TrimBounds,
    UnknownOpcode,
    WarpFisheye,
    WarpRectilinear,
    WarpRectilinear2,
)
from isp_env.dng.radial_gain import fix_vignette_in_place

Image = Float32[np.ndarray, "c h w"]
FARTHEST = 6  # pixels away from which a bad one is interpolated

WARPS = (WarpRectilinear, WarpRectilinear2, WarpFisheye)


class OpcodeError(ValueError):
    """An opcode cannot be applied where the file puts it."""


def name_of(opcode: Opcode) -> str:
    """Return the name of the specification."""
    is_unknown = isinstance(opcode, UnknownOpcode)
    return f"opcode {opcode.number}" if is_unknown else type(opcode).__name__


def apply_opcode(
    image: Image, opcode: Opcode, cfa: UInt8[np.ndarray, "n n"] | None = None, top: float = 1.0
) -> Float32[np.ndarray, "c h2 w2"]:
    """Apply one opcode; `image` may be changed, and may be what is returned.

    Gains may leave light above 1, where the specification clips: highlights keep their colour.

    Args:
        image: Planes; one plane of a mosaic.
        opcode: Anything but a warp.
        cfa: Colours of a mosaic from the image's corner: bad pixels are mended by their own.
        top: What stands for 1: 65535 of 16-bit samples in list 1, else 1.

    Raises:
        OpcodeError: It is a warp or unknown, or it demands more of the image than there is.
    """
    match opcode:
        case FixBadPixelsConstant(value):
            for plane in image:
                mend(plane, plane == value, cfa)
        case FixBadPixelsList():
            bad = _listed(opcode, image.shape[1:])
            for plane in image:
                mend(plane, bad, cfa)
        case TrimBounds(first, left, bottom, right):
            if bottom > image.shape[1] or right > image.shape[2]:
                raise OpcodeError(f"TrimBounds to {bottom}x{right} of {image.shape[1:]} pixels")
            return image[:, first:bottom, left:right]
        case FixVignetteRadial():
            try:
                fix_vignette_in_place(image, opcode, (image.shape[1], image.shape[2]))
            except ValueError as error:
                raise OpcodeError(str(error)) from error
        case GainMap():
            multiply_in_place(image, opcode)
        case MapTable(area, table):
            for plane in _planes(image, area.plane, area.planes):
                part = plane[area.rows, area.columns]
                index = np.rint(part * (65535 / top)).clip(0, len(table) - 1).astype(np.intp)
                part[:] = table[index].astype(np.float32) * (top / 65535)
        case MapPolynomial(area, coefficients):
            for plane in _planes(image, area.plane, area.planes):
                part = plane[area.rows, area.columns]
                part[:] = _polynomial(part, coefficients, top)
        case DeltaPerRow(area, values) | ScalePerRow(area, values):
            for plane in _planes(image, area.plane, area.planes):
                part = plane[area.rows, area.columns]
                _per_line(part, values[: len(part), None], isinstance(opcode, DeltaPerRow), top)
        case DeltaPerColumn(area, values) | ScalePerColumn(area, values):
            for plane in _planes(image, area.plane, area.planes):
                part = plane[area.rows, area.columns]
                of_columns = values[None, : part.shape[1]]
                _per_line(part, of_columns, isinstance(opcode, DeltaPerColumn), top)
        case _:
            raise OpcodeError(f"{name_of(opcode)} cannot be applied here")
    return image


def _planes(image: Image, first: int, count: int) -> Float32[np.ndarray, "p h w"]:
    """Return the planes of an area; those beyond the image's are not there to be changed."""
    return image[first : first + count]


def _polynomial(
    x: Float32[np.ndarray, "h w"], coefficients: np.ndarray, top: float
) -> Float32[np.ndarray, "h w"]:
    """Evaluate on [0, top] and pin the result to it; noise below black follows the slope there."""
    inside = x.clip(0, top)
    result = np.polynomial.polynomial.polyval(inside, coefficients.astype(np.float64))
    slope = coefficients[1] if len(coefficients) > 1 else 0.0
    below = np.minimum(x, 0) * slope
    return (np.clip(result, 0, top) + below).astype(np.float32)


def _per_line(
    part: Float32[np.ndarray, "h w"], values: np.ndarray, is_delta: bool, top: float
) -> None:
    if any(have != 1 and have < need for have, need in zip(values.shape, part.shape, strict=True)):
        raise OpcodeError(f"{values.size} values for an area of {part.shape} pixels")
    if is_delta:
        np.minimum(part + values, np.float32(top), out=part)
    else:
        part *= values


def _listed(opcode: FixBadPixelsList, shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """Return a mask of the bad pixels; those outside the image are none of it."""
    bad = np.zeros(shape, bool)
    inside = (opcode.points < shape).all(1)
    bad[tuple(opcode.points[inside].T)] = True
    for top, left, bottom, right in opcode.rectangles:
        bad[top:bottom, left:right] = True
    return bad


def mend(
    plane: Float32[np.ndarray, "h w"],
    bad: Bool[np.ndarray, "h w"],
    cfa: UInt8[np.ndarray, "n n"] | None,
) -> None:
    """Replace bad pixels by the mean of the nearest good ones of their colour.

    What has none near takes the nearest of its place in the mosaic.
    """
    bad = bad.copy()
    if not bad.any():
        return
    _mend_once(plane, bad, cfa)
    size = 1 if cfa is None else len(cfa)
    from scipy.ndimage import distance_transform_edt  # slow to import, and seldom needed

    for row, column in np.ndindex(size, size):
        part, missing = plane[row::size, column::size], bad[row::size, column::size]
        if not missing.any():
            continue
        if missing.all():
            raise OpcodeError("bad pixels without a good one of their colour")
        nearest = np.asarray(
            distance_transform_edt(missing, return_distances=False, return_indices=True)
        )
        part[missing] = part[tuple(nearest[:, missing])]


def _mend_once(
    plane: Float32[np.ndarray, "h w"],
    bad: Bool[np.ndarray, "h w"],
    cfa: UInt8[np.ndarray, "n n"] | None,
) -> None:
    """Mend in one pass; `bad` loses what was mended."""
    height, width = plane.shape
    places = np.argwhere(bad)
    was_bad = bad.copy()
    colors = np.zeros((1, 1), np.uint8) if cfa is None else cfa
    size = len(colors)
    for ring in _rings():
        total, count = np.zeros(len(places)), np.zeros(len(places), int)
        own = colors[places[:, 0] % size, places[:, 1] % size]
        for offset in ring:
            near = places + offset
            inside = ((near >= 0) & (near < (height, width))).all(1)
            rows, columns = near[inside].T
            good = ~was_bad[rows, columns]
            good &= colors[rows % size, columns % size] == own[inside]
            chosen = np.flatnonzero(inside)[good]
            total[chosen] += plane[rows[good], columns[good]]
            count[chosen] += 1
        found = count > 0
        rows, columns = places[found].T
        plane[rows, columns] = total[found] / count[found]
        bad[rows, columns] = False
        places = places[~found]
        if not len(places):
            return


def _rings() -> list[Int[np.ndarray, "n 2"]]:
    """Offsets of the pixels around one, those of the same distance together, the nearest first."""
    side = np.arange(-FARTHEST, FARTHEST + 1)
    offsets = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = (offsets**2).sum(1)
    return [offsets[distance == d] for d in np.unique(distance) if 0 < d <= FARTHEST**2]
