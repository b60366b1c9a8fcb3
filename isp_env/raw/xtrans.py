"""X-Trans mosaics, demosaiced by LibRaw (Markesteijn, three passes) strip by strip.

LibRaw holds four samples of every pixel of what it demosaics, and its result besides: half a
gigabyte for 24 megapixels. A strip with some rows around it is a small file in memory. What LibRaw
makes of it is what it makes of the whole, but for 0.3 % of the samples, at the seams of the tiles
(512 pixels) that LibRaw itself divides pictures into. Its threads take a row of tiles each and read
what their neighbours write, so a picture of several rows is never twice the same. A strip is one.
"""

import io
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import rawpy
import tifffile
from jaxtyping import Float, UInt8, UInt16

from isp_env.dng.layout import CFA
from isp_env.dng.tags import DNG_VERSION
from isp_env.raw.libraw_linear import AS_IT_IS
from isp_env.raw.sensor_data import highest_black

WHITE = 65535
D65 = 21  # EXIF LightSource
LIBRAW_TILE = 512
"""LibRaw refuses smaller pictures; those of up to six rows more are one row of its tiles."""
HALO = 24
"""Rows around a strip: more than three passes look at."""
STEP = 468
"""Rows from one strip to the next, a multiple of the pattern's six; with its halo, a strip is one
row of tiles."""


def demosaic_xtrans(
    mosaic: UInt16[np.ndarray, "h w"],
    cfa: UInt8[np.ndarray, "6 6"],
    black: Float[np.ndarray, "6 6"],
    deltas: tuple[Float[np.ndarray, " h"] | None, Float[np.ndarray, " w"] | None],
    white: float,
    neutral: Float[np.ndarray, "3"],
    xyz_to_camera: Float[np.ndarray, "3 3"],
) -> UInt16[np.ndarray, "3 h w"]:
    """Interpolate to linear camera RGB, black 0 and white 65535.

    White-balanced values are interpolated (so that edges are grey), with gains of at most 1 (so
    that nothing clips); the gains are divided out afterwards.

    Args:
        mosaic: Samples of the active area, `LIBRAW_TILE` rows and columns at least.
        cfa: Colour of each position: 0 red, 1 green, 2 blue.
        black: Level of each position.
        deltas: What is added to it in each row and in each column.
        white: Saturation level.
        neutral: Camera RGB of the shot's white, green 1.
        xyz_to_camera: For D65; the direction of least change of colour is chosen in CIELAB.
    """
    gains = 1 / neutral
    gains /= gains.max()
    levels = np.arange(WHITE + 1)
    undone = [np.rint(levels / gain).clip(0, WHITE).astype(np.uint16) for gain in gains]
    span = float(white - highest_black(black[..., None], *deltas)[0])
    scale = (gains[cfa] * WHITE / span).astype(np.float32)
    height, width = mosaic.shape
    rows, columns = (
        np.zeros(size, np.float32) if delta is None else delta.astype(np.float32)
        for delta, size in zip(deltas, mosaic.shape, strict=True)
    )
    camera = np.empty((3, height, width), np.uint16)
    for (above, below), (first, last) in _strips(height):
        level = black.astype(np.float32), rows[above:below], columns
        balanced = _balance(mosaic[above:below], *level, scale)
        rgb = _demosaic(balanced, cfa, xyz_to_camera)[first - above : last - above]
        for plane, table, values in zip(camera, undone, np.moveaxis(rgb, 2, 0), strict=True):
            np.take(table, values, out=plane[first:last])
    # LibRaw leaves zeros in the outermost pixels that have no neighbour of a colour
    camera[:, 0], camera[:, -1] = camera[:, 1], camera[:, -2]
    camera[..., 0], camera[..., -1] = camera[..., 1], camera[..., -2]
    return camera


def _strips(height: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows that LibRaw sees of each strip, and those of them that are taken: first, beyond last."""
    highest = (height - LIBRAW_TILE) // 6 * 6
    tops = [*range(0, highest, STEP), highest]
    seams = [top + HALO for top in tops[1:]]
    seen = zip(tops, [*(top + STEP + 2 * HALO for top in tops[:-1]), height], strict=True)
    return zip(seen, pairwise([0, *seams, height]), strict=True)


def _balance(
    mosaic: UInt16[np.ndarray, "h w"],
    black: Float[np.ndarray, "6 6"],
    rows: Float[np.ndarray, " h"],
    columns: Float[np.ndarray, " w"],
    scale: Float[np.ndarray, "6 6"],
) -> UInt16[np.ndarray, "h w"]:
    """Subtract the black level and multiply, position by position; truncated, as LibRaw does."""
    balanced = np.empty_like(mosaic)
    for row, col in np.ndindex(6, 6):
        level = mosaic[row::6, col::6] - (black[row, col] + rows[row::6, None] + columns[col::6])
        balanced[row::6, col::6] = (level * scale[row, col]).clip(0, WHITE)
    return balanced


def _demosaic(
    mosaic: UInt16[np.ndarray, "h w"],
    cfa: UInt8[np.ndarray, "6 6"],
    xyz_to_camera: Float[np.ndarray, "3 3"],
) -> UInt16[np.ndarray, "h w 3"]:
    """Let LibRaw interpolate a mosaic of black 0 and white 65535, and do nothing else to it."""
    file = io.BytesIO()
    rounded = np.rint(xyz_to_camera * 10_000).clip(-(2**31), 2**31 - 1)
    matrix = np.stack([rounded, np.full((3, 3), 10_000)], axis=-1).astype(int)
    tifffile.imwrite(
        file,
        mosaic,
        byteorder="<",
        photometric=CFA,
        metadata=None,
        extratags=[
            (33421, "H", 2, cfa.shape, True),  # CFARepeatPatternDim
            (33422, "B", cfa.size, tuple(cfa.ravel().tolist()), True),  # CFAPattern
            (DNG_VERSION, "B", 4, (1, 4, 0, 0), True),
            (50714, "H", 1, 0, True),  # BlackLevel
            (50717, "H", 1, WHITE, True),  # WhiteLevel
            (50721, "2i", 9, matrix.ravel().tolist(), True),  # ColorMatrix1
            (50778, "H", 1, D65, True),  # CalibrationIlluminant1
        ],
    )
    file.seek(0)
    with rawpy.imread(file) as libraw:
        return libraw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,  # three passes for X-Trans
            user_wb=[1, 1, 1, 1],
            user_black=0,
            user_sat=WHITE,
            output_color=rawpy.ColorSpace.raw,
            highlight_mode=rawpy.HighlightMode.Ignore,
            **AS_IT_IS,
        )
