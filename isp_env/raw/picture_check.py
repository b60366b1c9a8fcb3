"""Is there a picture in these pixels? Corrupt RAW files often decode without an error.

The thresholds let every honest photograph pass: night, noise and blown highlights are pictures.
Large frames are judged by a part of their rows.
"""

import numpy as np
from jaxtyping import Num

ENOUGH = 1_000_000  # pixels to judge a frame by
FAR_ABOVE = 1.5  # times the saturation level: no sensor, whose level is stated too low, gets there


def check_picture(
    pixels: Num[np.ndarray, "h w"], plane: Num[np.ndarray, "r c"], black: float, white: float
) -> str | None:
    """Return why there is no picture in these pixels, or None if there is one.

    Args:
        pixels: The whole mosaic or one channel.
        plane: One colour of it on a regular grid.
        black: Mean black level.
        white: Saturation level.
    """
    pixels = pixels[:: pixels.size // ENOUGH | 1]  # an odd step meets all rows of a mosaic
    plane = plane[:: plane.size // ENOUGH + 1]
    if pixels.min() == pixels.max():
        return f"no picture in it: every pixel is {pixels.flat[0]}"
    if (saturated := np.mean(pixels >= white)) > 0.99:
        return f"no picture in it: {saturated:.1%} of the pixels are saturated"
    if (dark := np.mean(pixels <= black)) > 0.995:
        return f"no picture in it: {dark:.1%} of the pixels are at or below the black level"
    is_integer = np.issubdtype(pixels.dtype, np.integer)  # what is stored as float may be brighter
    if is_integer and (beyond := np.mean(pixels > FAR_ABOVE * white)) > 0.01:
        return f"damaged pixel data: {beyond:.1%} of the pixels are far above the saturation level"
    flat = pixels.min(axis=1) == pixels.max(axis=1)
    if (empty := np.mean(flat & (pixels[:, 0] < white))) > 0.25:
        return f"damaged pixel data: {empty:.0%} of the rows hold a single value"
    # An evenly lit wall is uncorrelated too, but its level stands clear of its noise.
    if np.mean(plane) - black < 3 * np.std(plane) and _is_white_noise(plane):
        return "no picture in it: neighbouring pixels are unrelated (noise or garbage)"
    return None


def _is_white_noise(plane: Num[np.ndarray, "r c"]) -> bool:
    """Tell whether neighbours are uncorrelated (within 3 standard errors) at every scale."""
    for scale in (1, 2, 4, 8):
        rows, cols = plane.shape[0] // scale, plane.shape[1] // scale
        if rows < 4 or cols < 4:
            break
        blocks = plane[: rows * scale, : cols * scale].astype(np.float32)
        blocks = blocks.reshape(rows, scale, cols, scale).mean(axis=(1, 3))
        blocks -= blocks.mean()
        variance = np.mean(blocks**2) + 1e-12
        limit = 3 / np.sqrt(blocks.size)
        if np.mean(blocks[:, 1:] * blocks[:, :-1]) / variance > limit:
            return False
        if np.mean(blocks[1:] * blocks[:-1]) / variance > limit:
            return False
    return True
