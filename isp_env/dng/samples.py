"""Samples of a DNG's picture as the file stores them, whatever their layout.

TIFF 6.0 sections 3, 14 and 15; DNG specification 1.7.1, chapters 2 to 4; floating point predictor:
Adobe Photoshop TIFF Technical Note 3.
"""

import io
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from isp_env.compiled import bits as packed
from isp_env.dng.layout import CODECS, DEFLATE, LOSSLESS_JPEG, LOSSY_JPEG, NONE, Layout
from isp_env.dng.lossless_jpeg import UnsupportedJpegError, decode
from isp_env.errors import RawFileError

HORIZONTAL = {2: 1, 34892: 2, 34893: 4}  # Predictor: pixels between a sample and its reference
FLOATING = {3: 1, 34894: 2, 34895: 4}
WHOLE = (8, 16, 32)  # bits of samples that are whole bytes, and numbers of numpy
REVERSED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)


class UnsupportedSamplesError(ValueError):
    """A rare way to store samples, which LibRaw may know."""


def read_samples(path: Path, layout: Layout) -> Num[np.ndarray, "h w *samples"]:
    """Decode all strips or tiles: uint16 up to 16 bits, uint32 beyond, float32.

    Raises:
        RawFileError: The samples are damaged, truncated, or stored as nothing here can read.
        UnsupportedSamplesError: LibRaw may read them.
        OSError: The file cannot be read.
    """
    _check(path, layout)
    rows, columns = layout.part
    height, width = layout.shape
    depth = 1 if layout.is_planar else layout.samples
    frame = np.empty((height, width, layout.samples), _dtype(layout))
    across, down = math.ceil(width / columns), math.ceil(height / rows)
    with path.open("rb") as file:
        for number, (offset, size) in enumerate(zip(layout.offsets, layout.sizes, strict=True)):
            plane, place = divmod(number, across * down)
            top, left = place // across * rows, place % across * columns
            planes = slice(plane, plane + 1) if layout.is_planar else slice(None)
            target = frame[top : top + rows, left : left + columns, planes]
            shape = (rows if layout.is_tiled else len(target), columns, depth)
            file.seek(offset)
            content = np.frombuffer(file.read(size), np.uint8)
            try:
                if layout.compression == LOSSLESS_JPEG and _is_plain(target, shape, layout):
                    decode(content, target)
                    continue
                part = _unblocked(_decode(content, shape, layout), layout.block)
            except (ValueError, zlib.error, OSError, SyntaxError) as error:
                if isinstance(error, UnsupportedJpegError) and layout.is_plain:
                    raise UnsupportedSamplesError(str(error)) from error
                raise RawFileError(path, f"damaged pixel data ({error})") from error
            target[:] = part[: len(target), : target.shape[1]]
    frame = _woven(frame, layout.row_fields, 0)
    frame = _woven(frame, layout.column_fields, 1)
    return frame[..., 0] if layout.samples == 1 else frame


def _is_plain(
    target: Num[np.ndarray, "r c d"], shape: tuple[int, int, int], layout: Layout
) -> bool:
    """Tell whether the samples of a part can be decoded to where they belong."""
    whole = target.shape == shape and target.flags.c_contiguous
    return whole and target.dtype == np.uint16 and layout.block == (1, 1)


def _check(path: Path, layout: Layout) -> None:
    """Refuse what cannot be decoded, before memory is taken for it."""
    code, bits = layout.compression, layout.bits
    if code not in (NONE, LOSSLESS_JPEG, LOSSY_JPEG, *DEFLATE):
        name = CODECS.get(code, f"codec {code}")
        raise RawFileError(path, f"its pixels are compressed as {name}, which cannot be read here")
    if layout.is_float and (bits not in (16, 24, 32) or code in (LOSSLESS_JPEG, LOSSY_JPEG)):
        raise RawFileError(path, f"floating point samples of {bits} bits, compression {code}")
    if not layout.is_float and not 1 <= bits <= 32:
        raise RawFileError(path, f"samples of {bits} bits")
    if code == LOSSY_JPEG and bits != 8:
        raise RawFileError(path, f"lossy JPEG of {bits} bits, which cannot be read here")
    if code == LOSSLESS_JPEG and (bits > 16 or layout.is_old):
        raise UnsupportedSamplesError(f"lossless JPEG of {bits} bits or of DNG 1.0")
    fits = layout.predictor in {1, *FLOATING} or (layout.predictor in HORIZONTAL and bits in WHOLE)
    if code in DEFLATE and not fits:
        told = f"predictor {layout.predictor} of samples of {bits} bits"
        raise RawFileError(path, f"{told}, which cannot be read here")
    end = path.stat().st_size
    parts = zip(layout.offsets, layout.sizes, strict=True)
    if any(offset + size > end for offset, size in parts):
        raise RawFileError(path, "truncated: parts of the picture lie beyond the end of the file")
    rows, columns = layout.part
    depth = 1 if layout.is_planar else layout.samples
    if code == NONE:
        least = rows * (-(-columns * depth * bits // 8))
        if layout.is_tiled and min(layout.sizes) < least:
            raise RawFileError(path, f"tiles of {min(layout.sizes)} bytes, not {least}")
    elif rows * columns * depth > 2000 * max(layout.sizes):  # no codec does better
        raise RawFileError(path, f"parts of {rows}x{columns} pixels in {max(layout.sizes)} bytes")


def _dtype(layout: Layout) -> type[np.generic]:
    if layout.is_float:
        return np.float32
    return np.uint16 if layout.bits <= 16 else np.uint32


def _decode(
    content: UInt8[np.ndarray, " bytes"], shape: tuple[int, int, int], layout: Layout
) -> Num[np.ndarray, "r c d"]:
    """Return the samples of one strip or tile."""
    if layout.compression == LOSSLESS_JPEG:
        part = np.empty(shape, np.uint16)
        decode(content, part)
        return part
    if layout.compression == LOSSY_JPEG:
        with Image.open(io.BytesIO(content.tobytes()), formats=("JPEG",)) as image:
            part = np.atleast_3d(np.asarray(image.convert("RGB" if shape[2] == 3 else "L")))
        if part.shape != shape:
            raise ValueError(f"a JPEG of {part.shape}, not {shape}")
        return part.astype(np.uint16)
    if layout.compression in DEFLATE:
        needed = shape[0] * -(-shape[1] * shape[2] * layout.bits // 8)
        inflated = zlib.decompressobj().decompress(content.tobytes(), needed)
        content = np.frombuffer(inflated, np.uint8)
    return _numbers(content, shape, layout)


def _numbers(
    content: UInt8[np.ndarray, " bytes"], shape: tuple[int, int, int], layout: Layout
) -> Num[np.ndarray, "r c d"]:
    """Convert bytes to numbers, a predictor undone."""
    rows, columns, depth = shape
    bits, order = layout.bits, layout.byte_order
    stride = -(-columns * depth * bits // 8)
    if len(content) < rows * stride:
        raise ValueError(f"{len(content)} bytes for {rows} rows of {stride}")
    content = content[: rows * stride]
    if layout.reverses_bits:
        content = REVERSED[content]
    predictor = layout.predictor if layout.compression in DEFLATE else 1
    if predictor in FLOATING and layout.is_float:
        return _floats(_unpredicted(content, shape, bits, FLOATING[predictor]), bits).reshape(shape)
    if bits in WHOLE:
        kind = "f" if layout.is_float else "u"
        values = content.view(f"{order}{kind}{bits // 8}").reshape(shape)
    elif layout.is_float:
        values = content.reshape(rows, columns * depth, bits // 8)
        return _floats(values if order == ">" else values[..., ::-1], bits).reshape(shape)
    else:
        values = np.empty((rows, columns * depth), _dtype(layout))
        packed.unpack(content, bits, values)
        values = values.reshape(shape)
    if predictor in HORIZONTAL and not layout.is_float:
        step = HORIZONTAL[predictor]
        values = values.astype(values.dtype.newbyteorder("="))
        for first in range(step):
            run = values[:, first::step]
            run[:] = np.cumsum(run, axis=1, dtype=run.dtype)
    return values.astype(_dtype(layout), copy=False)


def _unpredicted(
    content: UInt8[np.ndarray, " bytes"], shape: tuple[int, int, int], bits: int, step: int
) -> UInt8[np.ndarray, "r n b"]:
    """Undo the floating point predictor: bytes of each sample, the highest first."""
    rows, _, depth = shape
    lines = content.reshape(rows, -1).copy()
    for first in range(depth * step):
        run = lines[:, first :: depth * step]
        run[:] = np.cumsum(run, axis=1, dtype=np.uint8)
    return np.ascontiguousarray(lines.reshape(rows, bits // 8, -1).swapaxes(1, 2))


def _floats(big_endian: UInt8[np.ndarray, "r n b"], bits: int) -> Num[np.ndarray, "r n"]:
    """Return floating point numbers of 16, 24 or 32 bits from their bytes, the highest first."""
    big_endian = np.ascontiguousarray(big_endian)
    if bits != 24:
        return big_endian.view(f">f{bits // 8}")[..., 0].astype(np.float32)
    high, middle, low = (big_endian[..., i].astype(np.uint32) for i in range(3))
    whole = high << 16 | middle << 8 | low  # 1 sign, 7 exponent (bias 63), 16 mantissa
    sign, exponent, mantissa = whole >> 23, whole >> 16 & 0x7F, whole & 0xFFFF
    value = np.where(
        exponent == 0,
        np.ldexp(mantissa.astype(np.float64), -62 - 16),
        np.ldexp(1 + mantissa / 65536, exponent.astype(np.int32) - 63),
    )
    value = np.where(exponent == 0x7F, np.where(mantissa == 0, np.inf, np.nan), value)
    return np.where(sign == 1, -value, value).astype(np.float32)


def _unblocked(part: Num[np.ndarray, "r c d"], block: tuple[int, int]) -> Num[np.ndarray, "r c d"]:
    """Return SubTileBlockSize: blocks that are stored one after the other, back in their places."""
    if block == (1, 1):
        return part
    rows, columns, depth = part.shape
    if rows % block[0] or columns % block[1]:
        raise ValueError(f"parts of {rows}x{columns} in blocks of {block[0]}x{block[1]}")
    blocks = part.reshape(rows // block[0], columns // block[1], *block, depth)
    return blocks.swapaxes(1, 2).reshape(part.shape)


def _woven(frame: Num[np.ndarray, "h w d"], fields: int, axis: int) -> Num[np.ndarray, "h w d"]:
    """Row- or ColumnInterleaveFactor: lines 0, n, 2n ... are stored first, then 1, n + 1 ..."""
    if fields == 1:
        return frame
    size = frame.shape[axis]
    order = np.concatenate([np.arange(field, size, fields) for field in range(min(fields, size))])
    woven = np.empty_like(frame)
    if axis == 0:
        woven[order] = frame
    else:
        woven[:, order] = frame
    return woven
