"""What optimisers of pictures overdo, measured beside any reward: colour and halos."""

import kornia
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from isp_env.color.rgb import REC709_LUMINANCE

RADIUS = 0.0125  # of the long side: how far from an edge a halo is looked for
EDGE = 0.15  # range of luma within that radius that makes an edge


def mean_chroma(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Return the mean CIELAB chroma of encoded sRGB pictures in [0, 1]."""
    return kornia.color.rgb_to_lab(images)[:, 1:].square().sum(1).sqrt().mean((1, 2))


def halo(
    images: Float[Tensor, "b 3 h w"], neutral: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, " b"]:
    """Return the mean overshoot beside edges against the neutral rendering, in luma of [0, 1].

    A tone curve moves the two sides of an edge but draws nothing beside it. So the neutral luma is
    first carried to the picture's tones (by rank); what then leaves the range that the neutral has
    within `RADIUS` is overshoot, averaged over the pixels that have an edge within it. Any rising
    tone curve has none, and so does blur; unsharp masks and local contrast do.

    Args:
        images: Encoded sRGB in [0, 1].
        neutral: Their neutral renderings.
    """
    now = _luma(images)
    before = _with_tones_of(_luma(neutral), now)
    high, low = _highest(before), -_highest(-before)
    overshoot = (now - high).clamp(min=0) + (low - now).clamp(min=0)
    edges = (high - low > EDGE).to(now)
    return (overshoot * edges).sum((1, 2)) / edges.sum((1, 2)).clamp(min=1)


def _luma(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h w"]:
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(REC709_LUMINANCE))


def _with_tones_of(
    source: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """Give the n-th darkest pixel of each source the n-th darkest tone of its target."""
    order = source.flatten(1).argsort(dim=1, stable=True)
    tones = target.flatten(1).sort(dim=1).values
    return torch.zeros_like(tones).scatter(1, order, tones).view_as(source)


def _highest(luma: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Return the maximum within `RADIUS`, over a square."""
    reach = max(1, round(RADIUS * max(luma.shape[1:])))
    return functional.max_pool2d(luma, 2 * reach + 1, stride=1, padding=reach)
