"""Small scene-linear pictures of RAW images, without demosaicing: previews and small outputs."""

import torch

from isp_env.development import LinearImage, crop, develop, linear_noise, resize, upright
from isp_env.linear_source import linear_source
from isp_env.raw import RawImage


def reduced(raw: RawImage, block: int) -> LinearImage:
    """Scene-linear means over block x block samples, cropped and upright: no demosaicing.

    Args:
        raw: Sensor data.
        block: Even.
    """
    means, _ = linear_source(raw).reduced(block)
    rgb = upright(crop(torch.from_numpy(means), raw, block), raw.orientation)
    return LinearImage(rgb, rgb.new_tensor(linear_noise(raw, block)))


def preview(raw: RawImage, long_side: int) -> LinearImage:
    """A small scene-linear picture for choosing parameters, by the cheapest faithful path."""
    top, left, bottom, right = raw.crop
    # reduced again by 2 or more: the colours' offsets within the blocks vanish
    block = 2 * (max(bottom - top, right - left) // (4 * long_side))
    return resize(reduced(raw, block) if block else develop(raw), long_side)
