from io import BytesIO

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from isp_env.contact_sheet import Pair, write_contact_sheet
from isp_env.dng import write_dng
from isp_env.fidelity import fidelity
from isp_env.photograph import camera_exif, srgb_profile, write_photograph
from isp_env.samples import NIKON_D750
from isp_env.simulation import Capture, simulate

RAMP = torch.linspace(0, 1, 48).view(3, 4, 4)


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
def test_profile_is_srgb(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    write_photograph(RAMP, path)
    if suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            profile = tiff.pages.first.iccprofile
    else:
        with Image.open(path) as picture:
            profile = picture.info["icc_profile"]
    assert isinstance(profile, bytes)
    assert profile == srgb_profile()
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))


def test_depths(tmp_path):
    write_photograph(RAMP, tmp_path / "a.png")
    write_photograph(RAMP, tmp_path / "a.tif")
    eight = np.asarray(Image.open(tmp_path / "a.png"))
    sixteen = tifffile.imread(tmp_path / "a.tif")
    expected = RAMP.permute(1, 2, 0).numpy()
    assert eight.dtype == np.uint8
    assert np.abs(eight / 255 - expected).max() <= 0.5 / 255 + 1e-6
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 65535 - expected).max() <= 0.5 / 65535 + 1e-6


def test_camera_exif_is_carried_over_with_orientation_reset(dng, tmp_path):
    write_photograph(RAMP, tmp_path / "a.jpg", camera_exif(dng))
    with Image.open(tmp_path / "a.jpg") as picture:
        exif = picture.getexif()
    assert exif[0x0112] == 1  # the DNG says 6; the pixels are upright
    assert exif[0x010F] == "Simulated"
    assert exif[0x0110] == NIKON_D750.name
    assert exif.get_ifd(0x8769)[0x8827] == 800


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
    with pytest.raises(ValueError, match=r"expected one of \.jpg, \.png, \.tif, got '\.bmp'"):
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
