"""Samples of DNGs in all layouts, against other programs."""

import io
import struct
from dataclasses import replace
from unittest import mock

import imagecodecs
import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image

from experiments.isp.dng_reference.tiff_writer import SHORT, UNDEFINED, Tag
from isp_env.dng.lossless_jpeg import encode
from isp_env.dng.samples import UnsupportedSamplesError, read_samples
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.raw import write_dng as dng
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.samples import CANON_350D, NIKON_D750
from isp_env.scenes.simulation import BGGR, GBRG, GRBG, RGGB
from tests.isp_env.raw.dng_files import (
    a_mosaic,
    a_picture,
    mosaic_of,
    tags_of,
    write_blocks,
    write_parts,
    write_stored,
)


def _assert_same(path, raw, area=None) -> None:
    """What we read is what was written, and what LibRaw reads."""
    ours = read_raw(path)
    assert ours.mosaic is not None
    assert ours.cfa is not None
    with rawpy.imread(str(path)) as libraw:
        frame, pattern = libraw.raw_image.copy(), np.array(libraw.raw_pattern)
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
    raw = a_picture(camera=replace(camera, cfa=cfa))
    write_dng(raw, tmp_path / "a.dng", "lossless jpeg")
    _assert_same(tmp_path / "a.dng", raw)


def test_tiles_are_padded_beyond_the_edges(tmp_path):
    """As Adobe's converter writes them: each tile as two components of half its width."""
    raw = a_picture((72, 104))
    assert raw.mosaic is not None
    padded = np.pad(raw.mosaic, ((0, 24), (0, 24)), mode="edge")
    tiles = [
        encode(padded[y : y + 32, x : x + 32].reshape(32, 16, 2))
        for y in range(0, 96, 32)
        for x in range(0, 128, 32)
    ]
    write_parts(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    _assert_same(tmp_path / "a.dng", raw)


def test_the_last_strip_has_the_rows_that_are_left(tmp_path):
    raw = a_picture((72, 80))
    assert raw.mosaic is not None
    strips = [encode(raw.mosaic[y : y + 32].reshape(-1, 40, 2)) for y in range(0, 72, 32)]
    write_parts(tmp_path / "a.dng", raw, strips, rows=32)
    mosaic = read_raw(tmp_path / "a.dng").mosaic  # LibRaw 0.22 takes the first strip for the whole
    assert mosaic is not None
    assert np.array_equal(mosaic, raw.mosaic)
    write_parts(tmp_path / "b.dng", raw, [*strips[:2], strips[2][:200]], rows=32)
    with pytest.raises(RawFileError, match=r"b\.dng: damaged pixel data, or a layout"):
        read_raw(tmp_path / "b.dng")


def test_two_rows_may_be_stored_as_one(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    write_parts(tmp_path / "a.dng", raw, [encode(raw.mosaic.reshape(32, 80, 2))], rows=64)
    _assert_same(tmp_path / "a.dng", raw)


@pytest.mark.parametrize("corner", [(4, 6), (3, 6), (4, 5), (3, 5)])
def test_the_pattern_begins_at_the_corner_of_the_active_area(corner, tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    area = (*corner, 62, 78)
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    tag = (50829, "I", 4, area, True)
    tags = {"extra": [tag], "drop": (50829,)}
    write_parts(tmp_path / "a.dng", raw, [strip], rows=64, **tags)
    _assert_same(tmp_path / "a.dng", raw, area)


def test_tiles_of_which_two_lie_side_by_side(tmp_path):
    """LibRaw 0.22 takes them for another layout; ours are what was written."""
    raw = a_picture((64, 64))
    assert raw.mosaic is not None
    tiles = [
        encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, 16, 2))
        for y in (0, 32)
        for x in (0, 32)
    ]
    write_parts(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    mosaic = read_raw(tmp_path / "a.dng").mosaic
    assert mosaic is not None
    assert np.array_equal(mosaic, raw.mosaic)
    write_parts(tmp_path / "b.dng", raw, [*tiles[:3], tiles[3][:200]], tile=(32, 32))
    with pytest.raises(RawFileError, match=r"b\.dng: damaged pixel data, or a layout"):
        read_raw(tmp_path / "b.dng")


def test_before_dng_1_1_differences_of_16_bits_were_others(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    tag = (50706, "B", 4, (1, 0, 0, 0), True)
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    write_parts(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag], drop=(50706,))
    with pytest.raises(UnsupportedSamplesError, match=r"DNG 1\.0"):
        read_samples(tmp_path / "a.dng", tags_of(tmp_path / "a.dng").layout)
    with rawpy.imread(str(tmp_path / "a.dng")) as libraw:
        theirs = libraw.raw_image.copy()
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), theirs)


def test_libraw_is_not_asked_for_such_a_file(tmp_path):
    write_dng(a_picture(), tmp_path / "a.dng", "lossless jpeg")
    with mock.patch.object(rawpy, "imread", side_effect=AssertionError("LibRaw decodes")):
        assert read_raw(tmp_path / "a.dng").mosaic is not None


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("fields", [2, 3, 5])
@pytest.mark.parametrize("axis", [0, 1])
def test_interleaved_rows_and_columns(options, fields, axis, tmp_path):
    """RowInterleaveFactor, ColumnInterleaveFactor: every n-th line first, then those after them."""
    raw = a_picture((64, 80))
    assert raw.mosaic is not None
    lines = range(raw.mosaic.shape[axis])
    order = [line for field in range(fields) for line in lines[field::fields]]
    tag = (50975 if axis == 0 else 52547, "H", 1, fields, True)
    write_stored(raw, np.take(raw.mosaic, order, axis), tmp_path / "a.dng", tag, **options)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic)


def test_blocks_inside_tiles(tmp_path):
    """SubTileBlockSize: the samples of a tile are stored block by block."""
    raw = a_picture((64, 96))
    assert raw.mosaic is not None
    stored = raw.mosaic.copy()
    for y in range(0, 64, 32):
        for x in range(0, 96, 48):
            tile = raw.mosaic[y : y + 32, x : x + 48]
            blocks = [tile[r : r + 2, c : c + 4] for r in range(0, 32, 2) for c in range(0, 48, 4)]
            flat = np.concatenate([block.ravel() for block in blocks])
            stored[y : y + 32, x : x + 48] = flat.reshape(32, 48)
    tag = (50974, "H", 2, (2, 4), True)
    write_stored(raw, stored, tmp_path / "a.dng", tag, tile=(32, 48))
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_one_after_the_other(compression, tmp_path):
    linear = np.stack([a_mosaic() // n for n in (1, 2, 3)]).astype(np.uint16)
    tags = [
        t for t in dng._tags(a_picture(), linear[0]) if t[0] not in (33421, 33422, 50713, 50714)
    ]
    tifffile.imwrite(
        tmp_path / "a.dng",
        linear,
        photometric=34892,
        planarconfig="separate",
        compression=compression,
        rowsperstrip=24,
        metadata=None,
        extratags=[t for t in tags if t[0] != dng.EXIF_IFD_PLACE],
    )
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").linear), linear)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_all_predictors_of_lossless_jpeg(predictor, tmp_path):
    """Differences made here from the formulas of T.81, table H.1, and coded as if by the first."""
    raw = a_picture()
    assert raw.mosaic is not None
    samples = raw.mosaic.astype(int)
    guess = np.zeros_like(samples)
    a, b, c = samples[1:, :-1], samples[:-1, 1:], samples[:-1, :-1]
    guess[1:, 1:] = {
        1: a,
        2: b,
        3: c,
        4: a + b - c,
        5: a + ((b - c) >> 1),
        6: b + ((a - c) >> 1),
        7: (a + b) >> 1,
    }[predictor]
    guess[0, 0] = 1 << 15
    guess[0, 1:], guess[1:, 0] = samples[0, :-1], samples[:-1, 0]
    differences = samples - guess
    # what a coder of predictor 1 has to be given so that it codes these differences
    given = np.empty_like(samples)
    for y in range(len(given)):
        start = 1 << 15 if y == 0 else given[y - 1, 0]
        given[y] = (start + np.cumsum(differences[y])) & 0xFFFF
    segment = bytearray(encode(given.astype(np.uint16)[..., None]))
    place = segment.index(b"\xff\xda")
    assert segment[place + 7] == 1
    segment[place + 7] = predictor
    write_parts(tmp_path / "a.dng", raw, [bytes(segment)], rows=64)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic)


@pytest.mark.parametrize("bits", [8, 12])
def test_bits_may_be_stored_the_lowest_first(bits, tmp_path):
    """FillOrder 2: the bits of each byte are turned (TIFF 6.0, section 8)."""
    raw = a_picture()
    mosaic = mosaic_of(raw) >> 14 - bits
    packed = imagecodecs.packints_encode(mosaic.ravel(), bits) if bits == 12 else None
    stored = packed or mosaic.astype(np.uint8).tobytes()
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in stored)
    write_blocks(raw, tmp_path / "a.dng", [turned], {258: (SHORT, [bits]), 266: (SHORT, [2])})
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), mosaic)


@pytest.mark.parametrize("mapped", [False, True])
def test_lossy_jpeg_through_the_polynomials_of_its_opcodes(mapped, tmp_path):
    """As Adobe's converter writes it: 8-bit RGB in JPEG, brought to light by OpcodeList2."""
    raw = a_picture()
    rows, columns = np.mgrid[:64, :80]
    picture = np.stack([60 + rows, 40 + columns, 200 - rows - columns // 2], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=98, subsampling=0)
    changes: dict[int, Tag] = {
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [34892]),
        262: (SHORT, [34892]),
        277: (SHORT, [3]),
    }
    if mapped:
        area = struct.pack(">8i", 0, 0, 64, 80, 0, 3, 1, 1)
        curve = area + struct.pack(">I3d", 2, 0.0, 0.1, 0.9)
        opcodes = struct.pack(">5I", 1, 8, 0x01030000, 0, len(curve)) + curve
        changes[51009] = (UNDEFINED, opcodes)
    write_blocks(raw, tmp_path / "a.dng", [file.getvalue()], changes)
    read = read_raw(tmp_path / "a.dng")
    assert read.linear is not None
    light = np.moveaxis(picture / 255, 2, 0)
    expected = 0.1 * light + 0.9 * light**2 if mapped else light
    np.testing.assert_allclose(read.linear / read.white, expected, atol=5 / 255)


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_kinds_of_24_bit_numbers(order, tmp_path):
    """Zeros, subnormal and normal numbers, infinities and NaN, as imagecodecs reads them."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 24, 64 * 80, dtype=np.uint32)
    words[:8] = 0, 1, 0x00FFFF, 0x3F0000, 0xBF8000, 0x7F0000, 0xFF0000, 0x7F0001
    stored = words.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    stored = np.ascontiguousarray(stored if order == ">" else stored[:, ::-1]).tobytes()
    path = tmp_path / "a.dng"
    changes: dict[int, Tag] = {258: (SHORT, [24]), 339: (SHORT, [3])}
    write_blocks(a_picture(), path, [stored], changes, order)
    expected = imagecodecs.float24_decode(stored, byteorder=order)
    found = read_samples(path, tags_of(path).layout).ravel()
    np.testing.assert_array_equal(found, np.asarray(expected)[: 64 * 80])
    assert found[3] == 1


@pytest.mark.parametrize("size", [0, 10**8])
def test_the_size_of_the_only_strip_can_be_computed(size, tmp_path):
    raw = a_picture()
    write_blocks(raw, tmp_path / "a.dng", [mosaic_of(raw).tobytes()], {})
    with tifffile.TiffFile(tmp_path / "a.dng", mode="r+") as tiff:
        tiff.pages.first.tags[279].overwrite(size)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), mosaic_of(raw))


def test_undefined_samples_are_whole_numbers(tmp_path):
    raw = a_picture()
    write_blocks(raw, tmp_path / "a.dng", [mosaic_of(raw).tobytes()], {339: (SHORT, [4])})
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), mosaic_of(raw))
