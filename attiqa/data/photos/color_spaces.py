"""Colour spaces as curves and primaries, and their conversion to 8-bit sRGB by the full samples.

A space of this kind is described by the chunks of a PNG (cICP, sRGB, gAMA, cHRM: PNG specification,
third edition, section 4.3), by code points (ITU-T H.273), or by an ICC profile without tables of
colours (ICC.1:2022, sections 8.3.3 and 8.4.2). Conversion is relative colorimetric: white is white.
"""

import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from attiqa.errors import ImageFormatError

LEVELS = 65536
STRIP = 2**18
"""Pixels that are floating-point numbers at a time."""

D50 = np.array([0.9642, 1.0, 0.8249])
"""XYZ of white in profiles (ICC.1:2022, 7.2.16)."""

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Samples = UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue: the order of PNG's cHRM."""

D65 = (0.3127, 0.3290)
PRIMARIES: dict[int, Chromaticities] = {
    1: (*D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""Colour primaries by code point, H.273 table 2."""

SRGB_LIKE = (1, 2, 6, 13, 14, 15)
"""Transfer characteristics of H.273 that stand for display-referred video or sRGB: browsers show
those of BT.601, BT.709 and BT.2020 by sRGB's curve, too; 2 is unspecified."""

GAMMA_OF_SRGB = 0.45455
GAMMA_TOLERANCE = 0.02
GAMMAS = (0.1, 5.0)
"""Exponents of encodings that pictures have; beyond them, all but one end of the scale is lost."""


class DegenerateError(ValueError):
    """A profile can be read, but different colours come out the same."""


@dataclass(frozen=True, eq=False)
class ColorSpace:
    """What the codes of an image mean.

    Attributes:
        linear: Linear light in [0, 1] of each 16-bit code, for each channel or for all alike.
        to_srgb: Linear light to linear sRGB.
    """

    linear: Float[np.ndarray, "c 65536"]
    to_srgb: Float[np.ndarray, "3 3"]

    @cached_property
    def is_srgb(self) -> bool:
        """Whether no colour moves by more than one level of eight bits."""
        steps = np.arange(0, LEVELS, 257 * 15)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 1, 3)
        greys = np.repeat(np.arange(0, LEVELS, 257)[:, None, None], 3, axis=2)
        codes = np.concatenate([cube, greys]).astype(np.uint16)
        return bool(np.abs(self._converted(codes) - np.round(codes / 257)).max() <= 1)

    def convert(self, samples: Samples) -> UInt8[np.ndarray, "h w 3"]:
        """Convert to 8-bit sRGB; colours outside it are clipped.

        Args:
            samples: 8 or 16 bits, all used; RGB, or one channel of grey.
        """
        height, width, _ = samples.shape
        pixels = np.empty((height, width, 3), np.uint8)
        rows = max(1, STRIP // width)
        for top in range(0, height, rows):
            pixels[top : top + rows] = self._converted(samples[top : top + rows])
        return pixels

    def _converted(self, samples: Samples) -> UInt8[np.ndarray, "h w 3"]:
        if samples.dtype == np.uint8:
            samples = samples.astype(np.uint16) * np.uint16(257)
        if samples.shape[2] == 1:  # grey is neutral whatever the primaries are
            return np.repeat(encoded(self.linear[0])[samples], 3, axis=2)
        curves = np.broadcast_to(self.linear, (3, LEVELS)).astype(np.float32)
        light = np.stack([curve[samples[..., i]] for i, curve in enumerate(curves)], axis=-1)
        return encoded(light @ self.to_srgb.T.astype(np.float32))


def encoded(light: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Encode linear sRGB in 8 bits (IEC 61966-2-1); values outside [0, 1] are clipped."""
    return _encoding()[np.round(light.clip(0, 1) * (LEVELS - 1)).astype(np.uint16)]


@lru_cache(1)
def _encoding() -> UInt8[np.ndarray, " 65536"]:
    light = np.linspace(0, 1, LEVELS)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


def srgb_curve(codes: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Decode sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


@lru_cache(8)
def png_space(gamma: float | None, chromaticities: Chromaticities | None) -> ColorSpace:
    """Read gAMA and cHRM of a PNG without cICP, iCCP or sRGB.

    A gamma of 1/2.2 is what programs write that mean sRGB: it stands for sRGB's curve, as in
    browsers. Primaries without a gamma come with sRGB's curve, too.

    Args:
        gamma: Exponent of the encoding, such as 0.45455.
        chromaticities: As in cHRM.

    Raises:
        ValueError: No colours can be reproduced so.
    """
    codes = np.linspace(0, 1, LEVELS)
    if gamma is not None and not GAMMAS[0] <= gamma <= GAMMAS[1]:
        raise ValueError(f"gAMA {gamma:g}: expected an exponent from {GAMMAS[0]} to {GAMMAS[1]}")
    if gamma is None or abs(gamma / GAMMA_OF_SRGB - 1) <= GAMMA_TOLERANCE:
        linear = srgb_curve(codes)
    else:
        linear = codes ** (1 / gamma)
    return ColorSpace(linear[None], _to_srgb(chromaticities or PRIMARIES[1]))


@lru_cache(8)
def code_point_space(primaries: int, transfer: int, full_range: bool) -> ColorSpace:
    """Read code points of H.273, as PNG's cICP and the `nclx` box of AVIF and HEIF have them.

    Raises:
        ImageFormatError: High dynamic range, a narrow range, or unknown code points.
    """
    if transfer in (16, 18):
        raise ImageFormatError(
            f"high dynamic range ({'PQ' if transfer == 16 else 'HLG'}): expected a display-referred"
            " image of standard range; render it to sRGB first"
        )
    if not full_range:
        raise ImageFormatError("RGB of narrow range: expected the full range")
    if primaries != 2 and primaries not in PRIMARIES:
        raise ImageFormatError(f"colour primaries {primaries} are unknown")
    codes = np.linspace(0, 1, LEVELS)
    if transfer in SRGB_LIKE:
        linear = srgb_curve(codes)
    elif transfer in (4, 5, 8):
        linear = codes ** {4: 2.2, 5: 2.8, 8: 1.0}[transfer]
    else:
        raise ImageFormatError(f"transfer characteristics {transfer} are unknown")
    return ColorSpace(linear[None], _to_srgb(PRIMARIES[1 if primaries == 2 else primaries]))


def _to_srgb(chromaticities: Chromaticities) -> Float[np.ndarray, "3 3"]:
    """Compute the matrix from primaries; their white becomes sRGB's."""
    return np.linalg.solve(_to_d50(PRIMARIES[1]), _to_d50(chromaticities))


def _to_d50(chromaticities: Chromaticities) -> Float[np.ndarray, "3 3"]:
    """Compute linear RGB to XYZ, white adapted to D50 by Bradford's matrix."""
    xy = np.reshape(chromaticities, (4, 2))
    if not (np.isfinite(xy).all() and (xy[:, 1] > 0).all()):
        raise ValueError(f"chromaticities {chromaticities}: expected y above 0")
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in xy)
    columns = np.stack(primaries, axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError(f"chromaticities {chromaticities}: they lie on a line")
    matrix = columns * np.linalg.solve(columns, white)
    cones = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.solve(BRADFORD, cones @ BRADFORD @ matrix)


@lru_cache(8)
def icc_space(profile: bytes) -> ColorSpace | None:
    """Read a profile that consists of curves and primaries; None where it is of another kind.

    Its black becomes black, as Little CMS has it with black point compensation.

    Raises:
        ValueError: It is broken; a `DegenerateError` where its primaries lie on a line.
    """
    if len(profile) < 132:
        raise ValueError(f"{len(profile)} bytes are no profile")
    kind, connection = profile[16:20], profile[20:24]
    try:
        tags = _icc_tags(profile)
        if any(name[:3] in (b"A2B", b"D2B") for name in tags) or connection != b"XYZ ":
            return None
        if kind == b"GRAY":
            linear = _icc_curve(tags[b"kTRC"])[None]
            return ColorSpace(_from_black(linear, np.ones(1)), np.eye(3))
        if kind == b"RGB ":
            linear = np.stack([_icc_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
            columns = [_icc_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
            matrix = np.stack(columns, axis=1)
            if abs(np.linalg.det(matrix)) < 1e-6:
                raise DegenerateError("its primaries lie on a line")
            return ColorSpace(
                _from_black(linear, matrix[1]), np.linalg.solve(_to_d50(PRIMARIES[1]), matrix)
            )
    except (KeyError, struct.error, IndexError) as error:
        raise ValueError(f"the profile is broken: {error!r}") from error
    return None


def _from_black(
    linear: Float[np.ndarray, "c 65536"], luminance: Float[np.ndarray, " c"]
) -> Float[np.ndarray, "c 65536"]:
    """Stretch linear light so that the luminance of the darkest colour is 0."""
    black = min(luminance @ linear[:, 0], 0.18)  # L* 50: Little CMS takes no lighter black
    return (linear - black) / (1 - black)


def _icc_tags(profile: bytes) -> dict[bytes, bytes]:
    """List the tags of a profile (ICC.1:2022, 7.3)."""
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 200)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[offset : offset + size]
    return tags


def _icc_xyz(tag: bytes) -> Float[np.ndarray, " 3"]:
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _icc_curve(tag: bytes) -> Float[np.ndarray, " 65536"]:
    """Evaluate a curve of type `curv` or `para` (ICC.1:2022, 10.6 and 10.18) at all codes."""
    codes = np.linspace(0, 1, LEVELS)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return codes
        table = np.array(struct.unpack_from(f">{count}H", tag, 12))
        if count == 1:
            return codes ** (table[0] / 256)
        return np.interp(codes, np.linspace(0, 1, count), table / 65535)
    if tag[:4] != b"para":
        raise KeyError(tag[:4])
    (kind,) = struct.unpack_from(">H", tag, 8)
    g, *rest = np.array(struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)) / 65536
    a, b, c, d, e, f = {
        0: lambda: (1, 0, 0, -1, 0, 0),
        1: lambda: (*rest, 0, -rest[1] / rest[0], 0, 0),
        2: lambda: (*rest[:2], 0, -rest[1] / rest[0], rest[2], rest[2]),
        3: lambda: (*rest, 0, 0),
        4: lambda: tuple(rest),
    }[kind]()
    power = np.maximum(a * codes + b, 0) ** g + e
    return np.where(codes >= d, power, c * codes + f).clip(0, 1)
