"""Measurements of the signal behind the five attributes: lightness, noise, sharpness, colour."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.color import rgb_to_linear_rgb
from kornia.filters import gaussian_blur2d
from torch import Tensor

from attiqa.distortions.ladders import luma


def lightness(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return CIE 1976 lightness of sRGB images, L*/100 in [0, 1]."""
    y = luma(rgb_to_linear_rgb(images))
    return torch.where(y > (6 / 29) ** 3, 1.16 * y.clamp(min=1e-6) ** (1 / 3) - 0.16, 9.033 * y)


def noise_deviation(light: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
    """Estimate the deviation of white noise, from the flattest unclipped quarter of 8 x 8 blocks.

    Immerkaer's mask (Fast Noise Variance Estimation, CVIU 1996) cancels planes and keeps noise with
    gain 6; the mean absolute response is sqrt(2/pi) of a normal deviation. The floor of a tenth of
    an 8-bit step stands for images without noise.
    """
    mask = light.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    response = F.avg_pool2d(F.conv2d(light, mask).abs(), 8)
    level = F.avg_pool2d(light[..., 1:-1, 1:-1], 8)
    clipped = (level < 0.02) | (level > 0.98)
    flat = response.masked_fill(clipped, math.nan).flatten(1).nanquantile(0.25, dim=1)
    return flat.nan_to_num(0.0) * math.sqrt(math.pi / 2) / 6 + 0.1 / 255


def sharpness(light: Float[Tensor, "b 1 h w"], noise: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Log ratio of the gradient energy at a fine (sigma 1) and a coarse (sigma 3) scale.

    A step edge blurred by s has the ratio sqrt((9 + s^2) / (1 + s^2)) whatever its height: it falls
    with blur and ignores contrast. White noise of deviation n adds n^2 / (4 pi sigma^4) per scale
    (the energy of the derivative of a Gaussian in both directions), which is taken off first.
    """
    fine, coarse = (_gradient_energy(light, sigma, noise) for sigma in (1.0, 3.0))
    return fine.log() - coarse.log()


def _gradient_energy(
    light: Float[Tensor, "b 1 h w"], sigma: float, noise: Float[Tensor, " b"]
) -> Float[Tensor, " b"]:
    size = 2 * math.ceil(3 * sigma) + 1
    smooth = gaussian_blur2d(light, (size, size), (sigma, sigma))
    dy = (smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]) / 2
    dx = (smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]) / 2
    energy = (dx.square() + dy.square()).mean(dim=(1, 2, 3))
    return (energy - noise.square() / (4 * math.pi * sigma**4)).clamp(min=0.05 * energy) + 1e-8


def colorfulness(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """M3 of Hasler and Suesstrunk (Measuring colourfulness in natural images, 2003), RGB in [0, 1].

    `sigma_rgyb + 0.3 mu_rgyb` with `rg = R - G` and `yb = (R + G) / 2 - B`; divide the published
    values by 255 to compare.
    """
    red, green, blue = images.unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue]).flatten(2)  # (2, b, h*w)
    deviation = opponents.var(dim=2, unbiased=False).sum(0).sqrt()
    return deviation + 0.3 * opponents.mean(dim=2).square().sum(0).sqrt()
