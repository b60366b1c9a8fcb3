"""Tone: the neutral curve of the camera and the tone controls on top of it.

Tone is a curve on luminance; the three channels get its *gain*, so that the hue and the ratios of
the channels stay (per channel, a curve turns hues and saturates). Each control is written as
gain(y) = T(y) / y in closed form: nothing divides by luma, and a neutral setting gives 1 exactly.
"""

import numpy as np
from jaxtyping import Float

from isp_env.arrays import Array, constant, namespace, to_numpy
from isp_env.color.rgb import Planes, luminance, srgb_decode, srgb_encode
from isp_env.isp.guide import Maps
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values

MIDTONE_LIFT = 2.2  # slope of the lift at black: about +0.9 EV at 18 % of sensor white
CONTRAST = 0.35  # share of smoothstep in the S-curve after the sRGB transfer function
BLACKS, WHITES = 0.12, 0.25  # of the encoded scale: how far a full step moves its end points
DARKEST = 1e-4  # luminance below which the curve is taken to be straight


def neutral_curve(light: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Map scene-linear luminance [0, 1] to luma [0, 1], monotone: the look of a neutral rendering.

    Sensors are exposed for the highlights, so a linear rendering is dark; camera JPEGs lift the
    midtones with a shoulder and add contrast (Grossberg and Nayar 2003). Three steps:
    lift(x) = g x / (1 + (g - 1) x), the sRGB transfer function (IEC 61966-2-1), and a blend with
    smoothstep 3y^2 - 2y^3, the tone curve of Brooks et al. 2019. Values above 1 roll off towards
    lift = g / (g - 1).
    """
    encoded = srgb_encode(MIDTONE_LIFT * light / (1 + (MIDTONE_LIFT - 1) * light))
    inside = namespace(encoded).clip(encoded, None, 1)
    return encoded + CONTRAST * (inside * inside * (3 - 2 * inside) - encoded)


def inverse_neutral_curve(luma: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the scene-linear luminance that `neutral_curve` renders as `luma`, [0, 1].

    The S-curve is inverted by a monotone table (to about 1e-9); gradients do not pass it.
    """
    y = np.linspace(0, 1, 1 << 16)
    s_curve = y + CONTRAST * (y * y * (3 - 2 * y) - y)
    straight = np.interp(to_numpy(luma).astype(np.float64), s_curve, y)
    lifted = constant(srgb_decode(straight), luma)
    return lifted / (MIDTONE_LIFT - (MIDTONE_LIFT - 1) * lifted)


def inverse_neutral_tone(photo: Float[Array, "*b 3 h w"]) -> Float[Array, "*b 3 h w"]:
    """Convert encoded sRGB [0, 1] to the scene-linear picture whose neutral rendering it is."""
    linear = srgb_decode(photo)
    planes = tuple(linear[..., channel, :, :] for channel in range(3))
    light = namespace(linear).clip(luminance(planes), DARKEST, None)
    return linear * (inverse_neutral_curve(srgb_encode(light)) / light)[..., None, :, :]


def tone_curve(light: Float[Array, "*shape"], k: Constants) -> Float[Array, "*shape"]:
    """Map scene-linear to display-linear luminance: the neutral curve, then all controls.

    Args:
        light: At least 0.
        k: "whites", "blacks", "shadows", "highlights", "gamma" and "contrast", to broadcast.
    """
    xp = namespace(light)
    encoded = levels(neutral_curve(light), k["whites"], k["blacks"])
    luma = xp.clip(encoded, 0, 1)
    lifted = shadows_gain(luma, k["shadows"]) + highlights_gain(luma, k["highlights"]) - 1
    midtones = gamma_gain(luma * lifted, k["gamma"])
    toned = xp.clip(luma * lifted * midtones, 0, 1)
    return srgb_decode(encoded * lifted * midtones * contrast_gain(toned, k["contrast"]))


def prepare(values: Values) -> Values:
    """Compute the level that black is lifted to."""
    return {"floor": tone_curve(0 * values["blacks"], values)}


def apply(planes: Planes, maps: Maps, k: Constants) -> Planes:
    """Convert scene-linear to display-linear RGB: the luminance follows `tone_curve`, hues stay.

    A level that black is lifted to is added as grey: no gain would get there. k["floor"] is
    `tone_curve` of 0.
    """
    light = luminance(planes)
    light = namespace(light).clip(light, DARKEST, None)
    floor = k["floor"]
    gain = (tone_curve(light, k) - floor) / light
    return tuple(x * gain + floor for x in planes)


def shadows_gain(
    y: Float[Array, "*shape"], amount: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """Lift (amount > 0) or deepen the dark tones: T(y) = y + amount y (1 - y)^3."""
    return 1 + amount * (1 - y) ** 3


def highlights_gain(
    y: Float[Array, "*shape"], amount: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """Brighten or recover (amount < 0) the bright tones: T(y) = y + amount y^3 (1 - y)."""
    return 1 + amount * y**2 * (1 - y)


def contrast_gain(
    y: Float[Array, "*shape"], amount: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """Blend with smoothstep: T(y) = y + amount (3y^2 - 2y^3 - y), amount in [-1, 1]."""
    return 1 + amount * (y * (3 - 2 * y) - 1)


def gamma_gain(y: Float[Array, "*shape"], gamma: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """Apply a midtone gamma with a finite slope at black; gamma > 1 brightens.

    The rational curve T(y) = (m - 1) y / ((2m - 1) y - m) through (0, 0), (m, 1/2) and (1, 1) with
    m = 0.5^gamma, where y^(1/gamma) also passes.
    """
    middle = 0.5**gamma
    return (middle - 1) / ((2 * middle - 1) * y - middle)


def levels(
    image: Float[Array, "*shape"],
    whites: Float[Array, "*#shape"],
    blacks: Float[Array, "*#shape"],
) -> Float[Array, "*shape"]:
    """Move the end points of the encoded scale, all channels alike.

    (x - b) / (w - b) with b = -0.12 blacks and w = 1 - 0.25 whites: positive values brighten.
    """
    black = -BLACKS * blacks
    white = 1 - WHITES * whites
    return (image - black) / (white - black)


TONE = Stage(
    "tone",
    (
        Parameter("highlights", "", -1.0, 0.0, 1.0, help="bright tones; < 0 recovers"),
        Parameter("shadows", "", -1.0, 0.0, 1.0, help="dark tones; > 0 lifts"),
        Parameter("whites", "", -1.0, 0.0, 1.0, help="white point; > 0 brightens"),
        Parameter("blacks", "", -1.0, 0.0, 1.0, help="black point; < 0 deepens"),
        Parameter("contrast", "", -0.6, 0.0, 1.0, help="S-curve about the middle"),
        Parameter("gamma", "", 1 / 1.5, 1.0, 1.5, "log", help="midtones; > 1 brightens"),
    ),
    apply,
    prepare=prepare,
    in_numpy=True,
)
