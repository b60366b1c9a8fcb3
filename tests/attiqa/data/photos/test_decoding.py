import logging
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from attiqa.data.photos.decoding import read_photo, rgb_pixels
from attiqa.errors import ImageFileError, ImageFormatError

RED = (200, 30, 10)


def png(samples: np.ndarray) -> bytes:
    """A 16-bit PNG written by hand: no decoder that is under test takes part."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def ramp(channels: int) -> np.ndarray:
    """All 65,536 levels in each channel."""
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    return np.stack([np.roll(levels, 9 * channel) for channel in range(channels)], axis=2)


def assert_rounded(found: np.ndarray, samples: np.ndarray) -> None:
    exact = samples / 65535 * 255
    assert np.abs(found.astype(float) - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_in_png(tmp_path, channels):
    samples = ramp(channels)
    (tmp_path / "a.png").write_bytes(png(samples))
    assert_rounded(read_photo(tmp_path / "a.png"), samples)


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bits_and_alpha_in_png(tmp_path, channels):
    samples = ramp(channels)
    samples[..., -1] = 65535
    samples[:16, :, -1] = 0
    (tmp_path / "a.png").write_bytes(png(samples))
    found = read_photo(tmp_path / "a.png")
    assert (found[:16] == 255).all()
    assert_rounded(found[16:], samples[16:, :, :-1])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_in_tiff_upright(tmp_path, channels, compression):
    samples = ramp(channels)[:100].squeeze()
    if channels == 4:
        samples[..., 3] = 65535
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples,
        photometric="minisblack" if channels == 1 else "rgb",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression=compression,
        extratags=[(0x0112, "H", 1, 6, True)],  # orientation: rotate clockwise to show
    )
    expected = np.rot90(samples.reshape(100, 256, channels), -1)
    assert_rounded(read_photo(tmp_path / "a.tif"), expected[..., :3])


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_in_tiff_of_either_byte_order(tmp_path, order):
    tifffile.imwrite(
        tmp_path / "a.tif", ramp(3), photometric="rgb", byteorder=order, rowsperstrip=9
    )
    assert_rounded(read_photo(tmp_path / "a.tif"), ramp(3))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("channels", "extra"), [(1, None), (3, None), (4, "unassalpha"), (4, "unspecified")]
)
def test_16_bits_in_a_tiff_of_planes(tmp_path, channels, extra, orientation):
    samples = ramp(channels)[:100]
    if extra:
        samples[..., 3] = 65535
        samples[:16, :, 3] = 0
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.ascontiguousarray(np.moveaxis(samples, 2, 0)).squeeze(),
        photometric="minisblack" if channels == 1 else "rgb",
        planarconfig=None if channels == 1 else "separate",
        extrasamples=[extra] if extra else None,
        extratags=[(0x0112, "H", 1, orientation, True)]
        + ([(0x011C, "H", 1, 2, True)] if channels == 1 else []),
    )
    found = read_photo(tmp_path / "a.tif")
    if orientation == 6:  # rotate clockwise to show
        found = np.rot90(found)
    start = 16 if extra == "unassalpha" else 0
    assert (found[:start] == 255).all()
    assert_rounded(found[start:], samples[start:, :, :3])


@pytest.mark.parametrize("planes", [False, True])
def test_the_profile_of_a_16_bit_tiff_is_used(tmp_path, planes):
    samples = np.full((40, 40, 3), (55 * 257, 128 * 257, 65535), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.ascontiguousarray(np.moveaxis(samples, 2, 0)) if planes else samples,
        photometric="rgb",
        planarconfig="separate" if planes else "contig",
        iccprofile=linear_profile(),
    )
    expected = 255 * (1.055 * (np.array([55, 128, 255]) / 255) ** (1 / 2.4) - 0.055)
    assert np.abs(read_photo(tmp_path / "a.tif")[0, 0] - expected).max() <= 2  # IEC 61966-2-1


def test_floating_point_tiff(tmp_path):
    values = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.abs(read_photo(tmp_path / "a.tif") - 255 * values[..., None]).max() <= 0.51
    for bad in (values * 2, values * np.nan):
        Image.fromarray(bad).save(tmp_path / "bad.tif")
        with pytest.raises(ImageFileError, match=r"bad\.tif: .*floats in \[0, 1\]"):
            read_photo(tmp_path / "bad.tif")


def test_32_bit_integers_are_refused():
    with pytest.raises(ImageFormatError, match="int32"):
        rgb_pixels(Image.new("I", (8, 8), 70000))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(tmp_path, photo, orientation):
    upright = photo[:100, :140]
    turns = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: x.swapaxes(0, 1),
        6: np.rot90,  # counterclockwise
        7: lambda x: np.rot90(x.swapaxes(0, 1), 2),
        8: lambda x: np.rot90(x, -1),
    }  # how a camera that is held so stores the scene
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turns[orientation](upright))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_photo(tmp_path / "a.png"), upright)


@pytest.mark.parametrize(
    ("image", "color"),
    [
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.new("L", (8, 8), 77), (77, 77, 77)),
        (Image.new("LA", (8, 8), (0, 51)), (204, 204, 204)),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 51)), (255, 204, 204)),
        (Image.new("RGBA", (8, 8), (*RED, 255)), RED),
        (Image.new("P", (8, 8), 0), (0, 0, 0)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("I;16", (8, 8), 257 * 99), (99, 99, 99)),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_modes(image, color):
    assert rgb_pixels(image).tolist() == np.full((8, 8, 3), color).tolist()


def test_a_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, 0, 0, 255])
    image.putpixel((3, 3), 1)
    image.save(tmp_path / "a.png", transparency=0)
    found = read_photo(tmp_path / "a.png")
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[3, 3].tolist() == [0, 0, 255]


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_photo(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 6


def test_the_first_frame_of_an_animation(tmp_path):
    first, second = Image.new("RGB", (40, 40), RED), Image.new("RGB", (40, 40), "blue")
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=[second], lossless=True)
        assert (read_photo(tmp_path / name) == RED).all()


def linear_profile() -> bytes:
    """sRGB's own profile with every tone curve replaced by the identity (ICC `curv`, count 0)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = profile.replace(b"s\0R\0G\0B", b"m\0i\0n\0e")
    count = struct.unpack(">I", profile[128:132])[0]
    for entry in range(count):
        name, offset, _ = struct.unpack(">4sII", profile[132 + 12 * entry : 144 + 12 * entry])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            profile[offset : offset + 12] = b"curv" + bytes(8)
            profile[140 + 12 * entry : 144 + 12 * entry] = struct.pack(">I", 12)
    return bytes(profile)


def test_another_profile_is_converted_to_srgb(tmp_path):
    Image.new("RGB", (40, 40), (55, 128, 255)).save(
        tmp_path / "a.png", icc_profile=linear_profile()
    )
    found = read_photo(tmp_path / "a.png")[0, 0]
    expected = 255 * (1.055 * (np.array([55, 128, 255]) / 255) ** (1 / 2.4) - 0.055)
    assert np.abs(found - expected).max() <= 2  # IEC 61966-2-1


def test_the_srgb_profile_changes_nothing(tmp_path, photo):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(read_photo(tmp_path / "a.png"), photo)


def test_a_broken_profile_is_ignored_with_a_warning(tmp_path, photo, caplog):
    Image.fromarray(photo).save(tmp_path / "a.png", icc_profile=b"not a profile")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_photo(tmp_path / "a.png"), photo)
    assert "a.png: the embedded colour profile is ignored" in caplog.text


def test_photographs_beyond_half_of_the_limit_are_read_and_beyond_it_refused(tmp_path, monkeypatch):
    Image.new("RGB", (100, 100), RED).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    assert read_photo(tmp_path / "a.png").shape == (100, 100, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(ImageFileError, match=r"a\.png: .*exceeds limit of 8000"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_broken_files_are_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"bad\.png"):
        read_photo(tmp_path / "bad.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_a_truncated_photo_is_an_error(tmp_path, photo, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(ImageFileError, match="a"):
        read_photo(path)


def test_a_truncated_16_bit_photo_is_an_error(tmp_path):
    content = png(np.random.default_rng(0).integers(0, 65536, (90, 90, 3)).astype(np.uint16))
    (tmp_path / "a.png").write_bytes(content[: len(content) // 3])
    with pytest.raises(ImageFileError, match=r"a\.png"):
        read_photo(tmp_path / "a.png")
