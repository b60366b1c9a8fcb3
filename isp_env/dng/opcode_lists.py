"""Opcode lists of a DNG (tags 51008, 51009, 51022), read and written.

Source: DNG specification 1.7.1, chapter 7. The lists are big-endian in every file.
"""

import struct
from collections.abc import Callable

import numpy as np

from isp_env.dng.opcodes import (
    Area,
    DeltaPerColumn,
    DeltaPerRow,
    FixBadPixelsConstant,
    FixBadPixelsList,
    FixVignetteRadial,
    GainMap,
    Listed,
    MapPolynomial,
    MapTable,
    Opcode,
    PerLine,
    ScalePerColumn,
    ScalePerRow,
    TrimBounds,
    UnknownOpcode,
    WarpFisheye,
    WarpRectilinear,
    WarpRectilinear2,
)

GAIN_MAP = 9
_COUNT = struct.Struct(">I")
_OPCODE = struct.Struct(">4I")  # id, DNG version, flags, bytes of parameters
_AREA = struct.Struct(">4i4I")
_GAIN_MAP = struct.Struct(">2I4dI")  # points; spacing, origin; map planes
_DNG_1_3 = 0x01030000
_OPTIONAL = 1
MOST_DEGREE = 8


def parse_opcodes(content: bytes) -> tuple[Listed, ...]:
    """Return the opcodes in the value of an OpcodeList tag (51008, 51009, 51022).

    A gain map with values per plane is returned as one map for each of its planes.

    Raises:
        ValueError: The list ends too early, or the parameters of an opcode that must not be left
            out are damaged.
    """
    if len(content) < _COUNT.size:
        return ()
    try:
        (count,) = _COUNT.unpack_from(content)
        found, offset = list[Listed](), _COUNT.size
        for _ in range(count):
            number, _, flags, size = _OPCODE.unpack_from(content, offset)
            offset += _OPCODE.size
            payload = content[offset : offset + size]
            if len(payload) != size:
                raise ValueError("damaged opcode list: it ends too early")
            offset += size
            is_optional = bool(flags & _OPTIONAL)
            opcodes = _parsed(number, payload, is_optional)
            found += [Listed(opcode, is_optional) for opcode in opcodes]
    except struct.error as error:
        raise ValueError(f"damaged opcode list: {error}") from error
    return tuple(found)


def _parsed(number: int, payload: bytes, is_optional: bool) -> tuple[Opcode, ...]:
    """One opcode; one that may be left out and is damaged, or of a later version, is unknown."""
    parse = _PARSERS.get(number)
    if parse is None:
        return (UnknownOpcode(number),)
    try:
        return parse(_Reader(payload))
    except (ValueError, struct.error):
        if not is_optional:
            raise
        return (UnknownOpcode(number),)


def parse_gain_maps(content: bytes) -> tuple[GainMap, ...]:
    """Return the gain maps of an opcode list, other opcodes left out.

    Raises:
        ValueError: As `parse_opcodes`.
    """
    return tuple(o for o, _ in parse_opcodes(content) if isinstance(o, GainMap))


def pack_gain_maps(maps: tuple[GainMap, ...]) -> bytes:
    """Return the value of OpcodeList2 (tag 51009) that holds `maps`."""
    packed = [_COUNT.pack(len(maps))]
    for m in maps:
        area = (m.top, m.left, m.bottom, m.right, m.plane, m.planes, m.row_pitch, m.col_pitch)
        grid = (m.spacing_v, m.spacing_h, m.origin_v, m.origin_h)
        parameters = _AREA.pack(*area) + _GAIN_MAP.pack(*m.map.shape, *grid, 1)
        gains = m.map.astype(">f4").tobytes()
        head = _OPCODE.pack(GAIN_MAP, _DNG_1_3, _OPTIONAL, len(parameters) + len(gains))
        packed += [head, parameters, gains]
    return b"".join(packed)


class _Reader:
    """Takes numbers from an opcode's parameters, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, layout: struct.Struct) -> tuple:
        values = layout.unpack_from(self.content, self.place)
        self.place += layout.size
        return values

    def long(self) -> int:
        return self.take(_COUNT)[0]

    def array(self, kind: str, count: int) -> np.ndarray:
        """Read `count` numbers; those with a fraction must be finite."""
        size = np.dtype(kind).itemsize * count
        part = self.content[self.place : self.place + size]
        if len(part) != size:
            raise ValueError("damaged opcode list: parameters end too early")
        self.place += size
        values = np.frombuffer(part, kind)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError("damaged opcode list: parameters that are not finite")
        native = values.dtype.newbyteorder("=")
        return values.astype(native)

    def center(self) -> tuple[float, float]:
        x, y = self.array(">f8", 2).tolist()
        return x, y

    def area(self) -> Area:
        area = Area(*self.take(_AREA))
        is_empty = area.bottom <= area.top or area.right <= area.left
        if min(area.row_pitch, area.col_pitch, area.planes) < 1 or (
            is_empty and (area.row_pitch, area.col_pitch) != (1, 1)
        ):
            raise ValueError("damaged opcode list: an opcode without an area")
        if min(area.top, area.left) < 0:
            raise ValueError("damaged opcode list: an area outside the image")
        return area


def _warp_planes(reader: _Reader) -> int:
    planes = reader.long()
    if not 1 <= planes <= 8:
        raise ValueError(f"damaged opcode list: a warp of {planes} planes")
    return planes


def _warp_rectilinear(reader: _Reader) -> tuple[Opcode, ...]:
    planes = _warp_planes(reader)
    coefficients = reader.array(">f8", 6 * planes).reshape(planes, 6)
    return (WarpRectilinear(coefficients, reader.center()),)


def _warp_rectilinear2(reader: _Reader) -> tuple[Opcode, ...]:
    planes = _warp_planes(reader)
    of_planes = reader.array(">f8", 19 * planes).reshape(planes, 19)
    center, reciprocal = reader.center(), bool(reader.long())
    return (WarpRectilinear2(of_planes[:, :17], of_planes[:, 17:], center, reciprocal),)


def _warp_fisheye(reader: _Reader) -> tuple[Opcode, ...]:
    planes = _warp_planes(reader)
    coefficients = reader.array(">f8", 4 * planes).reshape(planes, 4)
    return (WarpFisheye(coefficients, reader.center()),)


def _fix_vignette(reader: _Reader) -> tuple[Opcode, ...]:
    return (FixVignetteRadial(reader.array(">f8", 5), reader.center()),)


def _bad_constant(reader: _Reader) -> tuple[Opcode, ...]:
    value, _ = reader.long(), reader.long()  # the Bayer phase is known from the mosaic
    return (FixBadPixelsConstant(value),)


def _bad_list(reader: _Reader) -> tuple[Opcode, ...]:
    _, points, rectangles = reader.long(), reader.long(), reader.long()
    return (
        FixBadPixelsList(
            reader.array(">u4", 2 * points).astype(np.int64).reshape(points, 2),
            reader.array(">u4", 4 * rectangles).astype(np.int64).reshape(rectangles, 4),
        ),
    )


def _trim(reader: _Reader) -> tuple[Opcode, ...]:
    top, left, bottom, right = reader.take(struct.Struct(">4i"))
    if not (0 <= top < bottom and 0 <= left < right):
        raise ValueError("damaged opcode list: nothing is left by TrimBounds")
    return (TrimBounds(top, left, bottom, right),)


def _map_table(reader: _Reader) -> tuple[Opcode, ...]:
    area, count = reader.area(), reader.long()
    if not 1 <= count <= 1 << 16:
        raise ValueError(f"damaged opcode list: a table of {count} values")
    return (MapTable(area, reader.array(">u2", count)),)


def _map_polynomial(reader: _Reader) -> tuple[Opcode, ...]:
    area, degree = reader.area(), reader.long()
    if degree > MOST_DEGREE:
        raise ValueError(f"damaged opcode list: a polynomial of degree {degree}")
    return (MapPolynomial(area, reader.array(">f8", degree + 1)),)


def _per_line(kind: type[PerLine]) -> Callable[[_Reader], tuple[Opcode, ...]]:
    def parse(reader: _Reader) -> tuple[Opcode, ...]:
        area, count = reader.area(), reader.long()
        first, last, pitch = (
            (area.top, area.bottom, area.row_pitch)
            if kind in (DeltaPerRow, ScalePerRow)
            else (area.left, area.right, area.col_pitch)
        )
        if last > first and count != -(-(last - first) // pitch):
            raise ValueError(f"damaged opcode list: {count} values for lines {first} to {last}")
        return (kind(area, reader.array(">f4", count)),)

    return parse


def _gain_maps(reader: _Reader) -> tuple[Opcode, ...]:
    area = reader.area()
    rows, cols, spacing_v, spacing_h, origin_v, origin_h, planes = reader.take(_GAIN_MAP)
    if min(rows, cols, planes) < 1:
        raise ValueError("damaged opcode list: a gain map without points")
    if rows == 1:  # one point along a side stands for all of it, whatever the grid says
        spacing_v, origin_v = 1.0, 0.0
    if cols == 1:
        spacing_h, origin_h = 1.0, 0.0
    grid = (spacing_v, spacing_h, origin_v, origin_h)
    if not (min(spacing_v, spacing_h) > 0 and np.isfinite(grid).all()):
        raise ValueError("damaged opcode list: a gain map without a spacing")
    gains = reader.array(">f4", rows * cols * planes).reshape(rows, cols, planes)
    if area.bottom <= area.top or area.right <= area.left:
        area = area._replace(top=0, left=0, bottom=2**31 - 1, right=2**31 - 1)
    maps, last = list[Opcode](), planes - 1
    for p in range(planes):  # plane p of the map is for the image's; the last for all that remain
        first = max(area.plane, p)
        end = area.plane + area.planes if p == last else min(area.plane + area.planes, p + 1)
        if first < end:
            of_plane = area._replace(plane=first, planes=end - first)
            maps.append(
                GainMap(
                    **of_plane._asdict(),
                    map=gains[..., p],
                    spacing_v=spacing_v,
                    spacing_h=spacing_h,
                    origin_v=origin_v,
                    origin_h=origin_h,
                )
            )
    return tuple(maps)


_PARSERS: dict[int, Callable[[_Reader], tuple[Opcode, ...]]] = {
    1: _warp_rectilinear,
    2: _warp_fisheye,
    3: _fix_vignette,
    4: _bad_constant,
    5: _bad_list,
    6: _trim,
    7: _map_table,
    8: _map_polynomial,
    GAIN_MAP: _gain_maps,
    10: _per_line(DeltaPerRow),
    11: _per_line(DeltaPerColumn),
    12: _per_line(ScalePerRow),
    13: _per_line(ScalePerColumn),
    14: _warp_rectilinear2,
}
