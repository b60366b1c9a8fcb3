"""Profiles of three primaries against littleCMS."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from isp_env.color.icc_profile import ProfileError, parse_matrix_profile
from isp_env.color.output_spaces import D50_FROM_D65, DISPLAY_P3, PROPHOTO
from isp_env.color.rgb import XYZ_FROM_REC709


def with_curves(profile: bytes, curve: bytes) -> bytes:
    """The same profile with other tone curves, appended."""
    (count,) = struct.unpack_from(">I", profile, 128)
    table = bytearray(profile[: 132 + 12 * count])
    for i in range(count):
        if profile[132 + 12 * i : 136 + 12 * i] in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">II", table, 136 + 12 * i, len(profile), len(curve))
    whole = bytes(table) + profile[len(table) :] + curve + bytes(-len(curve) % 4)
    return struct.pack(">I", len(whole)) + whole[4:]


def curv(*numbers: int) -> bytes:
    return b"curv" + struct.pack(f">II{len(numbers)}H", 0, len(numbers), *numbers)


def para(kind: int, *numbers: float) -> bytes:
    fixed = (round(number * 65536) for number in numbers)
    return b"para" + struct.pack(f">IHH{len(numbers)}i", 0, kind, 0, *fixed)


CURVES = {
    "identity": curv(),
    "gamma of Adobe's ProPhoto": curv(461),  # 1.80078125
    "table": curv(*(round(65535 * (i / 20) ** 2.1) for i in range(21))),
    "power": para(0, 1.8),
    "CIE 122": para(1, 2.0, 0.9, 0.1),
    "IEC 61966-3": para(2, 2.0, 0.8, 0.1, 0.05),
    "sRGB": para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "all seven": para(4, 2.2, 0.85, 0.05, 0.3, 0.2, 0.04, 0.01),
}


def by_littlecms(profile: bytes, pixels: np.ndarray) -> np.ndarray:
    found = ImageCms.profileToProfile(
        Image.fromarray(pixels[None]),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert found is not None
    return np.asarray(found)[0].astype(float)


def srgb(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("space", [PROPHOTO, DISPLAY_P3], ids=lambda space: space.name)
def test_colors_as_littlecms_finds_them(space, curve):
    profile = with_curves(space.icc_profile, curve)
    pixels = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    parsed = parse_matrix_profile(profile)
    linear = np.stack([parsed.linear[c, pixels[:, c].astype(int) * 257] for c in range(3)])
    rec709 = np.linalg.inv(D50_FROM_D65 @ XYZ_FROM_REC709) @ parsed.xyz_from_linear @ linear
    error = np.abs(srgb(rec709).T * 255 - by_littlecms(profile, pixels))
    assert error.mean() < 0.5
    assert error.max() < 3


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        (b"", "not an ICC profile"),
        (PROPHOTO.icc_profile[:200], "damaged|no tag"),
        (PROPHOTO.icc_profile.replace(b"gTRC", b"gXXX"), "no tag b'gTRC'"),
        (PROPHOTO.icc_profile.replace(b"RGB ", b"CMYK"), "CMYK"),
        (with_curves(PROPHOTO.icc_profile, b"mft1" + bytes(20)), "mft1"),
        (with_curves(PROPHOTO.icc_profile, para(9, 1.0)), "damaged"),
    ],
)
def test_what_is_refused(profile, reason):
    with pytest.raises(ProfileError, match=reason):
        parse_matrix_profile(profile)
