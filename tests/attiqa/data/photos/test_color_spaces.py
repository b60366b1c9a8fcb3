"""Colours that files state: PNG chunks, code points and ICC profiles, against their formulas."""

import logging
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from attiqa.data.photos.code_points import code_points
from attiqa.data.photos.color_profiles import profile_to_srgb
from attiqa.data.photos.color_spaces import code_point_space, icc_space, png_space
from attiqa.data.photos.decoding import read_photo
from attiqa.errors import ImageFileError, ImageFormatError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
P3_TO_SRGB = np.array(
    [
        [1.2249401762805598, -0.22494017628055996, 0.0],
        [-0.042056954709688163, 1.0420569547096881, 0.0],
        [-0.019637554590334432, -0.078636045550631889, 1.0982736001409663],
    ]
)
"""Of linear light; the product of the matrices in CSS Color 4, section 17."""


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def primaries(values: tuple[float, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


def icc(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))


def cicp(*points: int) -> bytes:
    return chunk(b"cICP", bytes(points))


SRGB_CHUNK = chunk(b"sRGB", b"\0")


def png(samples: np.ndarray, *chunks: bytes) -> bytes:
    """Write samples of 8 or 16 bits; no encoder that is under test takes part."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = 8 * samples.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    order = ">u2" if depth == 16 else "u1"
    rows = b"".join(b"\0" + row.astype(order).tobytes() for row in samples)
    parts = chunk(b"IHDR", header) + b"".join(chunks)
    return SIGNATURE + parts + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, in levels of eight bits."""
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def decoded(codes: np.ndarray) -> np.ndarray:
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def samples(channels: int, dtype: type) -> np.ndarray:
    full = np.iinfo(dtype).max
    values = np.linspace(0, full, 60 * 90 * channels).reshape(60, 90, channels)
    return np.round(values).astype(dtype)[::-1, ::-1]


def saved(path, *content) -> np.ndarray:
    path.write_bytes(png(*content))
    return read_photo(path).astype(float)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("exponent", [1.0, 0.7, 1 / 1.8, 0.3])
def test_the_gamma_of_a_png(tmp_path, dtype, channels, exponent):
    stored = samples(channels, dtype)
    if channels in (2, 4):
        stored[..., -1] = np.iinfo(dtype).max
    found = saved(tmp_path / "a.png", stored, gamma(exponent))
    colors = stored[..., : 3 if channels > 2 else 1] / np.iinfo(dtype).max
    assert np.abs(found - encoded(colors ** (1 / round(exponent, 5)))).max() <= 0.6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "chunks",
    [
        (gamma(0.45455),),
        (gamma(0.45),),
        (gamma(0.4545), primaries(SRGB_PRIMARIES)),
        (primaries(SRGB_PRIMARIES),),
        (SRGB_CHUNK, gamma(1.0)),
        (gamma(1.0), SRGB_CHUNK, primaries(DISPLAY_P3)),
        (cicp(1, 13, 0, 1), gamma(1.0)),
        (cicp(1, 1, 0, 1),),
    ],
)
def test_what_stands_for_srgb_changes_nothing(tmp_path, dtype, chunks):
    stored = samples(3, dtype)
    expected = np.round(stored / (np.iinfo(dtype).max / 255))
    assert np.array_equal(saved(tmp_path / "a.png", stored, *chunks), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "chunks",
    [(primaries(DISPLAY_P3),), (gamma(0.45455), primaries(DISPLAY_P3)), (cicp(12, 13, 0, 1),)],
)
def test_the_primaries_of_a_png(tmp_path, dtype, chunks):
    full = np.iinfo(dtype).max
    stored = np.round(np.random.default_rng(0).random((40, 50, 3)) * full).astype(dtype)
    expected = encoded(decoded(stored / full) @ P3_TO_SRGB.T)
    assert np.abs(saved(tmp_path / "a.png", stored, *chunks) - expected).max() <= 0.8


def test_the_first_of_cicp_profile_srgb_gamma_counts(tmp_path, linear_profile):
    stored = np.full((8, 8, 3), 100, np.uint8)
    ascending = [gamma(0.7), SRGB_CHUNK, icc(linear_profile), cicp(1, 4, 0, 1)]
    light = 100 / 255
    expected = [light ** (1 / 0.7), decoded(np.array(light)), light, light**2.2]
    for count, value in enumerate(expected, 1):
        found = saved(tmp_path / "a.png", stored, *ascending[:count])
        assert np.abs(found - encoded(np.array(value))).max() <= 0.6


def test_gamma_of_a_palette_and_of_a_transparent_colour(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 30, 10, 0, 0, 255])
    image.putpixel((3, 3), 1)
    buffer = BytesIO()
    image.save(buffer, "PNG", transparency=1)
    content = buffer.getvalue()
    (tmp_path / "a.png").write_bytes(content[:33] + gamma(1.0) + content[33:])
    found = read_photo(tmp_path / "a.png")
    assert np.abs(found[0, 0] - encoded(np.array([200, 30, 10]) / 255)).max() <= 0.6
    assert found[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("chunks", [(), (gamma(1.0),)])
def test_a_transparent_colour_of_16_bits_is_white(tmp_path, channels, chunks):
    stored = samples(channels, np.uint16)
    stored[5, 7] = 30_001
    key = chunk(b"tRNS", struct.pack(f">{channels}H", *[30_001] * channels))
    found = saved(tmp_path / "a.png", stored, *chunks, key)
    assert found[5, 7].tolist() == [255, 255, 255]
    assert found.min() < 10


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_refused(tmp_path, transfer):
    with pytest.raises(ImageFileError, match=r"a\.png: .*high dynamic range \((PQ|HLG)\)"):
        saved(tmp_path / "a.png", samples(3, np.uint8), cicp(9, transfer, 0, 1))


@pytest.mark.parametrize("points", [(99, 13, True), (1, 99, True), (1, 13, False)])
def test_unknown_code_points_are_refused(points):
    with pytest.raises(ImageFormatError):
        code_point_space(*points)


@pytest.mark.parametrize(
    "chunks", [(primaries((0.3, 0.0, 0.6, 0.3, 0.3, 0.6, 0.1, 0.1)),), (primaries((0.3,) * 8),)]
)
def test_impossible_primaries_are_ignored_with_a_warning(tmp_path, caplog, chunks):
    stored = samples(3, np.uint8)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(saved(tmp_path / "a.png", stored, *chunks), stored)
    assert "a.png: the colours that the file states are ignored" in caplog.text


BROKEN_ICC = chunk(b"iCCP", b"name\0\0no zlib stream")
ZERO_PRIMARIES = primaries((0.0,) * 8)


@pytest.mark.parametrize(
    ("chunks", "counts"),
    [
        ([BROKEN_ICC, gamma(1.0)], [gamma(1.0)]),
        ([BROKEN_ICC, gamma(1.0), primaries(DISPLAY_P3)], [gamma(1.0), primaries(DISPLAY_P3)]),
        ([gamma(1.0), ZERO_PRIMARIES], [gamma(1.0)]),
        ([gamma(0.01), primaries(DISPLAY_P3)], [primaries(DISPLAY_P3)]),
        ([gamma(9.0)], []),
        ([gamma(0.0)], []),
        ([BROKEN_ICC], []),
        ([BROKEN_ICC, ZERO_PRIMARIES], []),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_unusable_chunk_does_not_hide_the_others(tmp_path, caplog, dtype, chunks, counts):
    stored = samples(3, dtype)
    expected = saved(tmp_path / "b.png", stored, *counts)
    assert not caplog.text
    assert np.array_equal(saved(tmp_path / "a.png", stored, *chunks), expected)
    assert "a.png" in caplog.text
    assert "ignored" in caplog.text


@pytest.mark.parametrize("colorants", [("rXYZ",), ("rXYZ", "gXYZ", "bXYZ")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_profile_without_colours_is_ignored(tmp_path, caplog, dtype, colorants):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for name in colorants:
        entry = profile.index(name.encode(), 128)
        (offset,) = struct.unpack_from(">I", profile, entry + 4)
        profile[offset + 8 : offset + 20] = bytes(12)
    stored = samples(3, dtype)
    expected = saved(tmp_path / "b.png", stored)
    assert np.array_equal(saved(tmp_path / "a.png", stored, icc(bytes(profile))), expected)
    assert "a.png: the embedded colour profile is ignored" in caplog.text


@pytest.mark.parametrize("point", [b"\0\1\0\4\0\0\x80", b"\0\x0c\0\x0d\0\0\x80"])
def test_code_points_of_avif(tmp_path, point):
    """Pillow decodes the pixels and does not tell what they mean."""
    Image.new("RGB", (32, 32), (55, 128, 200)).save(tmp_path / "a.avif", quality=100)
    content = (tmp_path / "a.avif").read_bytes()
    start = content.index(b"colrnclx") + 8
    (tmp_path / "a.avif").write_bytes(content[:start] + point[:4] + content[start + 4 :])
    light = np.array([55, 128, 200]) / 255
    expected = light**2.2 if point[3] == 4 else decoded(light) @ P3_TO_SRGB.T
    assert np.abs(read_photo(tmp_path / "a.avif") - encoded(expected)).max() <= 4


@pytest.mark.parametrize(
    "content", [b"\0\0\0\x0cftypavif" + b"\xff" * 40, b"\0\0\0\0ftyp", SIGNATURE + b"\xff" * 9, b""]
)
def test_broken_boxes_have_no_code_points(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as file:
        assert code_points(file) is None
        assert file.tell() == 0


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def parametric(kind: int, *numbers: float) -> bytes:
    values = (round(number * 65536) for number in numbers)
    return b"para" + bytes(4) + struct.pack(f">HH{len(numbers)}i", kind, 0, *values)


def table(values: np.ndarray) -> bytes:
    codes = np.round(values * 65535).astype(">u2").tobytes()
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + codes


STEPS = np.linspace(0, 1, 1024)
CURVES = [
    (parametric(0, 1.8), lambda v: v**1.8),
    (parametric(1, 2.0, 0.9, 0.1), lambda v: (0.9 * v + 0.1) ** 2),
    (parametric(2, 2.0, 0.8, 0.1, 0.05), lambda v: (0.8 * v + 0.1) ** 2 + 0.05),
    (
        parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        decoded,
    ),
    (
        parametric(4, 2.0, 0.9, 0.0, 0.1, 0.1, 0.02, 0.0181),
        lambda v: np.where(v >= 0.1, (0.9 * v) ** 2 + 0.02, 0.1 * v + 0.0181),
    ),
    (b"curv" + bytes(4) + struct.pack(">IH", 1, 461), lambda v: v ** (461 / 256)),
    (table(STEPS**2.2), lambda v: v**2.2),
]


def with_curve(tag: bytes) -> bytes:
    """The primaries of sRGB with another tone curve, appended to the file."""
    profile = bytearray(srgb_profile())
    offset = len(profile)
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(count):
        if bytes(profile[132 + 12 * entry :][:4]) in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">II", profile, 136 + 12 * entry, offset, len(tag))
    profile += tag + bytes(-len(tag) % 4)
    struct.pack_into(">I", profile, 0, len(profile))
    return bytes(profile)


@pytest.mark.parametrize(("tag", "curve"), CURVES)
def test_curves_of_profiles(tag, curve):
    space = icc_space(with_curve(tag))
    assert space is not None
    light = curve(np.linspace(0, 1, 65536))
    stretched = (light - light[0]) / (1 - light[0])  # black point compensation
    assert np.abs(space.linear - stretched).max() <= 2e-4
    assert np.abs(space.to_srgb - np.eye(3)).max() <= 2e-3


@pytest.mark.parametrize(("tag", "curve"), CURVES)
def test_profiles_at_16_bits_agree_with_little_cms_at_8(tag, curve):
    profile = with_curve(tag)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    space = icc_space(profile)
    assert space is not None
    other = np.asarray(profile_to_srgb(Image.fromarray(pixels), profile, "a"))
    found = space.convert(pixels.astype(np.uint16) * np.uint16(257))
    assert np.abs(found.astype(int) - other).max() <= 2


@pytest.mark.parametrize("content", [b"", b"no profile", srgb_profile()[:140]])
def test_a_broken_profile_is_no_space(content):
    with pytest.raises(ValueError, match="profile"):
        icc_space(content)


def test_a_linear_profile_that_is_called_srgb_is_converted(tmp_path, linear_profile):
    assert ImageCms.getProfileDescription(
        ImageCms.ImageCmsProfile(BytesIO(linear_profile))
    ).startswith("sRGB")
    stored = samples(3, np.uint8)
    found = saved(tmp_path / "a.png", stored, icc(linear_profile))
    assert np.abs(found - encoded(stored / 255)).max() <= 1.1
    buffer = BytesIO()
    Image.new("RGB", (16, 16), (60, 60, 60)).save(buffer, "JPEG", icc_profile=linear_profile)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert np.abs(read_photo(tmp_path / "a.jpg") - encoded(np.array(60 / 255))).max() <= 2


def test_grey_profiles_decide_too(tmp_path, linear_grey_profile):
    stored = samples(1, np.uint8)
    image = Image.fromarray(stored[..., 0])
    image.save(tmp_path / "a.png", icc_profile=linear_grey_profile)
    assert np.abs(read_photo(tmp_path / "a.png") - encoded(stored / 255)).max() <= 1.1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tag", [CURVES[3][0], table(decoded(STEPS))])
def test_true_srgb_profiles_leave_pixels_alone(tmp_path, dtype, tag):
    stored = samples(3, dtype)
    expected = np.round(stored / (np.iinfo(dtype).max / 255))
    found = saved(tmp_path / "a.png", stored, icc(with_curve(tag)))
    assert np.array_equal(found, expected)


def test_gamma_decides_within_its_tolerance():
    assert png_space(0.4545, None).is_srgb
    assert not png_space(0.5, None).is_srgb
    assert not png_space(0.41, None).is_srgb


@pytest.mark.data
def test_the_reported_pictures(data):
    folder = data / "faults" / "images"
    reference = read_photo(folder / "unlisted" / "00_ref.png").astype(int)
    for name in ("40_rgb16_linear_gama.png", "41_linear_icc_elle_name.png"):
        difference = np.abs(read_photo(folder / name) - reference)
        assert difference.max() <= 8  # the second one stores shadows in few levels
        assert difference.mean() <= 1
