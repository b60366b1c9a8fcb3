"""What stages see of a pixel's surroundings: a small version of the picture, and its filters.

A stage that looks at a neighbourhood has two halves. What looks is measured once on a `Guide`, a
small version of the picture, and gives small maps; what changes the pixels is elementwise, given
the maps (enlarged): the fast form of the guided filter (He and Sun 2015).

A radius of 0.01 means one hundredth of the long side, whatever the resolution: a rendering of the
preview then looks like the downscaled rendering of the full frame.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional

from isp_env.color.rgb import Planes, luminance

GUIDE_STEP = 0.0025  # of the long side: pixels of the guide are about so far apart

Maps = Mapping[str, Tensor]


@dataclass(frozen=True)
class Guide:
    """A small version of the picture at one stage of the pipeline.

    Attributes:
        planes: Its red, green and blue.
        variance: Of Y, R - Y and B - Y in scene-linear light among the pixels that went into each
            pixel of the guide.
        long_side: Pixels of the long side.
        averaged: How many pixels with noise of their own went into each of the guide's.
    """

    planes: tuple[Float[Tensor, "b h w"], ...]
    variance: Float[Tensor, "b 3 h w"]
    long_side: float
    averaged: int


def guide_factor(long_side: int) -> int:
    """Pixels of the picture per pixel of its guide, in each direction: 1 or an even number."""
    return max(1, 2 * int(long_side * GUIDE_STEP / 2))


def opponents(planes: Planes) -> Planes:
    """Return Y, R - Y, B - Y."""
    y = luminance(planes)
    return y, planes[0] - y, planes[2] - y


def reduce(linear: Float[Tensor, "b 3 h w"], factor: int) -> Guide:
    """Return the guide of a scene-linear picture: means over factor x factor blocks."""
    means = _block_means(linear, factor)
    variance = torch.zeros_like(means)
    if factor > 1:
        opponent = torch.stack(opponents(linear.unbind(1)), dim=1)
        centre = _block_means(opponent, factor)
        centre = centre.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        height, width = linear.shape[-2:]
        variance = _block_means((opponent - centre[..., :height, :width]).square(), factor)
    return Guide(means.unbind(1), variance, max(linear.shape[-2:]) / factor, factor * factor)


def enlarge(small: Float[Tensor, "b h w"], factor: int, size: tuple[int, int]) -> Tensor:
    """Return the bilinear interpolation of a map of the guide at the pixels of the picture."""
    if factor == 1:
        return small
    whole = (small.shape[-2] * factor, small.shape[-1] * factor)
    large = functional.interpolate(small[:, None], whole, mode="bilinear", align_corners=False)
    return large[:, 0, : size[0], : size[1]]


def gaussian_blur(image: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of `sigma` pixels, one axis after the other; edges are mirrored.

    Weighted neighbours are added up as whole pictures: PyTorch's convolution of single planes is
    several times slower on a CPU.
    """
    size = min(2 * int(3 * sigma + 0.5) + 1, 2 * (min(image.shape[-2:]) // 2) - 1)
    if sigma < 0.2 or size < 3:  # a picture of so few pixels has no neighbours to mix
        return image
    weights, half = get_gaussian_kernel1d(size, sigma)[0].tolist(), size // 2
    for axis, border in ((2, (0, 0, half, half)), (3, (half, half, 0, 0))):
        padded = functional.pad(image, border, mode="reflect")
        length = image.shape[axis]
        parts = (w * padded.narrow(axis, place, length) for place, w in enumerate(weights))
        image = functools.reduce(torch.add, parts)
    return image


def window(radius: float) -> int:
    """Return the odd side of a window in pixels."""
    return 2 * max(1, round(radius)) + 1


def box_mean(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h w"]:
    """Return the mean over a size x size window, one axis after the other; edges repeat."""
    half = size // 2
    padded = functional.pad(image, (half, half, half, half), mode="replicate")
    return _running_sum(_running_sum(padded, size, 2), size, 3) / size**2


def _running_sum(image: Float[Tensor, "b c h w"], size: int, axis: int) -> Tensor:
    """Add up `size` neighbours: those of 1, 2, 4, ... neighbours, one for each binary digit.

    Some log2(size) vectorised additions; PyTorch's pooling on a CPU is a plain loop.
    """
    count = image.shape[axis] - size + 1
    parts, width, taken = list[Tensor](), 1, 0
    while True:
        if size & width:
            parts.append(image.narrow(axis, taken, count))
            taken += width
        if taken == size:
            return functools.reduce(torch.add, parts)
        length = image.shape[axis] - width
        image = image.narrow(axis, 0, length) + image.narrow(axis, width, length)
        width *= 2


def _block_means(image: Float[Tensor, "b c h w"], factor: int) -> Tensor:
    """Return the area average over factor x factor blocks; those at the edges may be smaller."""
    return functional.avg_pool2d(image, factor, ceil_mode=True) if factor > 1 else image
