"""Samples of files that are no DNG, by LibRaw."""

from pathlib import Path

import numpy as np
import rawpy
from jaxtyping import UInt8

from isp_env.dng.tags import BAYER
from isp_env.raw.sensor_data import Area, SensorData, UnusualSensorError

FOVEON = b"FOVb"  # how an X3F file begins


def libraw_samples(libraw: rawpy.RawPy, path: Path) -> SensorData:
    """Copy the samples that LibRaw decodes of an opened file.

    Raises:
        UnusualSensorError: Its mosaic is none of those that are developed here.
        rawpy.LibRawError: LibRaw cannot decode it.
    """
    with path.open("rb") as file:
        if file.read(4) == FOVEON:
            raise UnusualSensorError("layers of a Foveon sensor")
    try:
        frame = libraw.raw_image
        pattern = libraw.raw_pattern  # of the whole frame; None for linear data
    except NotImplementedError as error:  # rawpy, of patterns that it cannot express
        raise UnusualSensorError(f"a mosaic that is none of rows and columns ({error})") from error
    area = _area(libraw.sizes, frame.shape[:2])
    levels = np.array(libraw.black_level_per_channel, np.float64)  # R, G, B, second G
    if pattern is None or libraw.num_colors == 1:
        cfa, black = None, levels[:3]
    else:
        cfa = _cfa(libraw, pattern, area)
        of_area = np.roll(pattern, (-area[0], -area[1]), axis=(0, 1))
        black = levels[cfa if len(cfa) == 6 else of_area]
    top, left, bottom, right = area
    pixels = frame[top:bottom, left:right]
    return SensorData(pixels, area, cfa, black, float(libraw.white_level))


def _area(sizes: rawpy.ImageSizes, frame: tuple[int, ...]) -> Area:
    """Return the active area; a sensor that is read out diagonally has one beyond its frame."""
    top, left = sizes.top_margin, sizes.left_margin
    area = top, left, top + sizes.height, left + sizes.width
    if not (0 <= area[0] < area[2] <= frame[0] and 0 <= area[1] < area[3] <= frame[1]):
        raise UnusualSensorError(f"an active area {area} beyond the frame of {frame}, as of Fuji's")
    return area


def _cfa(
    libraw: rawpy.RawPy, pattern: UInt8[np.ndarray, "n n"], area: Area
) -> UInt8[np.ndarray, "n n"]:
    """Return the pattern from the active area's corner: 0 R, 1 G, 2 B."""
    letters = libraw.color_desc.decode()
    plain = np.where(pattern == 3, 1, pattern).astype(np.uint8)
    if letters == "RGBG" and plain.tolist() in BAYER:
        return np.roll(plain, (-area[0], -area[1]), axis=(0, 1))
    if letters == "RGBG" and pattern.shape == (6, 6):
        # a margin of more than six rows or columns leads LibRaw's pattern out of its table
        places = (area[0] + np.arange(6))[:, None], area[1] + np.arange(6)
        found = np.vectorize(libraw.raw_color, otypes=[np.uint8])(*places)
        if set(found.ravel().tolist()) == {0, 1, 2}:
            return found
    raise UnusualSensorError(f"the mosaic {pattern.tolist()} of {letters}")
