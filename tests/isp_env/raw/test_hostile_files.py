"""Files without a picture, files that are not what they seem, and honest bad photographs."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from isp_env.dng import layout
from isp_env.dng.opcodes import GainMap
from isp_env.errors import IspEnvError, RawFileError
from isp_env.raw import read as raw_module
from isp_env.raw import read_raw
from isp_env.raw import write_dng as dng
from isp_env.raw.exif import read_exif
from isp_env.raw.find import is_raw_path
from isp_env.raw.picture_check import check_picture
from isp_env.scenes.simulation import (
    Capture,
)

COLOR_MATRIX, AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY, ACTIVE_AREA = 50721, 50728, 50729, 50829


# -- is there a picture? --

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((64, 96)), "every pixel is 0"),
        (np.full((64, 96), 15520), "every pixel is 15520"),
        (np.where(RNG.random((64, 96)) < 0.995, 15520, 900), "saturated"),
        (np.where(RNG.random((64, 96)) < 0.998, 0, 4000), "at or below the black level"),
        (RNG.integers(0, 16384, (64, 96)), "noise or garbage"),
        (RNG.integers(0, 16384, (640, 960)), "noise or garbage"),
        (RNG.normal(600, 8, (640, 960)).round(), "noise or garbage"),  # the lens cap was on
        (
            np.where(np.arange(64)[:, None] < 40, 700 + 50 * np.arange(96), 0),
            "rows hold a single value",
        ),
        (
            # a decoder that lost its way: differences add up over the rows
            np.cumsum(RNG.integers(-500, 900, (64, 96)), axis=1) + 5_000,
            "far above the saturation level",
        ),
    ],
)
def test_pixels_without_a_picture_are_refused(tmp_path, pixels, reason, take):
    raw = dataclasses.replace(take(), mosaic=pixels.astype(np.uint16))
    dng.write_dng(raw, tmp_path / "bad.dng")
    with pytest.raises(RawFileError, match=rf"bad\.dng: .*{reason}"):
        read_raw(tmp_path / "bad.dng")


@pytest.mark.parametrize(
    "capture",
    [
        Capture(iso=12800, exposure_error=-4.0),
        Capture(iso=12800, exposure_error=-6.0),
        Capture(iso=100, exposure_error=-7.0),
        Capture(exposure_error=3.0),
        Capture(veil=0.95, iso=3200),
    ],
    ids=[
        "night at ISO 12800",
        "picture below the noise of a pixel",
        "seven stops under",
        "three stops over",
        "fog",
    ],
)
def test_honest_bad_photographs_pass(tmp_path, capture, take):
    dng.write_dng(take(256, 384, capture=capture), tmp_path / "honest.dng")
    assert read_raw(tmp_path / "honest.dng").mosaic is not None


def test_a_saturation_level_that_is_stated_too_low_passes():
    """Skies a sixth above it, as some cameras have them; float samples may be anything."""
    ramp = np.linspace(700, 4000, 200 * 300).reshape(200, 300).round().astype(np.uint16)
    ramp[:60] = np.random.default_rng(0).normal(15000, 300, (60, 300)).round()
    assert check_picture(ramp, ramp[::2, ::2], 600.0, 13000.0) is None
    assert check_picture(ramp, ramp[::2, ::2], 600.0, 8000.0) is not None
    bright = ramp.astype(np.float32)
    assert check_picture(bright, bright[::2, ::2], 600.0, 8000.0) is None


def test_an_evenly_lit_wall_passes():
    wall = np.random.default_rng(0).normal(4000, 100, (200, 300)).round().astype(np.uint16)
    assert check_picture(wall, wall[::2, ::2], 600.0, 15520.0) is None


# -- files that are not what they seem --


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "truncated"), (b"II*\0" + bytes(60), "damaged DNG"), (b"hello" * 99, "not a RAW")],
    ids=["empty", "TIFF header alone", "text"],
)
def test_other_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "strange.dng"
    path.write_bytes(content)
    with pytest.raises(RawFileError, match=reason):
        read_raw(path)


def test_missing_file_is_named():
    with pytest.raises(RawFileError, match=r"^nowhere\.dng: no such file$"):
        read_raw("nowhere.dng")


def test_unreadable_file_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.dng").touch()
    monkeypatch.setattr(raw_module, "read_dng_tags", refuse)
    with pytest.raises(RawFileError, match=r"mine\.dng: Permission denied"):
        read_raw(tmp_path / "mine.dng")


@pytest.mark.parametrize("area", [(0, 0, 128, 96), (40, 0, 30, 96)])
def test_active_area_outside_the_frame_is_refused(write_tagged, area, take):
    with pytest.raises(RawFileError):
        read_raw(write_tagged(take(), (ACTIVE_AREA, "I", 4, area, True)))


def test_mosaics_that_libraw_does_not_develop_either_are_refused(tmp_path, take):
    raw = take(64, 96)
    odd = dataclasses.replace(
        raw, cfa=np.array([[0, 1, 2]] * 3, np.uint8), black=np.full((1, 1), 600, np.float32)
    )
    dng.write_dng(odd, tmp_path / "odd.dng")
    with pytest.raises(RawFileError, match=r"the mosaic \[\[0, 1, 2\].*neither"):
        read_raw(tmp_path / "odd.dng")


@pytest.mark.parametrize("area", [(0, 0, 3, 96), (10, 20, 60, 22)])
def test_pictures_too_small_to_interpolate_are_refused(write_tagged, area, take):
    with pytest.raises(RawFileError, match=r"a picture of \d+x\d+ pixels"):
        read_raw(write_tagged(take(), (ACTIVE_AREA, "I", 4, area, True)))


def test_an_active_area_a_little_beyond_the_frame_is_shortened(write_tagged, take):
    read = read_raw(write_tagged(take(), (ACTIVE_AREA, "I", 4, (0, 0, 66, 96), True)))
    assert read.active_area == (0, 0, 64, 96)
    assert "reaches beyond the frame: shortened" in read.fallbacks[0]


def test_gain_map_outside_the_picture_is_left_out(tmp_path, take):
    ones = np.ones((2, 2), np.float32)
    beyond = GainMap(64, 0, 90, 96, 0, 1, 2, 2, ones, 1.0, 1.0, 0.0, 0.0)
    dng.write_dng(dataclasses.replace(take(), gain_maps=(beyond,)), tmp_path / "map.dng")
    read = read_raw(tmp_path / "map.dng")
    assert read.gain_maps == ()
    assert read.fallbacks[0] == "a GainMap of OpcodeList2 lies outside the picture"


def test_exposure_of_zero_by_zero_is_unknown(tmp_path, take):
    """Some cameras write 0/0 for what they do not know."""
    path = tmp_path / "zero.dng"
    dng.write_dng(take(), path)
    content = path.read_bytes()
    assert content.endswith((1).to_bytes(4, "little") + (125).to_bytes(4, "little"))
    path.write_bytes(content[:-8] + bytes(8))
    exif = read_exif(path)
    assert (exif.exposure_time, exif.iso, exif.model) == (None, 100, "Test camera")


def test_names_in_latin_1_are_read(tmp_path, take):
    """EXIF says ASCII; some cameras and most converters write what they like."""
    path = tmp_path / "latin.dng"
    dng.write_dng(take(), path)
    path.write_bytes(path.read_bytes().replace(b"Test camera", b"Test cam\xe9ra"))
    assert read_exif(path).model == "Test caméra"


def test_missing_strips_are_refused(write_tagged, take):
    """LibRaw opens such files and shows, in the missing part, what lay in the memory before."""
    path = write_tagged(take())
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["RowsPerStrip"].overwrite(32)
    with pytest.raises(RawFileError, match="only 1 of 2 parts"):
        read_raw(path)


def test_damaged_files_give_a_picture_or_a_raw_file_error(tmp_path, take):
    """Any other exception would end a batch; LibRaw notices only some of the damage."""
    dng.write_dng(take(), tmp_path / "whole.dng")
    whole = (tmp_path / "whole.dng").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, 900, rng.integers(1, 8)):  # among the tags
            damaged[place] = rng.integers(256)
        end = len(whole) if rng.random() < 0.7 else rng.integers(8, len(whole))
        (tmp_path / "damaged.dng").write_bytes(damaged[:end])
        try:
            read_raw(tmp_path / "damaged.dng")
        except RawFileError:
            refused += 1
    assert 20 < refused < 200


def test_error_survives_pickling():
    error = pickle.loads(pickle.dumps(RawFileError(Path("a.nef"), "truncated")))
    assert isinstance(error, IspEnvError)
    assert str(error) == "a.nef: truncated"


def test_raw_paths():
    assert is_raw_path("a/b.NEF")
    assert is_raw_path(Path("b.dng"))
    assert not is_raw_path("b.jpg")


BROKEN = {
    "all_zero_pixels.dng": "only 1 of 140 parts",
    "data_error.nef": "damaged pixel data",
    "garbage_pixels.rw2": "at or below the black level",
    "too_big.x3f": "memory limit",
    "truncated.cr3": "truncated",
    "truncated.iiq": "truncated",
    "truncated.nef": "truncated",
    "truncated.raf": "truncated",
    "unsupported.rw2": "not a RAW format that LibRaw knows",
}


@pytest.mark.data
@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_the_reason(data, name):
    with pytest.raises(RawFileError, match=rf"{name}: .*{BROKEN[name]}"):
        read_raw(data / "raw" / "broken" / name)


def test_more_pixels_than_any_camera_has_are_refused_before_decoding(
    write_tagged, take, monkeypatch
):
    path = write_tagged(take())
    monkeypatch.setattr(layout, "MOST_PIXELS", 64 * 96 - 1)
    with pytest.raises(RawFileError, match="declares 64x96 pixels: more than 6,143"):
        read_raw(path)
    monkeypatch.setattr(layout, "MOST_PIXELS", 64 * 96)
    read_raw(path)


def test_a_large_frame_is_judged_by_a_part_of_its_rows():
    pixels = np.zeros((4000, 4000), np.uint16)
    pixels[::7] = RNG.integers(600, 5000, 4000).cumsum() % 4000 + 600
    assert "damaged pixel data" in (check_picture(pixels, pixels[::2, ::2], 10.0, 15520.0) or "")
