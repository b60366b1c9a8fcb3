"""Colour: camera space to linear Rec. 709, white balance by colour temperature, Oklab, gamut.

Scene-linear is what the sensor saw; display-linear is what a display emits: sRGB without its
transfer function. Both may leave [0, 1] until the gamut is compressed. What works on pixels takes
the three planes of a picture, of any one shape, and nothing but elementwise operations: see
`isp.fused.tracing`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from isp_env.arrays import Array, namespace

Planes = tuple[Array, ...]
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

D65_UV = (0.19783, 0.31222)  # CIE 1960 (u, v) of D65
D65_TEMPERATURE = 6504.0  # kelvin


def camera_to_rec709(xyz_to_camera: np.ndarray) -> np.ndarray:
    """Build the matrix from camera RGB, white-balanced, to linear Rec. 709; (1, 1, 1) stays white.

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


def mix(planes: Planes, matrix: Sequence[float | Array]) -> Planes:
    """Multiply each pixel by a 3 x 3 matrix, given row by row as nine numbers or tensors."""
    red, green, blue = planes
    m = matrix
    return (
        m[0] * red + m[1] * green + m[2] * blue,
        m[3] * red + m[4] * green + m[5] * blue,
        m[6] * red + m[7] * green + m[8] * blue,
    )


def luminance(planes: Planes, weight: Sequence[float] = REC709_LUMINANCE) -> Float[Array, "*shape"]:
    """Compute Y of linear RGB (luma of encoded RGB), that of Rec. 709 primaries by default."""
    red, green, blue = planes
    return weight[0] * red + weight[1] * green + weight[2] * blue


def srgb_encode(linear: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Transfer function of sRGB (IEC 61966-2-1); the straight part goes on below zero."""
    xp = namespace(linear)
    curve = 1.055 * xp.clip(linear, 0.0031308, None) ** (1 / 2.4) - 0.055
    return xp.where(linear > 0.0031308, curve, 12.92 * linear)


def srgb_decode(encoded: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Invert `srgb_encode`."""
    xp = namespace(encoded)
    curve = ((xp.clip(encoded, 0.04045, None) + 0.055) / 1.055) ** 2.4
    return xp.where(encoded > 0.04045, curve, encoded / 12.92)


def planckian_uv(mired: Float[Array, " b"]) -> Float[Array, "b 2"]:
    """CIE 1960 (u, v) of the black body at 1e6 / `mired` kelvin, 1,000..15,000 K (Krystek 1985)."""
    t = 1e6 / mired
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (
        1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2
    )
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (
        1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2
    )
    return namespace(t).stack([u, v], axis=1)


def planckian_normal(mired: Float[Array, " b"]) -> Float[Array, "b 2"]:
    """Unit vector in CIE 1960 (u, v) across the Planckian locus, towards green: v grows."""
    xp = namespace(mired)
    along = planckian_uv(mired + 1) - planckian_uv(mired)
    normal = xp.stack([along[:, 1], -along[:, 0]], axis=1)
    return normal * xp.sign(normal[:, 1:]) / (normal[:, :1] ** 2 + normal[:, 1:] ** 2) ** 0.5
