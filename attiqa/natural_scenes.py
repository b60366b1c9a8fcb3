"""Statistics of natural scenes: what the pixels of undistorted photographs have in common.

Luma less its local mean, over its local deviation (MSCN), is close to normal in a good photograph;
noise, blur, compression and sharpening each change its distribution and that of the products of
neighbours. Fits of generalised Gaussians at two scales tell how: 36 numbers.

Source: Mittal, Moorthy and Bovik, "No-reference image quality assessment in the spatial domain"
(IEEE TIP 2012, BRISQUE); Mittal, Soundararajan and Bovik, "Making a completely blind image quality
analyzer" (IEEE SPL 2013, NIQE); Lasmar, Stitou and Berthoumieu (ICIP 2009) for the asymmetric fit.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from kornia.filters import gaussian_blur2d
from scipy.special import gamma
from torch import Tensor
from torch.nn import functional

FEATURES = 36
"""18 at each of two scales."""

WINDOW, SIGMA = 7, 7 / 6
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # right, below, and both diagonals
SHAPES = np.arange(0.2, 10.001, 0.001)  # exponents that a fit may find
FLAT = 1e-6  # mean square of MSCN below which a patch shows nothing, such as where all is clipped


class PatchStatistics(NamedTuple):
    """Features of the patches of pictures."""

    features: Float[Tensor, "b n 36"]
    """NaN throughout where a patch is flat."""
    sharpness: Float[Tensor, "b n"]
    """Mean local deviation of luma, in code values of 0 to 255."""


class AsymmetricGaussian(NamedTuple):
    """Generalised Gaussians with one exponent and two widths."""

    shape: Float[Tensor, "*b"]
    """2 for a normal distribution, 1 for Laplace's."""
    left: Float[Tensor, "*b"]
    """Scale beta of the negative side."""
    right: Float[Tensor, "*b"]
    """Scale beta of the positive side."""


def luma(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """BT.601 luma in code values: display RGB in [0, 1] -> [0, 255], double precision."""
    weights = images.new_tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    return 255 * torch.einsum("bchw,c->bhw", images.double(), weights)[:, None]


def patch_statistics(plane: Float[Tensor, "b 1 h w"], patch: int) -> PatchStatistics:
    """Compute the features of each square patch; what is left over at the right and below is cut.

    Args:
        plane: Code values in [0, 255].
        patch: Side in pixels, even: the second scale is half as large.

    Raises:
        ValueError: `patch` is odd, or larger than the pictures.
    """
    rows, columns = (side // patch for side in plane.shape[-2:])
    if patch % 2 or not rows * columns:
        raise ValueError(
            f"patch: expected an even side within {tuple(plane.shape[-2:])}, got {patch}"
        )
    plane = plane[..., : rows * patch, : columns * patch]
    structure, deviation = normalise(plane)
    coarse, _ = normalise(_halve(plane))
    features = [statistics(_blocks(structure, patch)), statistics(_blocks(coarse, patch // 2))]
    return PatchStatistics(torch.cat(features, dim=-1), _blocks(deviation, patch).mean((-2, -1)))


def picture_statistics(plane: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 36"]:
    """Compute the features of whole pictures, as BRISQUE does; `plane` in code values [0, 255]."""
    structures = [normalise(scale)[0][:, 0] for scale in (plane, _halve(plane))]
    return torch.cat([statistics(structure) for structure in structures], dim=-1)


def normalise(
    plane: Float[Tensor, "b 1 h w"],
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """MSCN coefficients (I - mean) / (deviation + 1), and the deviation, in a Gaussian window."""

    def smooth(x: Tensor) -> Tensor:
        return gaussian_blur2d(x, (WINDOW, WINDOW), (SIGMA, SIGMA), border_type="replicate")

    mean = smooth(plane)
    deviation = (smooth(plane.square()) - mean.square()).abs().sqrt()
    return (plane - mean) / (deviation + 1), deviation


def statistics(blocks: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b 18"]:
    """Features of MSCN blocks: exponent and scale, then four of each product of neighbours.

    Of the products: exponent, mean, left and right scale. A product at the edge of a block wraps
    round to the other edge, as in the authors' release.
    """
    fit = fit_asymmetric(blocks)
    features = [fit.shape, (fit.left + fit.right) / 2]
    for shift in NEIGHBOURS:
        fit = fit_asymmetric(blocks * blocks.roll(shift, (-2, -1)))
        ratio = (torch.lgamma(2 / fit.shape) - torch.lgamma(1 / fit.shape)).exp()
        features += [fit.shape, (fit.right - fit.left) * ratio, fit.left, fit.right]
    flat = blocks.square().mean((-2, -1)) < FLAT
    return torch.stack(features, dim=-1).masked_fill(flat[..., None], torch.nan)


def fit_asymmetric(blocks: Float[Tensor, "*b h w"]) -> AsymmetricGaussian:
    """Fit an asymmetric generalised Gaussian to each block by matching moments."""
    squares = blocks.square()

    def side(mask: Tensor) -> Tensor:
        return ((squares * mask).sum((-2, -1)) / mask.sum((-2, -1)).clamp(min=1)).sqrt()

    left, right = side(blocks < 0), side(blocks > 0)
    spread = left / right.clamp(min=1e-12)
    ratio = blocks.abs().mean((-2, -1)).square() / squares.mean((-2, -1)).clamp(min=1e-12)
    ratio = ratio * (spread**3 + 1) * (spread + 1) / (spread.square() + 1).square()
    shape = torch.from_numpy(np.interp(ratio.cpu().numpy(), _ratios(), SHAPES)).to(blocks)
    scale = (0.5 * (torch.lgamma(1 / shape) - torch.lgamma(3 / shape))).exp()
    return AsymmetricGaussian(shape, left * scale, right * scale)


@cache
def _ratios() -> np.ndarray:
    """E|x|^2 / E x^2 of a generalised Gaussian for each of `SHAPES`; rises with the exponent."""
    return gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def _halve(plane: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
    """The second scale."""
    half = (plane.shape[-2] // 2, plane.shape[-1] // 2)
    return functional.interpolate(plane, half, mode="bicubic", antialias=True)


def _blocks(plane: Float[Tensor, "b 1 h w"], side: int) -> Float[Tensor, "b n s s"]:
    """Cut into squares, row by row."""
    return plane[:, 0].unfold(1, side, side).unfold(2, side, side).flatten(1, 2)
