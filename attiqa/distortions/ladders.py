"""Ladders of distortions: one signed, monotone scale per way in which a rendering goes wrong.

A ladder is a physical level with the identity at 0; a larger magnitude of the same sign is a
stronger distortion (the ordering that RankIQA learns from: Liu et al., ICCV 2017). Exposure, white
balance and noise act in linear light, the rest on the display signal as an editor's sliders do.
Nothing here needs to be differentiable.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from kornia.filters import gaussian_blur2d
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. 709 luma and luminance weights."""

Images = Float[Tensor, "b 3 h w"]


@dataclass(frozen=True)
class Ladder:
    """One kind of distortion and its levels.

    Attributes:
        name: What is changed.
        unit: The unit of the level.
        levels: Rising levels with 0, the identity, among them.
        render: `(images, level, generator) -> images`; display RGB in [0, 1] on both sides.
        attribute: The attribute that follows the level, if one of the five does.
        sign: 1 where the attribute rises with the level, -1 where it falls.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    render: Callable[[Images, float, torch.Generator], Images]
    attribute: str | None = None
    sign: int = 1

    def __post_init__(self) -> None:
        if 0.0 not in self.levels or list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"ladder {self.name}: levels must rise and contain 0: {self.levels}")

    @property
    def sides(self) -> tuple[tuple[float, ...], ...]:
        """The one or two runs of levels that lead away from the identity, mildest first."""
        falling = tuple(level for level in reversed(self.levels) if level < 0)
        rising = tuple(level for level in self.levels if level > 0)
        return tuple(side for side in (falling, rising) if side)


def distort(images: Images, ladder: Ladder, level: float, seed: int = 0) -> Images:
    """Distort display images by one level of a ladder; level 0 returns them unchanged.

    Args:
        images: Display RGB in [0, 1].
        ladder: The kind of distortion.
        level: Any level, not only those listed in the ladder, in the ladder's unit.
        seed: Fixes the noise field, so that the levels of one seed are nested.

    Returns:
        Display RGB in [0, 1].
    """
    if level == 0:
        return images
    generator = torch.Generator(images.device).manual_seed(seed)
    return ladder.render(images, level, generator).clamp(0, 1)


def luma(images: Images) -> Float[Tensor, "b 1 h w"]:
    """Return the weighted sum of the channels (Rec. 709); luminance where the images are linear."""
    weights = torch.tensor(LUMA, device=images.device).to(images)
    return torch.einsum("bchw,c->bhw", images, weights).unsqueeze(1)


def _gain(images: Images, red: float, green: float, blue: float) -> Images:
    """Scale the channels in linear light."""
    gains = images.new_tensor([red, green, blue])[:, None, None]
    return linear_rgb_to_rgb((rgb_to_linear_rgb(images) * gains).clamp(0, 1))


def _exposure(images: Images, level: float, _: torch.Generator) -> Images:
    return _gain(images, 2**level, 2**level, 2**level)


def _temperature(images: Images, level: float, _: torch.Generator) -> Images:
    return _balance(images, 2 ** (level / 2), 1.0, 2 ** (-level / 2))


def _tint(images: Images, level: float, _: torch.Generator) -> Images:
    return _balance(images, 2 ** (level / 3), 2 ** (-2 * level / 3), 2 ** (level / 3))


def _balance(images: Images, red: float, green: float, blue: float) -> Images:
    """Return white-balance gains that keep the luminance of a neutral grey."""
    scale = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    return _gain(images, red / scale, green / scale, blue / scale)


def _gamma(images: Images, level: float, _: torch.Generator) -> Images:
    return images ** (2**-level)


def _contrast(images: Images, level: float, _: torch.Generator) -> Images:
    pivot = luma(images).mean(dim=(2, 3), keepdim=True)
    return pivot + (images - pivot) * (1 + level)


def _saturation(images: Images, level: float, _: torch.Generator) -> Images:
    grey = luma(images)
    return grey + (images - grey) * (1 + level)


def _blacks(images: Images, level: float, _: torch.Generator) -> Images:
    if level < 0:
        return (images + level) / (1 + level)
    return level + (1 - level) * images


def _blur(images: Images, level: float, _: torch.Generator) -> Images:
    size = 2 * math.ceil(3 * level) + 1
    return gaussian_blur2d(images, (size, size), (level, level))


def _sharpening(images: Images, level: float, _: torch.Generator) -> Images:
    return images + level * (images - gaussian_blur2d(images, (7, 7), (1.2, 1.2)))


def _noise(images: Images, level: float, generator: torch.Generator) -> Images:
    """Add Poisson-Gaussian noise (Foi et al., 2008); `level` is its deviation at 18 % grey."""
    linear = rgb_to_linear_rgb(images)
    normal = torch.randn(images.shape, generator=generator, device=images.device).to(images)
    deviation = level * ((linear + 0.01) / 0.19).sqrt()
    return linear_rgb_to_rgb((linear + deviation * normal).clamp(0, 1))


def _focus(images: Images, level: float, generator: torch.Generator) -> Images:
    """Blur below zero, sharpen above."""
    return (_blur if level < 0 else _sharpening)(images, abs(level), generator)


def _cleanliness(images: Images, level: float, generator: torch.Generator) -> Images:
    return _noise(images, -level, generator)


LADDERS = (
    Ladder(
        "exposure",
        "EV",
        (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
        _exposure,
        "brightness",
    ),
    Ladder("gamma", "log2", (-1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0), _gamma, "brightness"),
    Ladder("temperature", "log2 R/B", (-1.6, -0.8, -0.4, 0.0, 0.4, 0.8, 1.6), _temperature),
    Ladder("tint", "log2 RB/G", (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0), _tint),
    Ladder("contrast", "factor - 1", (-0.8, -0.6, -0.3, 0.0, 0.4, 0.8, 1.5), _contrast, "contrast"),
    Ladder(
        "saturation",
        "factor - 1",
        (-1.0, -0.6, -0.3, 0.0, 0.5, 1.0, 2.0, 3.0),
        _saturation,
        "colorfulness",
    ),
    Ladder("blacks", "offset", (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35), _blacks, "brightness"),
    Ladder("blur", "sigma in pixels", (0.0, 0.8, 1.4, 2.4, 4.0), _blur, "sharpness", -1),
    Ladder("sharpening", "amount", (0.0, 1.5, 3.0, 6.0, 12.0), _sharpening, "sharpness"),
    Ladder(
        "noise",
        "deviation of linear light",
        (0.0, 0.01, 0.025, 0.06, 0.12),
        _noise,
        "noisiness",
        -1,
    ),
)
"""All ladders; the first non-zero level of a side is the mild step that viewers start to mind."""

_BY_NAME = {ladder.name: ladder for ladder in LADDERS}

ATTRIBUTE_LADDERS = MappingProxyType(
    {
        "sharpness": Ladder(
            "focus",
            "-sigma in pixels, or amount of sharpening",
            (-5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0),
            _focus,
            "sharpness",
        ),
        "contrast": _BY_NAME["contrast"],
        "brightness": _BY_NAME["exposure"],
        "colorfulness": _BY_NAME["saturation"],
        "noisiness": Ladder(
            "cleanliness",
            "-deviation of linear light",
            (-0.12, -0.06, -0.025, -0.01, 0.0),
            _cleanliness,
            "noisiness",
        ),
    }
)
"""One ladder per attribute that rises with its level over all of its range (the paper's proxy task
on distortions, section 3.3)."""
