"""Small scene-linear pictures of RAW images: previews and small outputs."""

import math

import numpy as np
from jaxtyping import Float

from isp_env.arrays import Array
from isp_env.develop.compiled_rows import TILE
from isp_env.develop.linear_image import LinearImage
from isp_env.develop.linear_source import LinearSource, linear_source
from isp_env.raw import RawImage


def reduced(source: LinearSource, block: int) -> LinearImage:
    """Return scene-linear means over block x block samples, cropped and upright: no demosaicing.

    Red and blue lie half a sample off, as their samples do, which shows until it is reduced again.

    Args:
        source: Sensor data.
        block: Even.
    """
    return source.shown(source.means(block), block)


def halved(source: LinearSource) -> LinearImage:
    """Scene-linear means over 2x2 demosaiced pixels, cropped and upright: every colour in place."""
    if source.raw.mosaic is None:
        return reduced(source, 2)
    height, width = source.shape  # even
    means = np.empty((3, height // 2, width // 2), np.float32)
    for top in range(0, height, TILE):
        bottom = min(top + TILE, height)
        rows = np.empty((3, bottom - top, width), np.float32)
        source.rows(top, bottom, rows)
        pairs = rows[:, ::2] + rows[:, 1::2]
        means[:, top // 2 : bottom // 2] = (pairs[..., ::2] + pairs[..., 1::2]) / 4
    return source.shown(means, 2)


def small(source: LinearSource, ratio: float) -> LinearImage:
    """The smallest picture that can be resized to `1 / ratio` of the frame without colour fringes.

    Args:
        source: Sensor data.
        ratio: Of the frame's sides to the output's, 2 or more.
    """
    block = 2 * int(ratio / 3)  # reduced again by 1.5 or more: the colours' offsets hardly show
    return reduced(source, block) if block else halved(source)


def long_side_of_square(raw: RawImage, side: int) -> int:
    """Return the long side of the preview whose central square has `side` pixels."""
    top, left, bottom, right = raw.crop
    short, long = sorted((bottom - top, right - left))
    return side if short == long else math.ceil(side * long / short) + 1  # all rows, once rounded


def central_square(image: Float[Array, "c h w"], side: int) -> Float[Array, "c s s"]:
    """Cut out the square in the middle.

    Raises:
        ValueError: The picture is smaller.
    """
    _, height, width = image.shape
    if min(height, width) < side:
        raise ValueError(f"smaller than {side} pixels: {width}x{height}")
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def preview(raw: RawImage, long_side: int) -> LinearImage:
    """Make a small scene-linear picture for choosing parameters, by the cheapest faithful path.

    Returns:
        Tensors.
    """
    from isp_env.develop.reference import develop, resize  # imports torch: rendering does without

    source = linear_source(raw)
    top, left, bottom, right = source.raw.crop
    # reduced again by 2 or more: the colours' offsets within the blocks vanish
    block = 2 * (max(bottom - top, right - left) // (4 * long_side))
    image = reduced(source, block).in_torch() if block else develop(source.raw)
    return resize(image, long_side)
