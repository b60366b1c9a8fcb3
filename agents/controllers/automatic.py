"""Automatic development without a quality model: grey world and levels, as theta of the ISP.

What photo programs call auto white balance and auto tone, by the knobs of our own ISP: this control
says how much of an agent's gain needs no judge. All of it follows from the scene-linear picture, in
closed form but for a few Newton steps of the white balance.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.controllers.base import Found, chosen
from isp_env.color.rgb import luminance, mix
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.stages.tone import BLACKS, DARKEST, WHITES, inverse_neutral_curve, neutral_curve
from isp_env.isp.stages.white_balance import white_balance_matrix
from isp_env.task.judged_scenes import JudgedScenes

# Shares of the pixels, and the encoded luma that they are to end at: the ends a little inside the
# scale, where little clips; the middle as 18 % grey is encoded in sRGB
SHARES = (0.01, 0.50, 0.99)
BLACK, MIDDLE, WHITE = 0.03, 0.46, 0.97
MIDTONES = (0.1, 0.9)  # shares between which a pixel's luminance counts for the white balance
NEWTON_STEPS = 6

KNOBS = {p.name: p for p in DEFAULT_PIPELINE.parameters}


def auto_adjust(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
    """Apply grey world, then levels: one render of each scene, the result.

    Knobs that the pipeline lacks stay neutral.
    """
    theta = np.zeros((len(rows), judged.knobs), np.float32)
    for scene, row in enumerate(rows):
        linear, _ = judged.scenes.images(np.array([row]), judged.device)
        values = automatic_values(linear[0])
        for column, knob in enumerate(judged.pipeline.parameters):
            if knob.name in values:
                theta[scene, column] = knob.to_theta(values[knob.name]).item()
    return chosen(judged, rows, theta, renders=1)


def automatic_values(linear: Float[Tensor, "3 h w"]) -> dict[str, Float[Tensor, "1"]]:
    """Return physical values of the knobs for a scene-linear picture, each within its range."""
    temperature, tint = grey_world(midtone_mean(linear))
    balance = white_balance_matrix(temperature, tint)[0]
    light = luminance(mix(linear.double().unbind(0), balance.flatten().tolist())).flatten()
    shares = torch.quantile(light, light.new_tensor(SHARES)).clamp(min=DARKEST)
    dark, middle, bright = shares[:, None]
    return {"temperature": temperature, "tint": tint} | auto_levels(dark, middle, bright)


def midtone_mean(linear: Float[Tensor, "3 h w"]) -> Float[Tensor, "3"]:
    """Average the pixels that are neither dark nor bright nor clipped; grey without any."""
    pixels = linear.double().flatten(1)
    light = luminance(pixels.unbind(0))
    low, high = torch.quantile(light, light.new_tensor(MIDTONES))
    counted = (light >= low) & (light <= high) & (pixels.amax(0) < 1)
    mean = pixels[:, counted].mean(1) if counted.any() else pixels.new_ones(3)
    return mean.clamp(min=DARKEST)


def grey_world(mean: Float[Tensor, "3"]) -> tuple[Float[Tensor, "1"], Float[Tensor, "1"]]:
    """Return temperature and tint that render the colour `mean` (linear Rec. 709, above 0) grey.

    Newton's method on R - G and B - G relative to the light, within the ranges of the knobs.
    """

    def cast(setting: Float[Tensor, "2"]) -> Float[Tensor, "2"]:
        red, green, blue = white_balance_matrix(setting[:1], setting[1:])[0] @ mean
        return torch.stack([red - green, blue - green]) / mean.mean()

    setting = mean.new_zeros(2)
    for _ in range(NEWTON_STEPS):
        slopes = torch.autograd.functional.jacobian(cast, setting)
        temperature, tint = setting - torch.linalg.solve(slopes, cast(setting))
        setting = torch.stack([_within("temperature", temperature), _within("tint", tint)])
    return setting[:1], setting[1:]


def auto_levels(
    dark: Float[Tensor, " b"], middle: Float[Tensor, " b"], bright: Float[Tensor, " b"]
) -> dict[str, Float[Tensor, " b"]]:
    """Return values that carry three scene-linear luminances to BLACK, MIDDLE and WHITE.

    Exposure brings the middle to its place as far as the bright end does not leave the sensor's
    range; whites and blacks then place the ends (`isp_env.isp.tone.levels` solved for its end
    points), and gamma what is left of the middle (`isp_env.isp.tone.gamma_gain` solved for m).
    """
    wanted = inverse_neutral_curve(torch.full_like(middle, MIDDLE)) / middle
    exposure = _within("exposure", torch.minimum(wanted, 1 / bright).log2())
    gain = torch.exp2(exposure)
    low, mid, high = (neutral_curve(light * gain) for light in (dark, middle, bright))
    scale = (high - low) / (WHITE - BLACK)
    blacks = _within("blacks", (BLACK * scale - low) / BLACKS)
    black = -BLACKS * blacks
    whites = _within("whites", (1 - black - (high - black) / WHITE) / WHITES)
    white = 1 - WHITES * whites
    y = ((mid - black) / (white - black)).clamp(0.01, 0.99)
    pivot = y * (MIDDLE - 1) / (2 * y * MIDDLE - MIDDLE - y)
    gamma = _within("gamma", pivot.log() / np.log(0.5))
    return {"exposure": exposure, "blacks": blacks, "whites": whites, "gamma": gamma}


def _within(knob: str, value: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return the nearest value that the knob reaches."""
    return value.clamp(KNOBS[knob].low, KNOBS[knob].high)
