"""What stages see of a pixel's surroundings: a small version of the picture, and its filters.

A stage that looks at a neighbourhood has two halves. What looks is measured once on a `Guide`, a
small version of the picture, and gives small maps; what changes the pixels is elementwise, given
the maps (enlarged): the fast form of the guided filter (He and Sun 2015).

A radius of 0.01 means one hundredth of the long side, whatever the resolution: a rendering of the
preview then looks like the downscaled rendering of the full frame.
"""

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from isp_env.arrays import Array, namespace
from isp_env.color.rgb import Planes, luminance

GUIDE_STEP = 0.0025  # of the long side: pixels of the guide are about so far apart

Maps = Mapping[str, Array]


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

    planes: tuple[Float[Array, "b h w"], ...]
    variance: Float[Array, "b 3 h w"]
    long_side: float
    averaged: int


def guide_factor(long_side: int) -> int:
    """Pixels of the picture per pixel of its guide, in each direction: 1 or an even number."""
    return max(1, 2 * int(long_side * GUIDE_STEP / 2))


def opponents(planes: Planes) -> Planes:
    """Return Y, R - Y, B - Y."""
    y = luminance(planes)
    return y, planes[0] - y, planes[2] - y


def gaussian_blur(image: Float[Array, "b c h w"], sigma: float) -> Float[Array, "b c h w"]:
    """Blur by a Gaussian of `sigma` pixels, one axis after the other; edges are mirrored.

    The weights are those of `kornia.filters.get_gaussian_kernel1d`. Weighted neighbours are added
    up as whole pictures: PyTorch's convolution of single planes is several times slower on a CPU.
    """
    size = min(2 * int(3 * sigma + 0.5) + 1, 2 * (min(image.shape[-2:]) // 2) - 1)
    if sigma < 0.2 or size < 3:  # a picture of so few pixels has no neighbours to mix
        return image
    half = size // 2
    weights = np.exp(-((np.arange(size) - half) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    for axis in (2, 3):
        padded, length = _padded(image, half, (axis,), "reflect"), image.shape[axis]
        parts = (w * _part(padded, axis, place, length) for place, w in enumerate(weights))
        image = functools.reduce(operator.add, parts)
    return image


def window(radius: float) -> int:
    """Return the odd side of a window in pixels."""
    return 2 * max(1, round(radius)) + 1


def box_mean(image: Float[Array, "b c h w"], size: int) -> Float[Array, "b c h w"]:
    """Return the mean over a size x size window, one axis after the other; edges repeat."""
    padded = _padded(image, size // 2, (2, 3), "edge")
    return _running_sum(_running_sum(padded, size, 2), size, 3) / size**2


def _running_sum(image: Float[Array, "b c h w"], size: int, axis: int) -> Float[Array, "b c h2 w2"]:
    """Add up `size` neighbours: those of 1, 2, 4, ... neighbours, one for each binary digit.

    Some log2(size) vectorised additions; PyTorch's pooling on a CPU is a plain loop.
    """
    count = image.shape[axis] - size + 1
    parts, width, taken = list[Array](), 1, 0
    while True:
        if size & width:
            parts.append(_part(image, axis, taken, count))
            taken += width
        if taken == size:
            return functools.reduce(operator.add, parts)
        length = image.shape[axis] - width
        image = _part(image, axis, 0, length) + _part(image, axis, width, length)
        width *= 2


def _part(image: Float[Array, "b c h w"], axis: int, start: int, length: int) -> Array:
    """Return a view of some rows (axis 2) or columns (axis 3)."""
    some = slice(start, start + length)
    return image[:, :, some] if axis == 2 else image[..., some]


def _padded(
    image: Float[Array, "b c h w"],
    border: int,
    axes: tuple[int, ...],
    mode: Literal["edge", "reflect"],
) -> Float[Array, "b c h2 w2"]:
    """Return a picture with a border on two or four sides, named as by `numpy.pad`."""
    rows, columns = (border * (axis in axes) for axis in (2, 3))
    if namespace(image) is np:
        return np.pad(image, ((0, 0), (0, 0), (rows, rows), (columns, columns)), mode)
    from torch.nn import functional

    name = {"edge": "replicate", "reflect": "reflect"}[mode]
    return functional.pad(image, (columns, columns, rows, rows), name)
