"""The tunable ISP: scene-linear RGB and theta in, a display-ready photograph out.

A pipeline is a list of stages; each declares its own knobs, so that adding a stage adds its knobs
to theta and to the action space of the environment. Everything is differentiable and batched, with
one theta for each image, and a render is always made anew from the linear picture.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import kornia
import torch
from jaxtyping import Float
from torch import Tensor

from isp_env import color, detail, tone
from isp_env.parameters import Parameter, to_values

Values = Mapping[str, Float[Tensor, " b"]]


@dataclass(frozen=True)
class Stage:
    """One step of the ISP.

    Attributes:
        name: What it does, in the field's word.
        parameters: Its knobs, in the order of theta.
        apply: (image (B, 3, H, W), noise (B, 3, 2), values by parameter name) -> image.
    """

    name: str
    parameters: tuple[Parameter, ...]
    apply: Callable[[Tensor, Tensor, Values], Tensor]


@dataclass(frozen=True)
class IspPipeline:
    """An ordered list of stages from scene-linear Rec. 709 to encoded sRGB."""

    stages: tuple[Stage, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every knob; `parameters[i]` is moved by `theta[:, i]`."""
        return tuple(p for stage in self.stages for p in stage.parameters)

    def neutral(self, batch: int = 1) -> Float[Tensor, "b d"]:
        """Theta of the neutral rendering: zeros."""
        return torch.zeros(batch, len(self.parameters))

    def __call__(
        self,
        linear: Float[Tensor, "b 3 h w"],
        theta: Float[Tensor, "b d"],
        noise: Float[Tensor, "b 3 2"] | None = None,
    ) -> Float[Tensor, "b 3 h w"]:
        """Render.

        Args:
            linear: Scene-linear Rec. 709, white-balanced as shot, 1.0 = sensor white.
            theta: One row for each image, in [-1, 1].
            noise: Shot and read noise per channel at this resolution (`development.develop`);
                None means noise-free, which leaves nothing to denoise.

        Returns:
            Encoded sRGB in [0, 1].
        """
        noise = linear.new_zeros(len(linear), 3, 2) if noise is None else noise
        values = to_values(self.parameters, theta)
        image = linear
        for stage in self.stages:
            image = stage.apply(image, noise, values)
        return image


def _white_balance(image: Tensor, noise: Tensor, values: Values) -> Tensor:
    matrix = color.white_balance_matrix(values["temperature"], values["tint"])
    return color.apply_matrix(image, matrix)


def _denoise(image: Tensor, noise: Tensor, values: Values) -> Tensor:
    return detail.denoise(image, noise, values["denoise"])


def _exposure(image: Tensor, noise: Tensor, values: Values) -> Tensor:
    return image * torch.exp2(_per_image(values["exposure"]))


def _tone(image: Tensor, noise: Tensor, values: Values) -> Tensor:
    encoded = tone.neutral_curve(image)
    encoded = tone.levels(encoded, _per_image(values["whites"]), _per_image(values["blacks"]))
    luma = color.luminance(encoded).clamp(0, 1)
    lifted = tone.shadows_gain(luma, _per_image(values["shadows"]))
    lifted = lifted + tone.highlights_gain(luma, _per_image(values["highlights"])) - 1
    midtones = tone.gamma_gain(luma * lifted, _per_image(values["gamma"]))
    toned = (luma * lifted * midtones).clamp(0, 1)
    contrast = tone.contrast_gain(toned, _per_image(values["contrast"]))
    return encoded * (lifted * midtones * contrast)


def _color(image: Tensor, noise: Tensor, values: Values) -> Tensor:
    linear = kornia.color.rgb_to_linear_rgb(image)
    linear = color.scale_chroma(linear, values["saturation"], values["vibrance"])
    return kornia.color.linear_rgb_to_rgb(color.compress_gamut(linear))


def _sharpen(image: Tensor, noise: Tensor, values: Values) -> Tensor:
    return detail.sharpen(image, values["sharpen"]).clamp(0, 1)


def _per_image(value: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1 1"]:
    return value[:, None, None, None]


DEFAULT_PIPELINE = IspPipeline(
    (
        Stage(
            "white balance",
            (
                Parameter("temperature", "mired", -70.0, 0.0, 70.0, help="warmer when positive"),
                Parameter(
                    "tint", "Duv x 1000", -20.0, 0.0, 20.0, help="more magenta when positive"
                ),
            ),
            _white_balance,
        ),
        Stage(
            "denoise",
            (Parameter("denoise", "", 0.0, 0.25, 1.0, help="strength against the noise profile"),),
            _denoise,
        ),
        Stage(
            "exposure",
            (Parameter("exposure", "EV", -2.0, 0.0, 2.0, help="gain in scene-linear light"),),
            _exposure,
        ),
        Stage(
            "tone",
            (
                Parameter("highlights", "", -1.0, 0.0, 1.0, help="bright tones; negative recovers"),
                Parameter("shadows", "", -1.0, 0.0, 1.0, help="dark tones; positive lifts"),
                Parameter("whites", "", -1.0, 0.0, 1.0, help="white point; positive brightens"),
                Parameter("blacks", "", -1.0, 0.0, 1.0, help="black point; negative deepens"),
                Parameter("contrast", "", -0.6, 0.0, 1.0, help="S-curve about the middle"),
                Parameter(
                    "gamma", "", 1 / 1.5, 1.0, 1.5, "log", help="midtones; above 1 brightens"
                ),
            ),
            _tone,
        ),
        Stage(
            "color",
            (
                Parameter("saturation", "", -0.5, 0.0, 0.5, help="relative change of Oklab chroma"),
                Parameter("vibrance", "", -0.5, 0.0, 0.5, help="the same, for muted colours"),
            ),
            _color,
        ),
        Stage(
            "sharpen",
            (Parameter("sharpen", "", 0.0, 0.3, 1.5, help="amount of the unsharp mask on luma"),),
            _sharpen,
        ),
    )
)
