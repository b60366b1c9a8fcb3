"""Colour: camera space to linear Rec. 709, white balance by colour temperature, Oklab, gamut.

Tensors are (B, 3, H, W) in R, G, B order. Scene-linear is what the sensor saw; display-linear is
what a display emits: sRGB without its transfer function. Both may leave [0, 1] until the gamut is
compressed.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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


def apply_matrix(
    image: Float[Tensor, "b 3 h w"], matrix: Float[Tensor, "#b 3 3"]
) -> Float[Tensor, "b 3 h w"]:
    """Each pixel times `matrix`, one matrix for all images or one for each."""
    return torch.matmul(matrix, image.flatten(2)).view_as(image)


def luminance(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Rec. 709 luminance Y of linear RGB (luma of encoded RGB)."""
    red, green, blue = image.unbind(1)
    weight = REC709_LUMINANCE
    return (weight[0] * red + weight[1] * green + weight[2] * blue)[:, None]


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
    tangent = torch.nn.functional.normalize(planckian_uv(origin + 1) - locus, dim=1)
    normal = torch.stack([tangent[:, 1], -tangent[:, 0]], dim=1)  # towards green: v grows
    normal = normal * torch.sign(normal[:, 1:])
    shift = planckian_uv(origin - temperature) - locus + normal * tint[:, None] / 1000
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
    linear: Float[Tensor, "b 3 h w"], saturation: Float[Tensor, " b"], vibrance: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Scale the Oklab chroma of display-linear RGB; lightness and hue stay.

    chroma is multiplied by 1 + saturation + vibrance (1 - C / 0.3)^2 for C < 0.3, so that vibrance
    moves muted colours and leaves vivid ones. Both 0 returns the picture as it is.
    """
    lms = apply_matrix(linear, linear.new_tensor(OKLAB_LMS_FROM_REC709)[None])
    root = lms.clamp(min=1e-5) ** (1 / 3)  # a finite slope at and below zero
    lab = apply_matrix(root, linear.new_tensor(OKLAB_FROM_LMS)[None])
    chroma = (lab[:, 1:].square().sum(1, keepdim=True) + 1e-8).sqrt()
    muted = (1 - chroma / 0.3).clamp(0, 1).square()
    gain = saturation[:, None, None, None] + vibrance[:, None, None, None] * muted
    # the change alone goes back through the matrices: zero change is exactly zero
    change = torch.cat([torch.zeros_like(chroma), lab[:, 1:] * gain], dim=1)
    lms_from_lab = linear.new_tensor(np.linalg.inv(OKLAB_FROM_LMS))[None]
    lms_change = (root + apply_matrix(change, lms_from_lab)) ** 3 - root**3
    rgb_from_lms = linear.new_tensor(np.linalg.inv(OKLAB_LMS_FROM_REC709))[None]
    return linear + apply_matrix(lms_change, rgb_from_lms)


def compress_gamut(linear: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Bring display-linear RGB into [0, 1] by moving each colour towards the grey of its luminance.

    Clipping single channels would turn hues; this keeps hue and luminance and gives up chroma.
    Luminance outside [0, 1] becomes black or white; colours inside the gamut stay as they are.
    """
    grey = luminance(linear).clamp(0, 1)
    offset = linear - grey
    room = torch.where(offset > 0, 1 - grey, grey)
    over = offset.abs() / room.clamp(min=1e-4)
    return (grey + offset / over.amax(1, keepdim=True).clamp(min=1)).clamp(0, 1)


def _uv_to_xyz(uv: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3"]:
    """XYZ with Y = 1 from CIE 1960 (u, v)."""
    u, v = uv.unbind(1)
    x = 3 * u / (2 * v)
    z = (4 - u - 10 * v) / (2 * v)
    return torch.stack([x, torch.ones_like(x), z], dim=1)
