"""Between a picture and its guide, in torch: differentiable, and for whole pictures in memory.

Rendering from files makes guides as it reads the samples (`develop.compiled_rows`), and enlarges
maps row by row (`render.frame`).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from isp_env.isp.guide import Guide, opponents


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


def enlarge(
    small: Float[Tensor, "b h w"], factor: int, size: tuple[int, int]
) -> Float[Tensor, "b h2 w2"]:
    """Return the bilinear interpolation of a map of the guide at the pixels of the picture."""
    if factor == 1:
        return small
    whole = (small.shape[-2] * factor, small.shape[-1] * factor)
    large = functional.interpolate(small[:, None], whole, mode="bilinear", align_corners=False)
    return large[:, 0, : size[0], : size[1]]


def _block_means(image: Float[Tensor, "b c h w"], factor: int) -> Tensor:
    """Return the area average over factor x factor blocks; those at the edges may be smaller."""
    return functional.avg_pool2d(image, factor, ceil_mode=True) if factor > 1 else image
