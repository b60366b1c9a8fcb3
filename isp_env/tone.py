"""Tone: the neutral curve of the camera and the tone controls on top of it.

The neutral curve maps scene-linear values per channel; the controls work on luma and return a
*gain* for the three channels, so that hue and saturation stay. Each control is written as
gain(y) = T(y) / y in closed form: nothing divides by luma, and a neutral setting gives 1 exactly.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isp_env.color import srgb_decode, srgb_encode

MIDTONE_LIFT = 2.2  # slope of the lift at black: about +0.9 EV at 18 % of sensor white
CONTRAST = 0.35  # share of smoothstep in the S-curve after the sRGB transfer function


def neutral_curve(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Scene-linear [0, 1] to encoded sRGB [0, 1], monotone: the look of a neutral rendering.

    Sensors are exposed for the highlights, so a linear rendering is dark; camera JPEGs lift the
    midtones with a shoulder and add contrast (Grossberg and Nayar 2003). Three steps:
    lift(x) = g x / (1 + (g - 1) x), the sRGB transfer function (IEC 61966-2-1), and a blend with
    smoothstep 3y^2 - 2y^3, the tone curve of Brooks et al. 2019. Values above 1 roll off towards
    lift = g / (g - 1); negative values, which noise and colours outside Rec. 709 leave, mirror the
    positive ones.
    """
    size = linear.abs()
    lifted = MIDTONE_LIFT * size / (1 + (MIDTONE_LIFT - 1) * size)
    encoded = srgb_encode(lifted)
    inside = encoded.clamp(max=1)
    s_curve = encoded + CONTRAST * (inside * inside * (3 - 2 * inside) - encoded)
    return torch.copysign(s_curve, linear)


def inverse_neutral_curve(encoded: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Encoded sRGB [0, 1] to the scene-linear values that `neutral_curve` renders so.

    The S-curve is inverted by a monotone table (to about 1e-9); gradients do not pass it.
    """
    y = np.linspace(0, 1, 1 << 16)
    s_curve = y + CONTRAST * (y * y * (3 - 2 * y) - y)
    straight = np.interp(encoded.detach().cpu().double().clamp(0, 1).numpy(), s_curve, y)
    lifted = srgb_decode(torch.from_numpy(straight)).to(encoded)
    return lifted / (MIDTONE_LIFT - (MIDTONE_LIFT - 1) * lifted)


def shadows_gain(
    y: Float[Tensor, "*shape"], amount: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Lift (amount > 0) or deepen the dark tones: T(y) = y + amount y (1 - y)^3."""
    return 1 + amount * (1 - y) ** 3


def highlights_gain(
    y: Float[Tensor, "*shape"], amount: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Brighten or recover (amount < 0) the bright tones: T(y) = y + amount y^3 (1 - y)."""
    return 1 + amount * y**2 * (1 - y)


def contrast_gain(
    y: Float[Tensor, "*shape"], amount: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Blend with smoothstep: T(y) = y + amount (3y^2 - 2y^3 - y), amount in [-1, 1]."""
    return 1 + amount * (y * (3 - 2 * y) - 1)


def gamma_gain(
    y: Float[Tensor, "*shape"], gamma: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Midtone gamma with a finite slope at black; gamma > 1 brightens.

    The rational curve T(y) = (m - 1) y / ((2m - 1) y - m) through (0, 0), (m, 1/2) and (1, 1) with
    m = 0.5^gamma, where y^(1/gamma) also passes.
    """
    middle = 0.5**gamma
    return (middle - 1) / ((2 * middle - 1) * y - middle)


def levels(
    image: Float[Tensor, "*shape"],
    whites: Float[Tensor, "*#shape"],
    blacks: Float[Tensor, "*#shape"],
) -> Float[Tensor, "*shape"]:
    """Move the end points of the encoded scale, all channels alike.

    (x - b) / (w - b) with b = -0.12 blacks and w = 1 - 0.25 whites: positive values brighten.
    """
    black = -0.12 * blacks
    white = 1 - 0.25 * whites
    return (image - black) / (white - black)
