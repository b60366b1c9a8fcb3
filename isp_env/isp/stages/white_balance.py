"""White balance: the light of the scene moved along and across the Planckian locus.

Sources: Li et al., Comprehensive color solutions: CAM16, CAT16, and CAM16-UCS (2017), for the
adaptation; Krystek 1985 for the locus (`color.rgb.planckian_uv`).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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


def prepare(values: Values) -> Values:
    """Compute the matrix, as nine numbers."""
    matrix = white_balance_matrix(values["temperature"], values["tint"]).flatten(1)
    return {f"white balance {i}": matrix[:, i] for i in range(9)}


def apply(linear: Planes, maps: Maps, k: Constants) -> Planes:
    """Multiply by the matrix."""
    return mix(linear, [k[f"white balance {i}"] for i in range(9)])


def white_balance_matrix(
    temperature: Float[Tensor, " b"], tint: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 3"]:
    """Linear Rec. 709 matrix that renders the picture warmer or cooler, magenta or green.

    The light of the scene is taken to lie off D65 by `temperature` along the Planckian locus and
    by `tint` across it, and is adapted to D65 by CAT16 with the luminance of white kept. Zero
    gives the identity matrix exactly.

    Args:
        temperature: Shift in mired; positive renders warmer (as a higher kelvin setting does).
        tint: Shift in CIE 1960 Duv times 1,000; positive renders more magenta.
    """
    mired = 1e6 / D65_TEMPERATURE
    origin = torch.full_like(temperature, mired)
    locus = planckian_uv(origin)
    across = planckian_normal(origin) * tint[:, None] / 1000
    shift = planckian_uv(origin - temperature) - locus + across
    d65 = temperature.new_tensor(D65_UV).expand_as(shift)
    cone = temperature.new_tensor(CAT16)
    gains = (_uv_to_xyz(d65) @ cone.T) / (_uv_to_xyz(d65 + shift) @ cone.T)

    lms_from_rgb = cone @ temperature.new_tensor(XYZ_FROM_REC709)
    rgb_from_lms = torch.linalg.inv(lms_from_rgb)
    identity = torch.eye(3, dtype=temperature.dtype, device=temperature.device)
    # identity + change, so that no rounding of inverse(M) @ M shows at zero
    change = rgb_from_lms @ torch.diag_embed(gains - 1) @ lms_from_rgb
    white = 1 + change.sum(dim=2) @ temperature.new_tensor(REC709_LUMINANCE)
    return (identity + change) / white[:, None, None]


def _uv_to_xyz(uv: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3"]:
    """Return XYZ with Y = 1 from CIE 1960 (u, v)."""
    u, v = uv.unbind(1)
    x = 3 * u / (2 * v)
    z = (4 - u - 10 * v) / (2 * v)
    return torch.stack([x, torch.ones_like(x), z], dim=1)


WHITE_BALANCE = Stage(
    "white balance",
    (
        Parameter("temperature", "mired", -70.0, 0.0, 70.0, help="positive is warmer"),
        Parameter("tint", "Duv x 1000", -20.0, 0.0, 20.0, help="positive is more magenta"),
    ),
    apply,
    prepare=prepare,
)
