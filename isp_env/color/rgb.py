"""Colour: camera space to linear Rec. 709, white balance by colour temperature, Oklab, gamut.

Scene-linear is what the sensor saw; display-linear is what a display emits: sRGB without its
transfer function. Both may leave [0, 1] until the gamut is compressed. What works on pixels takes
the three planes of a picture, of any one shape, and nothing but elementwise operations: see
`isp.fused.tracing`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Planes = tuple[Tensor, ...]
"""Red, green and blue of a picture, each of the same shape."""

# IEC 61966-2-1: linear Rec. 709 / sRGB primaries with white D65 to CIE 1931 XYZ.
XYZ_FROM_REC709 = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
REC709_LUMINANCE = (0.2126729, 0.7151522, 0.0721750)

# CAT16 cone-like primaries (Li et al. 2017): XYZ to sharpened LMS.
CAT16 = np.array(
    [
        [0.401288, 0.650173, -0.051461],
        [-0.250268, 1.204414, 0.045854],
        [-0.002079, 0.048952, 0.953127],
    ]
)

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

D65_UV = (0.19783, 0.31222)  # CIE 1960 (u, v) of D65
D65_TEMPERATURE = 6504.0  # kelvin


def camera_to_rec709(xyz_to_camera: np.ndarray) -> np.ndarray:
    """Matrix from white-balanced camera RGB to linear Rec. 709; white (1, 1, 1) stays white.

    The inverse of XYZ-to-camera times Rec. 709-to-XYZ with its rows normalised to sum 1: dcraw's
    convention, in which the white balance gains already carry the neutral of the scene to white.

    Args:
        xyz_to_camera: (3, 3), DNG ColorMatrix (tags 50721, 50722).

    Raises:
        ValueError: The matrix is singular or a row sums to zero or less.
    """
    camera_from_rec709 = np.asarray(xyz_to_camera, np.float64) @ XYZ_FROM_REC709
    rows = camera_from_rec709.sum(axis=1, keepdims=True)
    if np.any(rows <= 1e-6) or abs(np.linalg.det(camera_from_rec709 / rows)) < 1e-6:
        raise ValueError(f"not a usable colour matrix: {np.round(xyz_to_camera, 4).tolist()}")
    return np.linalg.inv(camera_from_rec709 / rows)


def mix(planes: Planes, matrix: Sequence[float | Tensor]) -> Planes:
    """Each pixel times a 3 x 3 matrix, given row by row as nine numbers or tensors."""
    red, green, blue = planes
    m = matrix
    return (
        m[0] * red + m[1] * green + m[2] * blue,
        m[3] * red + m[4] * green + m[5] * blue,
        m[6] * red + m[7] * green + m[8] * blue,
    )


def luminance(
    planes: Planes, weight: Sequence[float] = REC709_LUMINANCE
) -> Float[Tensor, "*shape"]:
    """Luminance Y of linear RGB (luma of encoded RGB), that of Rec. 709 primaries by default."""
    red, green, blue = planes
    return weight[0] * red + weight[1] * green + weight[2] * blue


def srgb_encode(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Transfer function of sRGB (IEC 61966-2-1); the straight part goes on below zero."""
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curve, 12.92 * linear)


def srgb_decode(encoded: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Inverse of `srgb_encode`."""
    curve = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded > 0.04045, curve, encoded / 12.92)


def planckian_uv(mired: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
    """CIE 1960 (u, v) of the black body at 1e6 / `mired` kelvin, 1,000..15,000 K (Krystek 1985)."""
    t = 1e6 / mired
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (
        1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2
    )
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (
        1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2
    )
    return torch.stack([u, v], dim=1)


def planckian_normal(mired: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
    """Unit vector in CIE 1960 (u, v) across the Planckian locus, towards green: v grows."""
    tangent = torch.nn.functional.normalize(planckian_uv(mired + 1) - planckian_uv(mired), dim=1)
    normal = torch.stack([tangent[:, 1], -tangent[:, 0]], dim=1)
    return normal * torch.sign(normal[:, 1:])


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


def scale_chroma(
    linear: Planes,
    saturation: Float[Tensor, "*#shape"],
    vibrance: Float[Tensor, "*#shape"],
) -> Planes:
    """Scale the Oklab chroma of display-linear RGB; lightness and hue stay.

    chroma is multiplied by 1 + saturation + vibrance (1 - C / 0.3)^2 for C < 0.3, so that vibrance
    moves muted colours and leaves vivid ones. Both 0 returns the picture as it is.
    """
    lms = mix(linear, _LMS_FROM_RGB)
    root = [x.clamp(min=1e-5) ** (1 / 3) for x in lms]  # a finite slope at and below zero
    _, a, b = mix(tuple(root), _LAB_FROM_LMS)
    chroma = (a * a + b * b + 1e-8).sqrt()
    muted = (1 - chroma / 0.3).clamp(0, 1)
    gain = saturation + vibrance * muted * muted
    # the change alone goes back through the matrices: zero change is exactly zero
    change = [from_a * (a * gain) + from_b * (b * gain) for from_a, from_b in _LMS_FROM_AB]
    cubes = [d * (3 * r * r + d * (3 * r + d)) for r, d in zip(root, change, strict=True)]
    moved = mix(tuple(cubes), _RGB_FROM_LMS)  # (r + d)^3 - r^3
    return tuple(x + d for x, d in zip(linear, moved, strict=True))


def compress_gamut(linear: Planes, weight: Sequence[float] = REC709_LUMINANCE) -> Planes:
    """Bring display-linear RGB into [0, 1] by moving each colour towards the grey of its luminance.

    Clipping single channels would turn hues; this keeps hue and luminance and gives up chroma.
    Luminance outside [0, 1] becomes black or white; colours inside the gamut stay as they are.

    Args:
        linear: RGB of any primaries.
        weight: Of red, green and blue in the luminance.
    """
    grey = luminance(linear, weight).clamp(0, 1)
    offsets = [x - grey for x in linear]
    over = [
        offset.abs() / torch.where(offset > 0, 1 - grey, grey).clamp(min=1e-4) for offset in offsets
    ]
    most = torch.maximum(torch.maximum(over[0], over[1]), over[2]).clamp(min=1)
    return tuple((grey + offset / most).clamp(0, 1) for offset in offsets)


def _uv_to_xyz(uv: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3"]:
    """XYZ with Y = 1 from CIE 1960 (u, v)."""
    u, v = uv.unbind(1)
    x = 3 * u / (2 * v)
    z = (4 - u - 10 * v) / (2 * v)
    return torch.stack([x, torch.ones_like(x), z], dim=1)
