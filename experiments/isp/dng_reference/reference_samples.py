"""The samples of a TIFF or DNG picture as the specifications say, slowly: an oracle for readers.

Sources: TIFF 6.0; Adobe Photoshop TIFF Technical Note 3 (floating point predictor); DNG 1.7.1,
chapter 2 (BitsPerSample, Compression, Predictor) and chapter 4 (SubTileBlockSize,
RowInterleaveFactor, ColumnInterleaveFactor). Written without a look at `isp_env`.
"""

import math
import zlib
from dataclasses import dataclass

import imagecodecs
import numpy as np
from jaxtyping import Float, Num, UInt8

NONE, LOSSLESS_JPEG, DEFLATE, ADOBE_DEFLATE = 1, 7, 8, 32946
FLOATS, INTEGERS = 3, 1  # SampleFormat
HORIZONTAL = {2: 1, 34892: 2, 34893: 4}  # Predictor: distance in pixels
FLOATING_POINT = {3: 1, 34894: 2, 34895: 4}


class UnknownLayoutError(ValueError):
    """The reference has no answer for this kind of file."""


@dataclass(frozen=True)
class Layout:
    """What the tags of a picture say about how its samples are stored."""

    height: int
    width: int
    samples: int
    bits: int
    sample_format: int
    compression: int
    predictor: int
    order: str  # "<" or ">"
    block: tuple[int, int]  # rows and columns of a strip or a tile
    is_tiled: bool
    is_planar: bool
    subtile: tuple[int, int]
    interleave: tuple[int, int]  # rows, columns


def read_samples(blocks: list[bytes], layout: Layout) -> Num[np.ndarray, "h w samples"]:
    """Return the samples as stored, in the picture's order: uint16, uint32 or float64."""
    rows, columns = layout.block
    across, down = math.ceil(layout.width / columns), math.ceil(layout.height / rows)
    planes = layout.samples if layout.is_planar else 1
    depth = 1 if layout.is_planar else layout.samples
    if len(blocks) != across * down * planes:
        raise UnknownLayoutError(f"{len(blocks)} blocks, not {across} x {down} x {planes}")
    kind = np.float64 if layout.sample_format == FLOATS else np.uint32
    padded = np.zeros((down * rows, across * columns, layout.samples), kind)
    for number, block in enumerate(blocks):
        plane, place = divmod(number, across * down)
        top, left = place // across * rows, place % across * columns
        height = rows if layout.is_tiled else min(rows, layout.height - top)
        decoded = _decode(block, (height, columns, depth), layout)
        decoded = _out_of_subtiles(decoded, layout.subtile) if layout.is_tiled else decoded
        target = padded[top : top + height, left : left + columns]
        target[..., plane : plane + 1 if layout.is_planar else None] = decoded
    picture = padded[: layout.height, : layout.width]
    for axis, fields in enumerate(layout.interleave):
        picture = np.take(picture, _places_of_rows(picture.shape[axis], fields), axis)
    if kind == np.uint32 and layout.bits <= 16:
        picture = picture.astype(np.uint16)
    return picture


def _decode(
    block: bytes, shape: tuple[int, int, int], layout: Layout
) -> Num[np.ndarray, "rows columns depth"]:
    if layout.compression == LOSSLESS_JPEG:
        values = np.asarray(imagecodecs.ljpeg_decode(block)).reshape(-1)
        if values.size != math.prod(shape):
            raise UnknownLayoutError(f"lossless JPEG of {values.size} samples for {shape}")
        return values.reshape(shape)
    if layout.compression in (DEFLATE, ADOBE_DEFLATE):
        block = zlib.decompress(block)
    elif layout.compression != NONE:
        raise UnknownLayoutError(f"Compression {layout.compression}")
    content = np.frombuffer(block, np.uint8)
    if layout.predictor in FLOATING_POINT:
        return _float_predicted(content, shape, layout.bits // 8, FLOATING_POINT[layout.predictor])
    values = _unpacked(content, shape, layout)
    if layout.predictor in HORIZONTAL:
        step = HORIZONTAL[layout.predictor]
        values = values.astype(np.uint64)
        for column in range(step, shape[1]):
            values[:, column] += values[:, column - step]
        values &= (1 << layout.bits) - 1
    elif layout.predictor != 1:
        raise UnknownLayoutError(f"Predictor {layout.predictor}")
    return values


def _unpacked(
    content: UInt8[np.ndarray, " bytes"], shape: tuple[int, int, int], layout: Layout
) -> Num[np.ndarray, "rows columns depth"]:
    """Return samples without a predictor; every row begins on a byte."""
    rows, columns, depth = shape
    bits, per_row = layout.bits, columns * depth
    length = math.ceil(per_row * bits / 8)
    lines = content[: rows * length].reshape(rows, length)
    if bits % 8:  # FillOrder 1: the most significant bit first, whatever the file's byte order
        ones = np.unpackbits(lines, axis=1)[:, : per_row * bits].reshape(rows, per_row, bits)
        values = (ones.astype(np.uint64) << np.arange(bits - 1, -1, -1, dtype=np.uint64)).sum(2)
        return values.reshape(shape)
    size = bits // 8
    octets = lines.reshape(rows, per_row, size).astype(np.uint64)
    if layout.order == "<" and bits in (8, 16, 32):  # DNG: others are big-endian in every file
        octets = octets[..., ::-1]
    values = np.zeros((rows, per_row), np.uint64)
    for number in range(size):
        values = values << np.uint64(8) | octets[..., number]
    if layout.sample_format == FLOATS:
        return _floats(values, bits).reshape(shape)
    return values.reshape(shape)


def _float_predicted(
    content: UInt8[np.ndarray, " bytes"], shape: tuple[int, int, int], size: int, step: int
) -> Float[np.ndarray, "rows columns depth"]:
    """Undo the floating point predictor: differences of bytes, which lie by their significance."""
    rows, columns, depth = shape
    sums = content.reshape(rows, -1).astype(np.int64)
    for column in range(step * depth, sums.shape[1]):
        sums[:, column] = sums[:, column] + sums[:, column - step * depth] & 255
    octets = sums.reshape(rows, size, columns * depth).astype(np.uint64)
    values = np.zeros((rows, columns * depth), np.uint64)
    for number in range(size):
        values = values << np.uint64(8) | octets[:, number]
    return _floats(values, 8 * size).reshape(shape)


def _floats(values: Num[np.ndarray, "..."], bits: int) -> Float[np.ndarray, "..."]:
    """Return numbers of 16, 24 or 32 bits, of which 5, 7 or 8 are the exponent's."""
    of_exponent = {16: 5, 24: 7, 32: 8}[bits]
    of_fraction = bits - 1 - of_exponent
    bias, full = (1 << of_exponent - 1) - 1, (1 << of_exponent) - 1
    bits_of = values.astype(np.int64)
    sign = np.where(bits_of >> bits - 1 & 1, -1.0, 1.0)
    exponent = bits_of >> of_fraction & full
    fraction = (bits_of & (1 << of_fraction) - 1) / 2**of_fraction
    subnormal = exponent == 0
    magnitude = np.where(subnormal, fraction, 1 + fraction)
    found = sign * magnitude * 2.0 ** (np.where(subnormal, 1, exponent) - bias)
    special = np.where(fraction == 0, sign * np.inf, np.nan)
    return np.where(exponent == full, special, found)


def _out_of_subtiles(
    tile: Num[np.ndarray, "rows columns depth"], size: tuple[int, int]
) -> Num[np.ndarray, "rows columns depth"]:
    """Put the blocks of a tile, stored one after the other, in their places (SubTileBlockSize)."""
    rows, columns, depth = tile.shape
    if rows % size[0] or columns % size[1]:
        raise UnknownLayoutError(f"SubTileBlockSize {size} in a tile of {rows} x {columns}")
    pixels, out, number = tile.reshape(-1, depth), np.empty_like(tile), 0
    for top in range(0, rows, size[0]):
        for left in range(0, columns, size[1]):
            for row in range(size[0]):
                out[top + row, left : left + size[1]] = pixels[number : number + size[1]]
                number += size[1]
    return out


def _places_of_rows(count: int, fields: int) -> list[int]:
    """Return, for each row of the picture, the row in which interleaved fields store it."""
    stored = [row for field in range(fields) for row in range(field, count, fields)]
    places = [0] * count
    for place, row in enumerate(stored):
        places[row] = place
    return places
