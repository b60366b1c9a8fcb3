"""ICC profiles of three primaries and their curves: encoded RGB to linear light.

ICC.1:2022, sections 9.2 (tags), 10.6 (curveType) and 10.18 (parametricCurveType); "mft1" and its
like, profiles with look-up tables, are not read. Pillow's littleCMS has no 16-bit RGB.
"""

import struct
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from isp_env.errors import IspEnvError

LEVELS = 65536
# parametricCurveType, numbers of each function type: (a x + b)^g + e from x = d on, below c x + f
PARAMETERS = ("g", "gab", "gabe", "gabcd", "gabcdef")


class ProfileError(IspEnvError):
    """Bytes that are no ICC profile of three primaries and curves."""


@dataclass(frozen=True, eq=False)
class MatrixProfile:
    """An RGB colour space by its profile.

    Attributes:
        xyz_from_linear: Linear RGB to XYZ of D50, the white of the profile connection space.
        linear: Linear light of each 16-bit level, for R, G and B.
    """

    xyz_from_linear: Float[np.ndarray, "3 3"]
    linear: Float32[np.ndarray, "3 65536"]


def parse_matrix_profile(profile: bytes) -> MatrixProfile:
    """Read a profile.

    Raises:
        ProfileError: It is damaged, or not of this kind.
    """
    try:
        if profile[36:40] != b"acsp":
            raise ProfileError("not an ICC profile")
        if profile[16:20] != b"RGB ":
            raise ProfileError(f"a profile of {profile[16:20]!r}, not of RGB")
        tags = _tags(profile)
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    except KeyError as error:
        raise ProfileError(f"the profile has no tag {error.args[0]!r}") from error
    except (struct.error, ValueError, IndexError) as error:
        raise ProfileError(f"a damaged profile: {error}") from error
    return MatrixProfile(np.array(columns).T, np.stack(curves).astype(np.float32))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(count)]
    return {name: profile[offset : offset + size] for name, offset, size in entries}


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(number / 65536 for number in struct.unpack_from(">3i", tag, 8))


def _curve(tag: bytes) -> np.ndarray:
    """Return linear light of each level."""
    levels = np.linspace(0, 1, LEVELS)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return levels
        numbers = np.array(struct.unpack_from(f">{count}H", tag, 12))
        if count == 1:
            return levels ** (numbers[0] / 256)  # u8Fixed8Number
        return np.interp(levels, np.linspace(0, 1, count), numbers / 65535)
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        names = PARAMETERS[kind]
        numbers = struct.unpack_from(f">{len(names)}i", tag, 12)
        return _parametric(levels, dict(zip(names, np.array(numbers) / 65536, strict=True)))
    raise ProfileError(f"a curve of type {tag[:4]!r}")


def _parametric(x: np.ndarray, given: dict[str, float]) -> np.ndarray:
    given = {"a": 1.0, "b": 0.0, "c": 0.0, "e": 0.0} | given
    g, a, b, c, e = (given[name] for name in "gabce")
    start = given.get("d", -b / a)
    # of types 0 to 2 the curve is constant below its start
    below = c * x + given.get("f", e)
    return np.where(x >= start, np.maximum(a * x + b, 0) ** g + e, below)
