"""White balance: the light of the scene moved along and across the Planckian locus.

Sources: Li et al., Comprehensive color solutions: CAM16, CAT16, and CAM16-UCS (2017), for the
adaptation; Krystek 1985 for the locus (`color.rgb.planckian_uv`).
"""

import numpy as np
from jaxtyping import Float

from isp_env.arrays import Array, constant, namespace
from isp_env.color.rgb import (
    D65_TEMPERATURE,
    D65_UV,
    REC709_LUMINANCE,
    XYZ_FROM_REC709,
    Planes,
    mix,
    planckian_normal,
    planckian_uv,
)
from isp_env.isp.guide import Maps
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values

# CAT16 cone-like primaries (Li et al. 2017): XYZ to sharpened LMS.
CAT16 = np.array(
    [
        [0.401288, 0.650173, -0.051461],
        [-0.250268, 1.204414, 0.045854],
        [-0.002079, 0.048952, 0.953127],
    ]
)
LMS_FROM_REC709 = CAT16 @ XYZ_FROM_REC709


def prepare(values: Values) -> Values:
    """Compute the matrix, as nine numbers."""
    matrix = white_balance_matrix(values["temperature"], values["tint"])
    return {f"white balance {i}": matrix[:, i // 3, i % 3] for i in range(9)}


def apply(linear: Planes, maps: Maps, k: Constants) -> Planes:
    """Multiply by the matrix."""
    return mix(linear, [k[f"white balance {i}"] for i in range(9)])


def white_balance_matrix(
    temperature: Float[Array, " b"], tint: Float[Array, " b"]
) -> Float[Array, "b 3 3"]:
    """Linear Rec. 709 matrix that renders the picture warmer or cooler, magenta or green.

    The light of the scene is taken to lie off D65 by `temperature` along the Planckian locus and
    by `tint` across it, and is adapted to D65 by CAT16 with the luminance of white kept. Zero
    gives the identity matrix exactly.

    Args:
        temperature: Shift in mired; positive renders warmer (as a higher kelvin setting does).
        tint: Shift in CIE 1960 Duv times 1,000; positive renders more magenta.
    """
    mired = 1e6 / D65_TEMPERATURE
    origin = 0 * temperature + mired
    locus = planckian_uv(origin)
    across = planckian_normal(origin) * tint[:, None] / 1000
    shift = planckian_uv(origin - temperature) - locus + across
    d65 = constant([D65_UV], temperature)
    cone = constant(CAT16, temperature)
    gains = (_uv_to_xyz(d65) @ cone.T) / (_uv_to_xyz(d65 + shift) @ cone.T)

    lms_from_rgb = constant(LMS_FROM_REC709, temperature)
    rgb_from_lms = constant(np.linalg.inv(LMS_FROM_REC709), temperature)
    # identity + change, so that no rounding of inverse(M) @ M shows at zero
    change = (rgb_from_lms * (gains - 1)[:, None]) @ lms_from_rgb
    white = 1 + change.sum(2) @ constant(REC709_LUMINANCE, temperature)
    return (constant(np.eye(3), temperature) + change) / white[:, None, None]


def _uv_to_xyz(uv: Float[Array, "b 2"]) -> Float[Array, "b 3"]:
    """Return XYZ with Y = 1 from CIE 1960 (u, v)."""
    u, v = uv[:, 0], uv[:, 1]
    x = 3 * u / (2 * v)
    z = (4 - u - 10 * v) / (2 * v)
    return namespace(uv).stack([x, 0 * x + 1, z], axis=1)


WHITE_BALANCE = Stage(
    "white balance",
    (
        Parameter("temperature", "mired", -70.0, 0.0, 70.0, help="positive is warmer"),
        Parameter("tint", "Duv x 1000", -20.0, 0.0, 20.0, help="positive is more magenta"),
    ),
    apply,
    prepare=prepare,
    in_numpy=True,
    idle_at=(0.0, 0.0),
)
