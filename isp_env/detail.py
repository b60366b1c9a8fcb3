"""Detail: noise reduction and sharpening, with radii stated in fractions of the picture.

A radius of 0.01 means one hundredth of the long side, whatever the resolution: a rendering of the
preview then looks like the downscaled rendering of the full frame.
"""

import torch
from jaxtyping import Float
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional

from isp_env.color import REC709_LUMINANCE, luminance

DENOISE_RADIUS = 0.006
SHARPEN_SIGMA = 0.0025
CHROMA_STRENGTH = 4.0  # chroma noise is blotchy and carries little detail: smooth it more


def denoise(
    linear: Float[Tensor, "b 3 h w"], noise: Float[Tensor, "b 3 2"], strength: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Edge-preserving noise reduction steered by the noise profile, luma and chroma apart.

    A self-guided filter (He et al. 2010; its fast form, He and Sun 2015) in Lee's (1980) terms: in
    each window, out = mean + gain (x - mean), where gain = signal / (signal + c noise) and signal =
    max(var - noise, 0): flat areas become their mean, texture above the noise stays. Zero strength
    or a noise-free input is returned unchanged.

    Args:
        linear: Scene-linear Rec. 709.
        noise: Shot and read terms per channel: variance = shot x + read, at this resolution.
        strength: 0..1; 0.25 takes the noise profile at its word, 1 takes it four times.
    """
    luma = luminance(linear)
    opponent = torch.cat([luma, linear[:, ::2] - luma], dim=1)  # Y, R - Y, B - Y
    shot, read = noise[:, :, 0, None, None], noise[:, :, 1, None, None]
    variance = shot * luma.clamp(min=0) + read
    red, green, blue = REC709_LUMINANCE
    weights = luma.new_tensor([red, green, blue])[:, None, None]
    luma_variance = (weights.square() * variance).sum(1, keepdim=True)
    noise_variance = torch.cat([luma_variance, variance[:, ::2] + luma_variance], dim=1)
    opponent = _self_guided(opponent, 4 * strength[:, None, None, None] * noise_variance)
    luma, red_minus, blue_minus = opponent.split(1, dim=1)
    green_minus = -(red * red_minus + blue * blue_minus) / green  # the luma of chroma is zero
    return luma + torch.cat([red_minus, green_minus, blue_minus], dim=1)


def sharpen(
    image: Float[Tensor, "b 3 h w"], amount: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Unsharp mask on luma; overshoot is limited to the local range, so edges get no halos.

    Args:
        image: Encoded RGB.
        amount: 0 leaves the picture as it is; 1 adds the whole difference from the blurred luma.
    """
    luma = luminance(image)
    detail = luma - blur(luma, SHARPEN_SIGMA * max(image.shape[-2:]))
    limited = 0.1 * torch.tanh(detail / 0.1)
    return image + amount[:, None, None, None] * limited


def blur(image: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Gaussian blur of `sigma` pixels; wide ones on a reduced picture, for speed."""
    if sigma < 0.2:
        return image
    reduced = _reduce(image, max(1, int(sigma / 1.5)))
    scale = reduced.shape[-1] / image.shape[-1]
    kernel = 2 * int(3 * sigma * scale + 0.5) + 1
    kernel = min(kernel, 2 * (min(reduced.shape[-2:]) // 2) - 1)
    smooth = gaussian_blur2d(reduced, (kernel, kernel), (sigma * scale, sigma * scale))
    return _enlarge(smooth, image)


def _self_guided(
    plane: Float[Tensor, "b 3 h w"], noise_variance: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """Local mean plus the part of the deviation that is signal; luma and two chroma planes."""
    radius = DENOISE_RADIUS * max(plane.shape[-2:])
    factor = max(1, int(radius / 2))
    window = 2 * max(1, round(radius / factor)) + 1
    mean = _box(_reduce(plane, factor), window)
    square = _box(_reduce(plane * plane, factor), window)
    noise_variance = _reduce(noise_variance, factor)
    signal = (square - mean * mean - noise_variance).clamp(min=0) + 1e-10
    cost = plane.new_tensor([1.0, CHROMA_STRENGTH, CHROMA_STRENGTH])[:, None, None]
    gain = signal / (signal + cost * noise_variance)
    gain, offset = _box(gain, window), _box((1 - gain) * mean, window)
    return _enlarge(gain, plane) * plane + _enlarge(offset, plane)


def _box(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h w"]:
    """Mean over a size x size window by shifted sums, one axis after the other; edges repeat."""
    half = size // 2
    padded = functional.pad(image, (half, half, half, half), mode="replicate")
    height, width = image.shape[-2:]
    rows = sum((padded[..., i : i + height, :] for i in range(1, size)), padded[..., :height, :])
    both = sum((rows[..., i : i + width] for i in range(1, size)), rows[..., :width])
    return both / size**2


def _reduce(image: Float[Tensor, "b c h w"], factor: int) -> Tensor:
    """Area average over factor x factor blocks."""
    return functional.avg_pool2d(image, factor, ceil_mode=True) if factor > 1 else image


def _enlarge(image: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation back to the size of `like`."""
    if image.shape[-2:] == like.shape[-2:]:
        return image
    return functional.interpolate(image, like.shape[-2:], mode="bilinear", align_corners=False)
