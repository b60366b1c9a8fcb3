import json
import shutil
import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, JpegImagePlugin

from agents.evaluation.fidelity import fidelity
from experiments.contact_sheet import Pair, thumbnail, write_contact_sheet
from isp_env.color.output_spaces import SPACES
from isp_env.raw.exif.fields import CameraExif, Field, Kind
from isp_env.raw.write_dng import write_dng
from isp_env.render.photograph import PictureTooLargeError, camera_exif, write_photograph
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate

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


def text_of(path, tag) -> str:
    """Pillow reads text as Latin-1."""
    with Image.open(path) as picture:
        return picture.getexif()[tag].encode("latin-1").decode()


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
    gps = {
        1: Field.text("N"),
        2: Field.numbers(Kind.RATIONAL, (47, 1), (22, 1), (61, 2)),
    }
    exif = replace(camera_exif(dng), gps=gps)
    assert write_photograph(RAMP, tmp_path / f"a{suffix}", exif=exif) == ()
    with Image.open(tmp_path / f"a{suffix}") as picture:
        exif = picture.getexif()
        np.testing.assert_array_equal(np.asarray(picture).shape, RAMP.shape)
    assert exif.get(0x0112, 1) == 1  # the DNG says 6; the pixels are upright
    assert exif.get_ifd(0x8825) == {1: "N", 2: (47.0, 22.0, 30.5)}
    assert exif[0x010F] == "Simulated"
    assert exif[0x0110] == NIKON_D750.name
    ifd = exif.get_ifd(0x8769)
    assert ifd[0x8827] == 800
    assert (ifd[0xA002], ifd[0xA003]) == (4, 4)  # ExifImageWidth and Height


def test_a_jpeg_holds_what_it_can_of_long_texts(tmp_path):
    """A segment of a JPEG file has 65,533 bytes; PNG and TIFF have no such limit."""
    texts = {315: "ü" * 20_000, 270: "x" * 50_000, 272: "camera"}
    exif = CameraExif({tag: Field.text(said) for tag, said in texts.items()})
    for suffix in (".png", ".tif"):
        assert write_photograph(RAMP, tmp_path / f"a{suffix}", exif=exif) == ()
        assert text_of(tmp_path / f"a{suffix}", 270) == texts[270]
    (note,) = write_photograph(RAMP, tmp_path / "a.jpg", exif=exif)
    assert "ImageDescription of 50000 bytes shortened to" in note
    assert text_of(tmp_path / "a.jpg", 272) == "camera"
    assert text_of(tmp_path / "a.jpg", 315) == texts[315]
    kept = text_of(tmp_path / "a.jpg", 270)
    assert texts[270].startswith(kept)
    assert 25_000 < len(kept) < 26_000


def test_several_long_texts_are_shortened_one_after_the_other(tmp_path):
    texts = {315: "ü" * 40_000, 270: "é" * 50_000, 33432: "y" * 65_000}
    exif = CameraExif({tag: Field.text(said) for tag, said in texts.items()})
    notes = write_photograph(RAMP, tmp_path / "a.jpg", exif=exif)
    assert ["left out" in note for note in notes] == [True, False]
    assert text_of(tmp_path / "a.jpg", 33432) == texts[33432]
    with Image.open(tmp_path / "a.jpg") as picture:
        assert 270 not in picture.getexif()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_text_is_utf_8(tmp_path, suffix):
    said = "Jürgen 三山 © 2026"
    exif = CameraExif({315: Field.text(said)}, {0xA434: Field.text(said)})
    write_photograph(RAMP, tmp_path / f"a{suffix}", exif=exif)
    assert text_of(tmp_path / f"a{suffix}", 315) == said
    with Image.open(tmp_path / f"a{suffix}") as picture:
        lens = picture.getexif().get_ifd(0x8769)[0xA434]
    assert lens.encode("latin-1").decode() == said


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exiftool_reads_the_same(dng, tmp_path, suffix):
    said = "Jürgen 三山"
    exif = camera_exif(dng)
    exif = replace(exif, image={**exif.image, 315: Field.text(said)})
    write_photograph(RAMP, tmp_path / f"a{suffix}", exif=exif)
    told = subprocess.run(
        ["exiftool", "-json", "-n", str(tmp_path / f"a{suffix}")],
        capture_output=True,
        check=True,
    )
    (found,) = json.loads(told.stdout)
    assert not {"Warning", "Error"} & set(found)
    kept = {name: found[name] for name in ("Artist", "Model", "ISO", "Orientation", "ColorSpace")}
    assert kept == {
        "Artist": said,
        "Model": NIKON_D750.name,
        "ISO": 800,
        "Orientation": 1,
        "ColorSpace": 1,
    }


@pytest.mark.parametrize("quality", [80, 95, 98])
@pytest.mark.parametrize("shape", [(64, 96), (61, 95)])
def test_a_jpeg_is_the_one_that_pillow_writes(tmp_path, quality, shape):
    """Levels, subsampling and sizes; a profile of several parts is put together again."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    long = replace(SPACES["p3"], icc_profile=SPACES["p3"].icc_profile + bytes(150_000))
    write_photograph(pixels, tmp_path / "a.jpg", quality=quality, space=long)
    subsampling = 0 if quality >= 98 else 2
    other = tmp_path / "b.jpg"
    Image.fromarray(pixels).save(other, quality=quality, subsampling=subsampling)
    with Image.open(tmp_path / "a.jpg") as ours, Image.open(other) as pillows:
        assert ours.info["icc_profile"] == long.icc_profile
        assert ours.info["jfif_version"] == pillows.info["jfif_version"]
        assert JpegImagePlugin.get_sampling(ours) == subsampling
        found, expected = (np.asarray(image).astype(int) for image in (ours, pillows))
    assert np.abs(found - expected).max() <= 1


def test_a_picture_that_no_jpeg_holds(tmp_path):
    with pytest.raises(PictureTooLargeError, match="holds 65,500 pixels a side, not 65,501"):
        write_photograph(np.zeros((1, 65_501, 3), np.uint8), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


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
    for color in ("red", "blue"):
        Image.new("RGB", (30, 20), color).save(tmp_path / f"{color}.png")
    red, blue = (thumbnail(tmp_path / f"{color}.png") for color in ("red", "blue"))
    pair = Pair(red, blue, "scene" * 50, ("a", "b"))
    write_contact_sheet([pair] * 3, tmp_path / "sheet.png", 2)
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
