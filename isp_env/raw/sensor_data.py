"""The samples of a RAW file's sensor and what they mean: colour filters, black and white level.

LibRaw says all of it, but unpacks the samples first, whatever it is asked. A DNG that holds a Bayer
mosaic in lossless JPEG and says the rest in its tags, as Adobe's converter and many cameras write
them, is decoded here, which is faster. What is rarer or damaged is left to LibRaw, but for two
layouts of lossless JPEG which LibRaw 0.22 takes for others, without an error: several strips, and
tiles of two components of which exactly two lie side by side.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rawpy
from jaxtyping import Float, Num, UInt8, UInt16

from isp_env.dng.lossless_jpeg import HEADERS, UnsupportedJpegError, count_components, decode
from isp_env.dng.tags import BAYER, DngTags, JpegParts
from isp_env.errors import RawFileError

log = logging.getLogger(__name__)

Area = tuple[int, int, int, int]
"""Top, left, bottom, right."""


@dataclass(frozen=True)
class SensorData:
    """The frame of a sensor, margins included; it does not own LibRaw's memory if it is there."""

    frame: Num[np.ndarray, "h w"] | Num[np.ndarray, "h w c"]
    area: Area  # of the picture in the frame
    cfa: UInt8[np.ndarray, "n n"] | None  # from the area's corner: 0 R, 1 G, 2 B; n = 2 or 6
    black: Float[np.ndarray, "*channels"]  # per CFA position (n, n), or (3,) without a mosaic
    white: float


def sensor_data(libraw: rawpy.RawPy, tags: DngTags | None, path: Path) -> SensorData:
    """Decode the samples of an opened file.

    Raises:
        RawFileError: Its metadata contradict its pixels, or its mosaic is not supported.
        rawpy.LibRawError: LibRaw cannot decode it.
    """
    try:
        if tags and says_enough(tags, libraw.sizes):
            return by_tags_alone(libraw.sizes, tags, path)
    except UnsupportedJpegError as error:
        log.debug("%s: left to LibRaw: %s", path, error)
    if tags and tags.jpeg and _misread_by_libraw(path, tags.jpeg, tags.frame):
        raise RawFileError(path, "damaged pixel data, or a layout that LibRaw misreads")
    return by_libraw(libraw, tags, path)


def says_enough(tags: DngTags, sizes: rawpy.ImageSizes) -> bool:
    """Whether a DNG is a plain Bayer mosaic in lossless JPEG with all that it takes to read it.

    LibRaw's sizes and orientation are taken, so it must have chosen the same picture of the file.
    """
    is_plain = tags.jpeg is not None and tags.jpeg.is_plain and tags.cfa is not None
    has_black = tags.black is not None and _repeats(tags.black, 2)
    has_white = tags.white is not None and 0 < tags.white <= 65535
    is_same = tags.frame == (sizes.raw_height, sizes.raw_width)
    return is_plain and has_black and has_white and is_same


def by_tags_alone(sizes: rawpy.ImageSizes, tags: DngTags, path: Path) -> SensorData:
    """What a DNG that says enough says itself.

    Raises:
        UnsupportedJpegError: Its pixels are damaged or of a rare kind.
        RawFileError: The active area is not inside the frame.
    """
    assert tags.jpeg is not None
    assert tags.cfa is not None
    assert tags.black is not None
    assert tags.white is not None
    area = _active_area(sizes, tags.frame, tags, path)
    frame = read_parts(path, tags.jpeg, tags.frame)
    return SensorData(frame, area, tags.cfa, _repeated(tags.black, 2), tags.white)


def _misread_by_libraw(path: Path, parts: JpegParts, frame: tuple[int, int]) -> bool:
    """Whether LibRaw decodes something else, without an error (see the module's docstring)."""
    if not parts.is_tiled:
        return len(parts.offsets) > 1
    if 2 * parts.shape[1] != frame[1]:
        return False
    with path.open("rb") as file:
        file.seek(parts.offsets[0])
        return count_components(np.frombuffer(file.read(HEADERS), np.uint8)) == 2


def by_libraw(libraw: rawpy.RawPy, tags: DngTags | None, path: Path) -> SensorData:
    """What LibRaw says, except where a DNG's own tags are more exact."""
    frame = libraw.raw_image
    area = _active_area(libraw.sizes, frame.shape[:2], tags, path)
    pattern = _pattern(libraw, area, path)
    cfa = None if pattern is None else np.where(pattern == 3, 1, pattern).astype(np.uint8)
    return SensorData(frame, area, cfa, _black(libraw, tags, pattern), float(libraw.white_level))


def read_parts(path: Path, parts: JpegParts, shape: tuple[int, int]) -> UInt16[np.ndarray, "h w"]:
    """Decode the strips or tiles of a mosaic.

    Args:
        path: The file.
        parts: Where they lie in it.
        shape: Height and width of the mosaic.

    Raises:
        UnsupportedJpegError: One of them is damaged or of a rare kind, or they do not fill it.
        OSError: The file cannot be read.
    """
    rows, columns = parts.shape
    end = path.stat().st_size
    if any(offset + size > end for offset, size in zip(parts.offsets, parts.sizes, strict=True)):
        raise UnsupportedJpegError("parts lie beyond the end of the file")
    if not 0 < rows * columns <= 8 * max(parts.sizes, default=0):  # a sample takes a bit or more
        raise UnsupportedJpegError(
            f"parts of {rows}x{columns} in {max(parts.sizes, default=0)} bytes"
        )
    across = math.ceil(shape[1] / columns)
    if len(parts.offsets) != across * math.ceil(shape[0] / rows):
        raise UnsupportedJpegError(f"{len(parts.offsets)} parts of {rows}x{columns}")
    frame = np.empty(shape, np.uint16)
    tile = np.empty(parts.shape if parts.is_tiled else 0, np.uint16)
    with path.open("rb") as file:
        for number, (offset, size) in enumerate(zip(parts.offsets, parts.sizes, strict=True)):
            top, left = number // across * rows, number % across * columns
            target = frame[top : top + rows, left : left + columns]
            file.seek(offset)
            content = np.frombuffer(file.read(size), np.uint8)
            if parts.is_tiled:  # padded beyond the edges
                decode(content, tile)
                target[:] = tile[: target.shape[0], : target.shape[1]]
            else:  # whole rows; the last strip may have fewer
                decode(content, target)
    return frame


def _active_area(
    sizes: rawpy.ImageSizes, frame: tuple[int, ...], tags: DngTags | None, path: Path
) -> Area:
    """The DNG's own ActiveArea comes first: LibRaw moves odd margins of a mosaic to even ones.

    So the pattern of a DNG without it, which counts from the frame's corner, fits LibRaw's margins.
    """
    height, width = frame
    if tags and tags.frame != (height, width):
        told = "x".join(map(str, tags.frame))
        raise RawFileError(path, f"the tags say {told} pixels, LibRaw decodes {height}x{width}")
    top, left = sizes.top_margin, sizes.left_margin
    area = tags.active_area if tags else None
    area = area or (top, left, top + sizes.height, left + sizes.width)
    if not (0 <= area[0] < area[2] <= height and 0 <= area[1] < area[3] <= width):
        raise RawFileError(
            path, f"the active area {area} is not inside the frame of {height}x{width} pixels"
        )
    return area


def _pattern(libraw: rawpy.RawPy, area: Area, path: Path) -> UInt8[np.ndarray, "n n"] | None:
    """Pattern from the active area's corner: 0 R, 1 G, 2 B, 3 second G; None without a mosaic."""
    pattern = libraw.raw_pattern  # of the whole frame; None for linear data
    if pattern is None or libraw.num_colors == 1:
        return None
    letters = libraw.color_desc.decode()
    is_bayer = np.where(pattern == 3, 1, pattern).tolist() in BAYER
    if letters != "RGBG" or not (is_bayer or pattern.shape == (6, 6)):
        raise RawFileError(path, f"its mosaic {pattern.tolist()} of {letters} is not supported")
    if is_bayer:
        return np.roll(pattern, (-area[0], -area[1]), axis=(0, 1))
    # a margin of more than six rows or columns leads LibRaw's pattern of the frame out of its table
    places = (area[0] + np.arange(6))[:, None], area[1] + np.arange(6)
    pattern = np.vectorize(libraw.raw_color, otypes=[np.uint8])(*places)
    if set(pattern.ravel().tolist()) != {0, 1, 2}:
        raise RawFileError(path, f"its mosaic {pattern.tolist()} of {letters} is not supported")
    return pattern


def _black(
    libraw: rawpy.RawPy, tags: DngTags | None, pattern: UInt8[np.ndarray, "n n"] | None
) -> Float[np.ndarray, "*channels"]:
    """Black level per CFA position (n, n) or channel (3,)."""
    levels = np.array(libraw.black_level_per_channel, np.float64)  # R, G, B, second G
    told = tags.black if tags else None
    if pattern is None:
        return levels[:3] if told is None else np.broadcast_to(told.mean(axis=(0, 1))[:3], (3,))
    if told is None or not _repeats(told, len(pattern)):
        return levels[pattern]
    return _repeated(told, len(pattern))


def _repeats(black: Float[np.ndarray, "rows cols samples"], size: int) -> bool:
    """Whether a DNG's black levels fill a pattern of size x size."""
    return size % black.shape[0] == 0 and size % black.shape[1] == 0


def _repeated(
    black: Float[np.ndarray, "rows cols samples"], size: int
) -> Float[np.ndarray, "size size"]:
    rows, columns, _ = black.shape
    return np.tile(black[..., 0], (size // rows, size // columns))
