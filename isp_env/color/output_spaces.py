"""Colour spaces of finished photographs: primaries, transfer function and ICC profile.

sRGB: IEC 61966-2-1. Display P3: SMPTE RP 431-2 primaries with D65 and the transfer function of sRGB
(Apple). ProPhoto RGB: ROMM RGB, ISO 22028-2.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from PIL import ImageCms

from isp_env.arrays import Array, namespace
from isp_env.color.rgb import REC709_LUMINANCE, XYZ_FROM_REC709, srgb_encode

D65_XY = (0.3127, 0.3290)
D50_XYZ = np.array([0.9642, 1.0, 0.8249])  # of the profile connection space (ICC.1:2022, 6.3.1.3)

# Lam 1985, the cone responses of Bradford's chromatic adaptation
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


@dataclass(frozen=True, eq=False)
class OutputSpace:
    """A colour space that a photograph is written in.

    Attributes:
        name: How people call it.
        from_rec709: Linear Rec. 709 to linear RGB of this space; white stays white.
        encode: Transfer function, linear [0, 1] to encoded [0, 1]; elementwise.
        icc_profile: To embed, the same bytes each time.
        luminance: Weights of its linear R, G, B in the luminance of Rec. 709.
    """

    name: str
    from_rec709: Float[np.ndarray, "3 3"]
    encode: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]
    icc_profile: bytes
    luminance: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Compute once: where it is needed, a pipeline may be traced."""
        weights = REC709_LUMINANCE @ np.linalg.inv(self.from_rec709)
        object.__setattr__(self, "luminance", tuple(weights.tolist()))


def romm_encode(linear: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Transfer function of ROMM RGB: gamma 1.8 with a straight part below 1/512."""
    xp = namespace(linear)
    curve = xp.clip(linear, 1 / 512, None) ** (1 / 1.8)
    return xp.where(linear < 1 / 512, 16 * linear, curve)


def xyz_from_rgb(
    primaries: tuple[tuple[float, float], ...], white: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Build the matrix to XYZ from the primaries' chromaticities and the XYZ of white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, white)


def adaptation(
    source: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Return the matrix from XYZ under one white to XYZ under another (Bradford)."""
    gains = (BRADFORD @ target) / (BRADFORD @ source)
    return np.linalg.solve(BRADFORD, gains[:, None] * BRADFORD)


D65_XYZ = np.array([D65_XY[0], D65_XY[1], 1 - sum(D65_XY)]) / D65_XY[1]
D50_FROM_D65 = adaptation(D65_XYZ, D50_XYZ)
_XYZ_FROM_P3 = xyz_from_rgb(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), D65_XYZ)
_XYZ_FROM_ROMM = xyz_from_rgb(((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), D50_XYZ)


def _from_rec709(xyz_from_space: np.ndarray, adapt: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Matrix with rows that sum to 1 exactly, so that greys stay grey to the last digit."""
    matrix = np.linalg.solve(xyz_from_space, adapt @ XYZ_FROM_REC709)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _srgb_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + _DATE + profile[36:]


_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # bytes 24..35 of the header (ICC.1:2022, 7.2)


def matrix_profile(
    description: str,
    xyz_from_rgb: Float[np.ndarray, "3 3"],
    curve: tuple[float, float, float, float, float],
) -> bytes:
    """Return an ICC profile of three primaries and one curve (version 4.0, ICC.1:2004).

    Args:
        description: Name that programs show.
        xyz_from_rgb: Linear RGB to XYZ of D50, the white of the profile connection space.
        curve: g, a, b, c, d of Y = (a X + b)^g above d and c X below (parametric type 3).
    """

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    def text(words: str) -> bytes:
        encoded = words.encode("utf-16-be")
        return (
            b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(encoded), 28) + encoded
        )

    tags = {
        b"desc": text(description),
        b"cprt": text("No copyright, use freely"),
        b"wtpt": b"XYZ " + bytes(4) + fixed(*D50_XYZ),
        b"chad": b"sf32" + bytes(4) + fixed(*D50_FROM_D65.ravel()),
    }
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz_from_rgb.T, strict=True):
        tags[name] = b"XYZ " + bytes(4) + fixed(*column)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(*curve)

    offset = 128 + 4 + 12 * len(tags)
    table, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", 0, b"\0" * 4, 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    header += _DATE + b"acsp" + bytes(28) + fixed(*D50_XYZ) + bytes(48)
    size = len(header) + len(table) + len(content)
    return struct.pack(">I", size) + header[4:] + table + content


SRGB = OutputSpace("sRGB", np.eye(3), srgb_encode, _srgb_profile())
DISPLAY_P3 = OutputSpace(
    "Display P3",
    _from_rec709(_XYZ_FROM_P3, np.eye(3)),
    srgb_encode,
    matrix_profile(
        "Display P3",
        D50_FROM_D65 @ _XYZ_FROM_P3,
        (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    ),
)
PROPHOTO = OutputSpace(
    "ProPhoto RGB",
    _from_rec709(_XYZ_FROM_ROMM, D50_FROM_D65),
    romm_encode,
    matrix_profile("ProPhoto RGB", _XYZ_FROM_ROMM, (1.8, 1.0, 0.0, 1 / 16, 1 / 32)),
)
SPACES = {"srgb": SRGB, "p3": DISPLAY_P3, "prophoto": PROPHOTO}
