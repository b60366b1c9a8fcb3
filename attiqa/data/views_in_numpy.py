"""`views` without PyTorch: Pillow's filter of floating-point planes is the same one."""

from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from attiqa.data.crop_protocol import CropProtocol

STRIP = 2**18
"""Pixels that are floating-point numbers at a time while a photograph is resized."""


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
    """Resize (bicubic, antialiased) so that the shorter side has `side` pixels, by strips."""
    height, width, _ = photo.shape
    new_width = side * width // min(height, width)
    new_height = side * height // min(height, width)
    narrow = np.empty((3, height, new_width), np.float32)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = photo[top : top + rows]
        for channel in range(3):
            plane = _unit(strip[..., channel])
            narrow[channel, top : top + rows] = _resized(plane, len(strip), new_width)
    return np.stack([_resized(plane, new_height, new_width) for plane in narrow])


def _at_scale(photo: Pixels, side: int, crop: int) -> np.ndarray:
    """Resize to a short side; 0 keeps the size, and 8 bits until the crops are cut."""
    if side or min(photo.shape[:2]) < crop:
        return resize_short_side(photo, side or crop)
    return np.moveaxis(photo, -1, 0)


def _resized(
    plane: Float32[np.ndarray, "h w"], height: int, width: int
) -> Float32[np.ndarray, "h2 w2"]:
    if plane.shape == (height, width):
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Convert 8 bits to [0, 1]; floating point stays as it is."""
    return pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
