from io import BytesIO

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, JpegImagePlugin

from isp_env.contact_sheet import Pair, write_contact_sheet
from isp_env.fidelity import fidelity
from isp_env.output_spaces import SPACES
from isp_env.photograph import camera_exif, write_photograph
from isp_env.raw.write_dng import write_dng
from isp_env.samples import NIKON_D750
from isp_env.simulation import Capture, simulate

RAMP = np.linspace(0, 255, 48).round().astype(np.uint8).reshape(4, 4, 3)
DEEP = np.linspace(0, 65535, 48).round().astype(np.uint16).reshape(4, 4, 3)


@pytest.fixture
def dng(tmp_path):
    raw, _ = simulate(
        np.full((3, 32, 48), 0.4),
        NIKON_D750,
        Capture(iso=800, orientation=6),
        np.random.default_rng(0),
    )
    write_dng(raw, tmp_path / "shot.dng")
    return tmp_path / "shot.dng"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize(("name", "space"), SPACES.items())
def test_profile_is_embedded(tmp_path, suffix, name, space):
    path = tmp_path / f"picture{suffix}"
    write_photograph(RAMP, path, space=space)
    if suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            profile = tiff.pages.first.iccprofile
    else:
        with Image.open(path) as picture:
            profile = picture.info["icc_profile"]
    assert isinstance(profile, bytes)
    assert profile == space.icc_profile
    described = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    assert space.name.split()[0] in described
    if suffix == ".jpg":
        with Image.open(path) as picture:
            assert picture.getexif().get_ifd(0x8769)[0xA001] == (1 if name == "srgb" else 65535)


def test_depths(tmp_path):
    write_photograph(RAMP, tmp_path / "a.png")
    write_photograph(RAMP, tmp_path / "b.tif")
    write_photograph(DEEP, tmp_path / "c.tiff")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), RAMP)
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), RAMP)
    assert np.array_equal(tifffile.imread(tmp_path / "c.tiff"), DEEP)
    with pytest.raises(ValueError, match="16 bits need one of"):
        write_photograph(DEEP, tmp_path / "d.jpg")


def test_jpeg_keeps_the_picture(tmp_path):
    smooth = np.linspace(0, 255, 64).round().astype(np.uint8)
    smooth = np.stack(
        [
            np.tile(smooth, (64, 1)),
            np.tile(smooth[:, None], (1, 64)),
            smooth[::-1] * np.ones((64, 1), np.uint8),
        ],
        -1,
    )
    for quality, subsampling in ((95, 2), (98, 0)):
        write_photograph(smooth, tmp_path / "a.jpg", quality=quality)
        with Image.open(tmp_path / "a.jpg") as picture:
            assert JpegImagePlugin.get_sampling(picture) == subsampling
            assert np.abs(np.asarray(picture).astype(int) - smooth).mean() < 1.5


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_camera_exif_is_carried_over_with_orientation_reset(dng, tmp_path, suffix):
    exif = camera_exif(dng)
    gps = {1: "N", 2: (47.0, 22.0, 30.5)}
    exif.get_ifd(0x8825).update(gps)
    write_photograph(RAMP, tmp_path / f"a{suffix}", exif=exif)
    with Image.open(tmp_path / f"a{suffix}") as picture:
        exif = picture.getexif()
        np.testing.assert_array_equal(np.asarray(picture).shape, RAMP.shape)
    assert exif.get(0x0112, 1) == 1  # the DNG says 6; the pixels are upright
    assert exif.get_ifd(0x8825) == gps
    assert exif[0x010F] == "Simulated"
    assert exif[0x0110] == NIKON_D750.name
    ifd = exif.get_ifd(0x8769)
    assert ifd[0x8827] == 800
    assert (ifd[0xA002], ifd[0xA003]) == (4, 4)  # ExifImageWidth and Height


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_text_outside_ascii_is_carried_over(write_tagged, take, tmp_path, suffix, encoding):
    name = "© 2024 José"
    stored = name.encode(encoding)
    path = write_tagged(take(), (33432, "s", 0, "X" * len(stored), True))
    path.write_bytes(path.read_bytes().replace(b"X" * len(stored), stored))
    exif = camera_exif(path)
    assert exif[0x8298] == name
    write_photograph(RAMP, tmp_path / f"a{suffix}", exif=exif)
    with Image.open(tmp_path / f"a{suffix}") as picture:
        assert picture.getexif()[0x8298] == "? 2024 Jos?"


@pytest.mark.parametrize(
    ("date", "kept"),
    [
        ("2024:05:06 07:08:09", True),
        ("    :  :     :  :  ", False),
        ("0000", False),
        ("2024-05-06T07:08:09Z", False),
        ("2024:05:06 07h08:09é", False),
    ],
)
def test_a_tiff_has_a_date_where_the_camera_knows_it(tmp_path, date, kept):
    exif = camera_exif(None)
    exif[0x0132] = date
    write_photograph(DEEP, tmp_path / "a.tif", exif=exif)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        assert (306 in tags) == kept
        assert not kept or tags[306].value == date


def test_unreadable_exif_is_left_out(tmp_path, caplog):
    (tmp_path / "broken.dng").write_bytes(b"II*\0" + b"\xff" * 40)
    exif = camera_exif(tmp_path / "broken.dng")
    assert exif[0x0112] == 1
    assert 0x010F not in exif


def test_same_picture_same_bytes(tmp_path):
    for name in "ab":
        write_photograph(RAMP, tmp_path / f"{name}.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_unknown_suffix_leaves_no_file(tmp_path):
    with pytest.raises(
        ValueError, match=r"expected one of \.jpg, \.jpeg, \.png, \.tif, \.tiff, got '\.bmp'"
    ):
        write_photograph(RAMP, tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())


def test_contact_sheet(tmp_path):
    red, blue = torch.zeros(3, 20, 30), torch.zeros(3, 20, 30)
    red[0], blue[2] = 1, 1
    write_contact_sheet(
        [Pair(red, blue, "scene", ("a", "b"))] * 3, tmp_path / "sheet.png", 2, side=60
    )
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[2] == 3
    assert (sheet == (255, 0, 0)).all(-1).sum() == 3 * 30 * 20
    assert (sheet == (0, 0, 255)).all(-1).sum() == 3 * 30 * 20


def test_fidelity():
    grey = torch.full((3, 32, 32), 0.5)
    same = fidelity(grey, grey + 1e-5)
    assert same["ciede2000"] == pytest.approx(0, abs=1e-2)
    assert same["ssim"] == pytest.approx(1)
    assert fidelity(grey + 0.1, grey)["psnr"] == pytest.approx(20, abs=1e-4)
