"""Samples of DNGs in lossless JPEG, decoded without LibRaw: the same as LibRaw's."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import rawpy
import tifffile

from isp_env.dng.lossless_jpeg import UnsupportedJpegError, encode
from isp_env.dng.tags import read_dng_tags
from isp_env.errors import RawFileError
from isp_env.raw import RawImage, read_raw, sensor_data
from isp_env.raw import write_dng as dng
from isp_env.raw.sensor_data import by_libraw, by_tags_alone, read_parts, says_enough
from isp_env.raw.write_dng import write_dng
from isp_env.samples import CANON_350D, NIKON_D750
from isp_env.simulation import BGGR, GBRG, GRBG, RGGB, Capture, simulate


def _raw(shape=(64, 80), camera=NIKON_D750) -> RawImage:
    photo = np.random.default_rng(0).uniform(0, 1, (3, shape[0] // 8, shape[1] // 8))
    photo = photo.repeat(8, 1).repeat(8, 2)
    raw, _ = simulate(photo, camera, Capture(iso=800), np.random.default_rng(1))
    return raw


def _write(path, raw, parts, *, tile=None, rows=None, extra=(), drop=()) -> None:
    """A DNG with these parts in the places of its strips or tiles, with tags added or left out."""
    tags = [*(tag for tag in dng._tags(raw, raw.mosaic) if tag[0] not in drop), *extra]
    tifffile.imwrite(
        path,
        raw.mosaic,
        photometric=dng.CFA,
        tile=tile,
        rowsperstrip=rows,
        metadata=None,
        byteorder="<",
        extratags=[tag for tag in tags if tag[0] != dng.EXIF_IFD_PLACE],
    )
    offsets = []
    with path.open("r+b") as file:
        file.seek(0, 2)
        for part in parts:
            offsets.append(file.tell())
            file.write(part + bytes(len(part) % 2))
    sizes = [len(part) for part in parts]
    codes = (324, 325) if tile else (273, 279)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        found = tiff.pages.first.tags
        for code, numbers in zip(codes, (offsets, sizes), strict=True):
            assert found[code].count == len(numbers)
            found[code].overwrite(numbers)
        found[259].overwrite(dng.LOSSLESS_JPEG)


def _assert_same(path, raw, area=None) -> None:
    """What we read is what was written, and what LibRaw reads."""
    ours = read_raw(path)
    with rawpy.imread(str(path)) as libraw:
        frame, pattern = libraw.raw_image.copy(), libraw.raw_pattern
        top, left, bottom, right = area or (0, 0, *frame.shape)
        cfa = np.roll(np.where(pattern == 3, 1, pattern), (-top, -left), axis=(0, 1))
        black = np.roll(np.array(libraw.black_level_per_channel)[pattern], (-top, -left), (0, 1))
        white = libraw.white_level
    assert np.array_equal(frame, raw.mosaic)
    assert np.array_equal(ours.mosaic, frame[top:bottom, left:right])
    assert ours.active_area == (top, left, bottom, right)
    assert np.array_equal(ours.cfa, cfa)
    assert np.array_equal(ours.black, black)
    assert ours.white == white


@pytest.mark.parametrize("camera", [NIKON_D750, CANON_350D])
@pytest.mark.parametrize("cfa", [RGGB, GRBG, GBRG, BGGR])
def test_one_strip(camera, cfa, tmp_path):
    raw = _raw(camera=replace(camera, cfa=cfa))
    write_dng(raw, tmp_path / "a.dng", "lossless jpeg")
    _assert_same(tmp_path / "a.dng", raw)


def test_tiles_are_padded_beyond_the_edges(tmp_path):
    """As Adobe's converter writes them: each tile as two components of half its width."""
    raw = _raw((72, 104))
    assert raw.mosaic is not None
    padded = np.pad(raw.mosaic, ((0, 24), (0, 24)), mode="edge")
    tiles = [
        encode(padded[y : y + 32, x : x + 32].reshape(32, 16, 2))
        for y in range(0, 96, 32)
        for x in range(0, 128, 32)
    ]
    _write(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    _assert_same(tmp_path / "a.dng", raw)


def test_the_last_strip_has_the_rows_that_are_left(tmp_path):
    raw = _raw((72, 80))
    assert raw.mosaic is not None
    strips = [encode(raw.mosaic[y : y + 32].reshape(-1, 40, 2)) for y in range(0, 72, 32)]
    _write(tmp_path / "a.dng", raw, strips, rows=32)
    mosaic = read_raw(tmp_path / "a.dng").mosaic  # LibRaw 0.22 takes the first strip for the whole
    assert mosaic is not None
    assert np.array_equal(mosaic, raw.mosaic)
    _write(tmp_path / "b.dng", raw, [*strips[:2], strips[2][:200]], rows=32)
    with pytest.raises(RawFileError, match=r"b\.dng: damaged pixel data, or a layout"):
        read_raw(tmp_path / "b.dng")


def test_two_rows_may_be_stored_as_one(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    _write(tmp_path / "a.dng", raw, [encode(raw.mosaic.reshape(32, 80, 2))], rows=64)
    _assert_same(tmp_path / "a.dng", raw)


@pytest.mark.parametrize("corner", [(4, 6), (3, 6), (4, 5), (3, 5)])
def test_the_pattern_begins_at_the_corner_of_the_active_area(corner, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    area = (*corner, 62, 78)
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    tag = (50829, "I", 4, area, True)
    tags = {"extra": [tag], "drop": (50829,)}
    _write(tmp_path / "a.dng", raw, [strip], rows=64, **tags)
    _assert_same(tmp_path / "a.dng", raw, area)


def test_tiles_of_which_two_lie_side_by_side(tmp_path):
    """LibRaw 0.22 takes them for another layout; ours are what was written."""
    raw = _raw((64, 64))
    assert raw.mosaic is not None
    tiles = [
        encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, 16, 2))
        for y in (0, 32)
        for x in (0, 32)
    ]
    _write(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    mosaic = read_raw(tmp_path / "a.dng").mosaic
    assert mosaic is not None
    assert np.array_equal(mosaic, raw.mosaic)
    _write(tmp_path / "b.dng", raw, [*tiles[:3], tiles[3][:200]], tile=(32, 32))
    with pytest.raises(RawFileError, match=r"b\.dng: damaged pixel data, or a layout"):
        read_raw(tmp_path / "b.dng")










