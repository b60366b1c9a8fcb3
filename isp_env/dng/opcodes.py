"""GainMap opcodes of a DNG's OpcodeList2: the lens shading correction, read and written.

Source: DNG specification 1.7, chapter 7, opcode 9. Opcode lists are big-endian in every file.
"""

import struct
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

GAIN_MAP = 9
_OPCODE = struct.Struct(">4I")  # id, DNG version, flags, bytes of parameters
_PARAMETERS = struct.Struct(">10I4dI")  # area, plane, pitch, points; spacing, origin; map planes
_DNG_1_3 = 0x01030000
_OPTIONAL = 1


@dataclass(frozen=True)
class GainMap:
    """Gains on a coarse grid, interpolated bilinearly and multiplied into normalised pixels.

    `top` to `right` bound the pixels in the active area, of which every `row_pitch`-th row and
    `col_pitch`-th column is meant (one CFA position of a Bayer mosaic: pitch 2). Grid point (i, j)
    lies at (origin + i * spacing) as a fraction of the active area's height or width.
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


def parse_gain_maps(opcodes: bytes) -> tuple[GainMap, ...]:
    """The gain maps in the value of OpcodeList2 (tag 51009), other opcodes left out.

    A map with values per plane is returned as one map for each plane.

    Raises:
        ValueError: The list ends too early or a map covers nothing.
    """
    try:
        maps, offset = [], 4
        for _ in range(struct.unpack_from(">I", opcodes)[0]):
            kind, _, _, size = _OPCODE.unpack_from(opcodes, offset)
            offset += _OPCODE.size
            if kind == GAIN_MAP:
                maps += _parse_one(opcodes, offset)
            offset += size
    except struct.error as error:
        raise ValueError(f"damaged opcode list: {error}") from error
    return tuple(maps)


def pack_gain_maps(maps: tuple[GainMap, ...]) -> bytes:
    """The value of OpcodeList2 (tag 51009) that holds `maps`."""
    packed = [struct.pack(">I", len(maps))]
    for m in maps:
        parameters = _PARAMETERS.pack(
            *(m.top, m.left, m.bottom, m.right, m.plane, m.planes, m.row_pitch, m.col_pitch),
            *m.map.shape,
            *(m.spacing_v, m.spacing_h, m.origin_v, m.origin_h),
            1,
        )
        gains = m.map.astype(">f4").tobytes()
        head = _OPCODE.pack(GAIN_MAP, _DNG_1_3, _OPTIONAL, len(parameters) + len(gains))
        packed += [head, parameters, gains]
    return b"".join(packed)


def _parse_one(opcodes: bytes, offset: int) -> list[GainMap]:
    """One GainMap opcode whose parameters begin at `offset`, split into its planes."""
    parameters = _PARAMETERS.unpack_from(opcodes, offset)
    top, left, bottom, right, plane, planes, row_pitch, col_pitch, rows, cols = parameters[:10]
    spacing_v, spacing_h, origin_v, origin_h, map_planes = parameters[10:]
    if min(row_pitch, col_pitch, rows, cols, map_planes, bottom - top, right - left) < 1:
        raise ValueError("damaged opcode list: a gain map without an area")
    if not min(spacing_v, spacing_h) > 0:
        raise ValueError("damaged opcode list: a gain map without a spacing")
    count = rows * cols * map_planes
    values = struct.unpack_from(f">{count}f", opcodes, offset + _PARAMETERS.size)
    gains = np.array(values, np.float32).reshape(rows, cols, map_planes)
    return [
        GainMap(
            top=top,
            left=left,
            bottom=bottom,
            right=right,
            plane=plane + p,
            # the last map plane serves all planes that remain
            planes=1 if p < map_planes - 1 else planes - p,
            row_pitch=row_pitch,
            col_pitch=col_pitch,
            map=gains[..., p],
            spacing_v=spacing_v,
            spacing_h=spacing_h,
            origin_v=origin_v,
            origin_h=origin_h,
        )
        for p in range(map_planes)
    ]
