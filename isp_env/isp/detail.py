"""Detail: noise reduction, local contrast and sharpening, with radii in fractions of the picture.

A radius of 0.01 means one hundredth of the long side, whatever the resolution: a rendering of the
preview then looks like the downscaled rendering of the full frame.

Each of the three has two halves. What looks at a neighbourhood is measured once on a `Guide`, a
small version of the picture, and gives small maps; what changes the pixels is elementwise, given
the maps (enlarged): the fast form of the guided filter (He and Sun 2015).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional

from isp_env.color.rgb import REC709_LUMINANCE, Planes, luminance

GUIDE_STEP = 0.0025  # of the long side: pixels of the guide are about so far apart
DENOISE_RADIUS = 0.006
SHARPEN_SIGMA = 0.0025
LOCAL_RADIUS = 0.03
LOCAL_EDGE = 0.1  # encoded luma: steps well beyond are edges, which local contrast leaves alone
CHROMA_STRENGTH = 4.0  # chroma noise is blotchy and carries little detail: smooth it more

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
    """Y, R - Y, B - Y."""
    y = luminance(planes)
    return y, planes[0] - y, planes[2] - y


def reduce(linear: Float[Tensor, "b 3 h w"], factor: int) -> Guide:
    """The guide of a scene-linear picture: means over factor x factor blocks."""
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
    """Bilinear interpolation of a map of the guide at the pixels of the picture."""
    if factor == 1:
        return small
    whole = (small.shape[-2] * factor, small.shape[-1] * factor)
    large = functional.interpolate(small[:, None], whole, mode="bilinear", align_corners=False)
    return large[:, 0, : size[0], : size[1]]


DENOISE_MAPS = tuple(
    f"denoise {what} {of}" for what in ("gain", "offset") for of in ("y", "r", "b")
)


def measure_denoise(
    guide: Guide, noise: Float[Tensor, "b 3 2"], strength: Float[Tensor, " b"]
) -> Maps:
    """Where there is signal above the noise profile, luma and chroma apart.

    Lee's (1980) filter: out = mean + gain (x - mean), where gain = signal / (signal + c noise) and
    signal = max(var - noise, 0), so that flat areas become their mean, and texture above the noise
    stays. It works at two scales. Within a pixel of the guide, the variance is that of the pixels
    that went into it. Their mean has noise, too, though much less: that is removed from the guide
    in windows (a self-guided filter, He et al. 2010). So faint colours survive where they are wider
    than a pixel of the guide, and edges do not bleed further. Zero strength or a noise-free input
    gives gains of 1 and offsets of 0.

    Args:
        guide: In scene-linear light, as shot.
        noise: Shot and read terms per channel: variance = shot x + read, of one pixel.
        strength: 0..1; 0.25 takes the noise profile at its word, 1 takes it four times.
    """
    planes = torch.stack(opponents(guide.planes), dim=1)
    shot, read = noise[:, :, 0, None, None], noise[:, :, 1, None, None]
    variance = shot * planes[:, :1].clamp(min=0) + read
    weights = variance.new_tensor(REC709_LUMINANCE)[:, None, None]
    luma_variance = (weights.square() * variance).sum(1, keepdim=True)
    fine_noise = torch.cat([luma_variance, variance[:, ::2] + luma_variance], dim=1)
    fine_noise = 4 * strength[:, None, None, None] * fine_noise
    cost = planes.new_tensor([1.0, CHROMA_STRENGTH, CHROMA_STRENGTH])[:, None, None]

    def gain_of(variance: Tensor, noise: Tensor) -> Tensor:
        signal = (variance - noise).clamp(min=0) + 1e-10
        return signal / (signal + cost * noise)

    window = _window(DENOISE_RADIUS * guide.long_side)
    mean, square = _box(planes, window), _box(planes * planes, window)
    coarse = gain_of(square - mean * mean, fine_noise / guide.averaged)
    gain, offset = _box(coarse, window), _box((1 - coarse) * mean, window)
    if guide.averaged > 1:
        smooth = gain * planes + offset
        gain = gain_of(guide.variance, fine_noise)
        offset = (1 - gain) * smooth
    maps = torch.cat([gain, offset], dim=1)
    return dict(zip(DENOISE_MAPS, maps.unbind(1), strict=True))


def denoise(linear: Planes, maps: Maps) -> Planes:
    """Edge-preserving noise reduction with the maps of `measure_denoise`."""
    gain, offset = (
        [maps[f"denoise {what} {of}"] for of in ("y", "r", "b")] for what in ("gain", "offset")
    )
    y, red_minus, blue_minus = (
        g * x + o for g, x, o in zip(gain, opponents(linear), offset, strict=True)
    )
    red, green, blue = REC709_LUMINANCE
    green_minus = -(red / green) * red_minus - (blue / green) * blue_minus  # luma of chroma is 0
    return y + red_minus, y + green_minus, y + blue_minus


LOCAL_MAPS = ("local slope", "local offset")


def measure_local_contrast(guide: Guide) -> Maps:
    """Surroundings of each pixel as slope x luma + offset: a self-guided filter, which keeps edges.

    Args:
        guide: Encoded.
    """
    luma = luminance(guide.planes)[:, None]
    window = _window(LOCAL_RADIUS * guide.long_side)
    mean = _box(luma, window)
    variance = (_box(luma * luma, window) - mean * mean).clamp(min=0)
    slope = variance / (variance + LOCAL_EDGE**2)
    maps = _box(slope, window), _box((1 - slope) * mean, window)
    return dict(zip(LOCAL_MAPS, (m[:, 0] for m in maps), strict=True))


def local_contrast(encoded: Planes, maps: Maps, amount: Float[Tensor, "*#shape"]) -> Planes:
    """Push luma away from (amount > 0) or towards its surroundings; black and white stay."""
    luma = luminance(encoded)
    surroundings = maps["local slope"] * luma + maps["local offset"]
    inside = luma.clamp(0, 1)
    change = amount * (4 * inside * (1 - inside)) * (luma - surroundings)
    return tuple(x + change for x in encoded)


SHARPEN_MAPS = ("sharpen base",)


def measure_sharpen(guide: Guide) -> Maps:
    """Blurred luma.

    Args:
        guide: Encoded.
    """
    luma = luminance(guide.planes)[:, None]
    return {"sharpen base": _blur(luma, SHARPEN_SIGMA * guide.long_side)[:, 0]}


def sharpen(encoded: Planes, maps: Maps, amount: Float[Tensor, "*#shape"]) -> Planes:
    """Unsharp mask on luma; overshoot is limited to 0.1 x amount, so edges get no halos.

    Args:
        encoded: Encoded RGB.
        maps: Of `measure_sharpen`.
        amount: 0 leaves the picture as it is; 1 adds the whole difference from the blurred luma.
    """
    detail = luminance(encoded) - maps["sharpen base"]
    change = amount * (detail / (1 + 100 * detail * detail).sqrt())
    return tuple(x + change for x in encoded)


def _blur(image: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Gaussian blur of `sigma` pixels, one axis after the other; edges are mirrored.

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


def _window(radius: float) -> int:
    """Odd side of a window in pixels."""
    return 2 * max(1, round(radius)) + 1


def _box(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h w"]:
    """Mean over a size x size window, one axis after the other; edges repeat."""
    half = size // 2
    padded = functional.pad(image, (half, half, half, half), mode="replicate")
    return _running_sum(_running_sum(padded, size, 2), size, 3) / size**2


def _running_sum(image: Float[Tensor, "b c h w"], size: int, axis: int) -> Tensor:
    """Sums of `size` neighbours: those of 1, 2, 4, ... neighbours, one for each binary digit.

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
    """Area average over factor x factor blocks; those at the edges may be smaller."""
    return functional.avg_pool2d(image, factor, ceil_mode=True) if factor > 1 else image
