"""Colour: chroma, by hue and lightness that stay.

Source: Ottosson, A perceptual color space for image processing (2020).
"""

import numpy as np
from jaxtyping import Float

from isp_env.arrays import Array, namespace
from isp_env.color.rgb import Planes, mix
from isp_env.isp.guide import Maps
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage

# Ottosson 2020, "A perceptual color space for image processing".
OKLAB_LMS_FROM_REC709 = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB_FROM_LMS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

# Row by row, as plain numbers: what `mix` takes
_LMS_FROM_RGB = OKLAB_LMS_FROM_REC709.ravel().tolist()
_RGB_FROM_LMS = np.linalg.inv(OKLAB_LMS_FROM_REC709).ravel().tolist()
_LAB_FROM_LMS = OKLAB_FROM_LMS.ravel().tolist()
_LMS_FROM_AB = np.linalg.inv(OKLAB_FROM_LMS)[:, 1:].tolist()


def apply(linear: Planes, maps: Maps, k: Constants) -> Planes:
    """Scale chroma."""
    return scale_chroma(linear, k["saturation"], k["vibrance"])


def scale_chroma(
    linear: Planes,
    saturation: Float[Array, "*#shape"],
    vibrance: Float[Array, "*#shape"],
) -> Planes:
    """Scale the Oklab chroma of display-linear RGB; lightness and hue stay.

    chroma is multiplied by 1 + saturation + vibrance (1 - C / 0.3)^2 for C < 0.3, so that vibrance
    moves muted colours and leaves vivid ones. Both 0 returns the picture as it is.
    """
    xp = namespace(linear[0])
    lms = mix(linear, _LMS_FROM_RGB)
    root = [xp.clip(x, 1e-5, None) ** (1 / 3) for x in lms]  # a finite slope at and below zero
    _, a, b = mix(tuple(root), _LAB_FROM_LMS)
    chroma = xp.sqrt(a * a + b * b + 1e-8)
    muted = xp.clip(1 - chroma / 0.3, 0, 1)
    gain = saturation + vibrance * muted * muted
    # the change alone goes back through the matrices: zero change is exactly zero
    change = [from_a * (a * gain) + from_b * (b * gain) for from_a, from_b in _LMS_FROM_AB]
    cubes = [d * (3 * r * r + d * (3 * r + d)) for r, d in zip(root, change, strict=True)]
    moved = mix(tuple(cubes), _RGB_FROM_LMS)  # (r + d)^3 - r^3
    return tuple(x + d for x, d in zip(linear, moved, strict=True))


COLOR = Stage(
    "color",
    (
        Parameter("saturation", "", -0.5, 0.0, 0.5, help="relative change of Oklab chroma"),
        Parameter("vibrance", "", -0.5, 0.0, 0.5, help="the same, for muted colours"),
    ),
    apply,
    in_numpy=True,
    idle_at=(0.0, 0.0),
)
