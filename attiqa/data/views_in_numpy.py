"""`views` without PyTorch, by the same filter."""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Num, UInt8

from attiqa.data.crop_protocol import CropProtocol

BLOCK = 16
"""Rows of a result that are computed together."""

Pixels = Float32[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 3"]


def views(
    photo: Pixels, protocol: CropProtocol, crops: Literal[1, 5] = 5
) -> Float32[np.ndarray, "k 3 c c"]:
    """Look at a photograph as a protocol says, as `attiqa.data.views.views` does to 1e-4.

    Args:
        photo: Display RGB: floating point in [0, 1], or 8 bits.
        protocol: The card's.
        crops: Of each scale: 5, or the centre alone.
    """
    size = protocol.crop
    seen = []
    for side in protocol.short_sides:
        scaled = _at_scale(photo, side, size)
        down, right = (length - size for length in scaled.shape[1:])
        middle = round(down / 2), round(right / 2)
        corners = ((0, 0), (0, right), (down, 0), (down, right), middle)
        for top, left in corners[-crops:]:
            crop = scaled[:, top : top + size, left : left + size]
            seen.append(_unit(crop))
    return np.stack(seen).clip(0, 1)


def resize_short_side(photo: Pixels, side: int) -> Float32[np.ndarray, "3 h2 w2"]:
    """Resize (bicubic, antialiased) so that the shorter side has `side` pixels.

    The filter is separable: rows are mixed first, some at a time, so that an 8-bit photograph is
    never a floating-point one at full size; then the columns of what is left.
    """
    height, width, _ = photo.shape
    new_width = side * width // min(height, width)
    new_height = side * height // min(height, width)
    low = _resampled(photo.reshape(height, -1), new_height).reshape(new_height, width, 3)
    columns = np.ascontiguousarray(low.transpose(1, 2, 0)).reshape(width, -1)
    scaled = _resampled(columns, new_width).reshape(new_width, 3, new_height)
    scaled = scaled.transpose(1, 2, 0)
    return scaled / np.float32(255) if photo.dtype == np.uint8 else scaled


def _at_scale(photo: Pixels, side: int, crop: int) -> np.ndarray:
    """Resize to a short side; 0 keeps the size, and 8 bits until the crops are cut."""
    if side or min(photo.shape[:2]) < crop:
        return resize_short_side(photo, side or crop)
    return np.moveaxis(photo, -1, 0)


def _resampled(rows: Num[np.ndarray, "n m"], count: int) -> Float32[np.ndarray, "n2 m"]:
    """Resample along the first axis, by products of a few rows with a part of the filter.

    Pillow does the same for floating-point planes, one after the other, in three times the time.
    """
    if len(rows) == count:
        return rows.astype(np.float32)
    result = np.empty((count, rows.shape[1]), np.float32)
    for start in range(0, count, BLOCK):
        first, weights = _weights(len(rows), count, start, min(start + BLOCK, count))
        part = rows[first : first + weights.shape[1]].astype(np.float32)
        np.matmul(weights, part, out=result[start : start + BLOCK])
    return result


def _weights(
    length: int, count: int, start: int, end: int
) -> tuple[int, Float32[np.ndarray, "n k"]]:
    """Weigh the samples of some outputs: Keys' cubic (a = -1/2), as wide as what is left out.

    As Pillow and PyTorch (antialias) do it: an output's samples are those whose centres lie within
    twice the scale of its own, renormalised at the edges.

    Returns:
        The first sample, and a row of weights for each of the outputs from `start` to before `end`.
    """
    scale = max(length / count, 1.0)
    centre = (np.arange(start, end) + 0.5) * length / count
    before = np.maximum((centre - 2 * scale + 0.5).astype(int), 0)
    after = np.minimum((centre + 2 * scale + 0.5).astype(int), length)
    samples = np.arange(before[0], after[-1])
    x = np.abs((samples + 0.5 - centre[:, None]) / scale)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    weights *= (samples >= before[:, None]) & (samples < after[:, None])
    weights /= weights.sum(1, keepdims=True)
    return int(before[0]), weights.astype(np.float32)


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Convert 8 bits to [0, 1]; floating point stays as it is."""
    return pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
