"""Samples of DNGs: what is written is read, in every layout, and it is what the tags say."""

import dataclasses
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import rawpy
import tifffile

from isp_env.dng.layout import Layout
from isp_env.dng.lossless_jpeg import encode
from isp_env.dng.samples import UnsupportedSamplesError, read_samples
from isp_env.dng.tags import DngTags, read_dng_tags
from isp_env.errors import RawFileError
from isp_env.raw import RawImage, read_raw
from isp_env.raw import write_dng as dng
from isp_env.raw.write_dng import write_dng
from isp_env.samples import CANON_350D, NIKON_D750
from isp_env.simulation import BGGR, GBRG, GRBG, RGGB, Capture, simulate


def _mosaic(shape=(64, 80)) -> np.ndarray:
    mosaic = _raw(shape).mosaic
    assert mosaic is not None
    return mosaic


def _raw(shape=(64, 80), camera=NIKON_D750) -> RawImage:
    photo = np.random.default_rng(0).uniform(0, 1, (3, shape[0] // 8, shape[1] // 8))
    photo = photo.repeat(8, 1).repeat(8, 2)
    raw, _ = simulate(photo, camera, Capture(iso=800), np.random.default_rng(1))
    return raw


def _write(path, raw, parts, *, tile=None, rows=None, extra=(), drop=()) -> None:
    """A DNG with these parts in the places of its strips or tiles, with tags added or left out."""
    tags = [*(tag for tag in dng._tags(raw, np.asarray(raw.mosaic)) if tag[0] not in drop), *extra]
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


def _tags(path) -> DngTags:
    tags = read_dng_tags(path)
    assert tags is not None
    return tags


@pytest.mark.parametrize("white", [0, 70_000])
def test_an_impossible_saturation_level_is_replaced_and_noted(white, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    tag = (50717, "I", 1, white, True)
    _write(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag], drop=(50717,))
    read = read_raw(tmp_path / "a.dng")
    assert read.white == 65535
    assert f"WhiteLevel [{white}.0] is none of samples of 16 bits: 65535 taken" in read.fallbacks


def test_without_its_levels_a_file_has_the_specifications(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    _write(tmp_path / "a.dng", raw, [strip], rows=64, drop=(50713, 50714, 50717))
    read = read_raw(tmp_path / "a.dng")
    assert (read.white, read.black.max()) == (65535, 0)
    assert np.array_equal(np.asarray(read.mosaic), raw.mosaic)


def test_before_dng_1_1_differences_of_16_bits_were_others(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    tag = (50706, "B", 4, (1, 0, 0, 0), True)
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    _write(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag], drop=(50706,))
    with pytest.raises(UnsupportedSamplesError, match=r"DNG 1\.0"):
        read_samples(tmp_path / "a.dng", _tags(tmp_path / "a.dng").layout)
    with rawpy.imread(str(tmp_path / "a.dng")) as libraw:
        theirs = libraw.raw_image.copy()
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), theirs)


@pytest.mark.parametrize("components", [1, 2])
def test_a_linearization_table_maps_the_samples(components, tmp_path):
    raw = _raw((64, 64))
    assert raw.mosaic is not None
    tiles = [
        encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, -1, components))
        for y in (0, 32)
        for x in (0, 32)
    ]
    table = np.minimum(np.arange(15000) * 3, 40000)
    tag = (50712, "H", len(table), tuple(table.tolist()), True)
    _write(tmp_path / "a.dng", raw, tiles, tile=(32, 32), extra=[tag], drop=(50717,))
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(np.asarray(read.mosaic), table[np.minimum(raw.mosaic, 14999)])


def test_libraw_is_not_asked_for_such_a_file(tmp_path):
    write_dng(_raw(), tmp_path / "a.dng", "lossless jpeg")
    with mock.patch.object(rawpy, "imread", side_effect=AssertionError("LibRaw decodes")):
        assert read_raw(tmp_path / "a.dng").mosaic is not None


def test_damaged_samples_are_refused(tmp_path):
    path = tmp_path / "a.dng"
    write_dng(_raw(), path, "lossless jpeg")
    content = path.read_bytes()
    damaged = bytearray(content)
    start = content.index(b"\xff\xda") + 200
    damaged[start : start + 400] = bytes(400)
    path.write_bytes(damaged)
    with pytest.raises(RawFileError, match=r"a\.dng: damaged pixel data"):
        read_raw(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"part": (2**16, 2**16)}, "parts of 65536x65536 pixels"),
        ({"part": (2**16, 2**16), "is_tiled": True}, "parts of 65536x65536 pixels"),
        ({"offsets": (2**40,)}, "beyond the end"),
        ({"offsets": (2**64 - 1,)}, "beyond the end"),
        ({"sizes": (2**31,)}, "beyond the end"),
        ({"compression": 1, "is_tiled": True}, "tiles of .* bytes, not"),
        ({"compression": 52546}, "JPEG XL"),
        ({"compression": 9}, "VC-5"),
        ({"compression": 4711}, "codec 4711"),
        ({"bits": 40}, "samples of 40 bits"),
        ({"bits": 64, "is_float": True}, "floating point samples of 64 bits"),
        ({"compression": 8, "predictor": 99}, "predictor 99"),
        ({"compression": 34892, "bits": 12}, "lossy JPEG of 12 bits"),
    ],
    ids=str,
)
def test_absurd_layouts_are_refused_before_memory_is_taken(change, reason, tmp_path):
    write_dng(_raw(), tmp_path / "a.dng", "lossless jpeg")
    layout = _tags(tmp_path / "a.dng").layout
    with (
        mock.patch.object(np, "empty", side_effect=AssertionError("memory taken")),
        pytest.raises(RawFileError, match=reason),
    ):
        read_samples(tmp_path / "a.dng", replace(layout, **change))


@pytest.mark.parametrize("shape", [(0, 80), (2**20, 2**20)])
def test_absurd_sizes_are_refused(shape, tmp_path):
    write_dng(_raw(), tmp_path / "a.dng")
    with tifffile.TiffFile(tmp_path / "a.dng", mode="r+") as tiff:
        for code, size in zip((257, 256), shape, strict=True):
            tiff.pages.first.tags[code].overwrite(size)
    with pytest.raises(RawFileError):
        read_raw(tmp_path / "a.dng")


@pytest.mark.parametrize("kept", [5, 0])
def test_tiles_that_do_not_fill_the_picture_are_refused(kept, tmp_path):
    """Each of them is whole; with one too few, other memory would be shown."""
    raw = _raw((64, 96))
    assert raw.mosaic is not None
    corners = [(y, x) for y in (0, 32) for x in (0, 32, 64)]
    tiles = [encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, 16, 2)) for y, x in corners]
    _write(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    assert np.array_equal(
        read_samples(tmp_path / "a.dng", _tags(tmp_path / "a.dng").layout), raw.mosaic
    )
    with tifffile.TiffFile(tmp_path / "a.dng", mode="r+") as tiff:
        sizes = [len(tile) if i < kept else 0 for i, tile in enumerate(tiles)]
        tiff.pages.first.tags[325].overwrite(sizes)
    with pytest.raises(RawFileError, match=f"only {kept} of 6 parts"):
        read_raw(tmp_path / "a.dng")


def _stored(raw: RawImage, samples: np.ndarray, path, *extra, **options) -> Layout:
    """A DNG of these stored numbers, with the tags of `raw` and others."""
    tags = [t for t in dng._tags(raw, np.asarray(raw.mosaic)) if t[0] not in {e[0] for e in extra}]
    tifffile.imwrite(
        path,
        samples,
        photometric=dng.CFA,
        metadata=None,
        extratags=[*(t for t in tags if t[0] != dng.EXIF_IFD_PLACE), *extra],
        **options,
    )
    return _tags(path).layout


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("fields", [2, 3, 5])
@pytest.mark.parametrize("axis", [0, 1])
def test_interleaved_rows_and_columns(options, fields, axis, tmp_path):
    """RowInterleaveFactor, ColumnInterleaveFactor: every n-th line first, then those after them."""
    raw = _raw((64, 80))
    assert raw.mosaic is not None
    lines = range(raw.mosaic.shape[axis])
    order = [line for field in range(fields) for line in lines[field::fields]]
    tag = (50975 if axis == 0 else 52547, "H", 1, fields, True)
    _stored(raw, np.take(raw.mosaic, order, axis), tmp_path / "a.dng", tag, **options)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic)


def test_blocks_inside_tiles(tmp_path):
    """SubTileBlockSize: the samples of a tile are stored block by block."""
    raw = _raw((64, 96))
    assert raw.mosaic is not None
    stored = raw.mosaic.copy()
    for y in range(0, 64, 32):
        for x in range(0, 96, 48):
            tile = raw.mosaic[y : y + 32, x : x + 48]
            blocks = [tile[r : r + 2, c : c + 4] for r in range(0, 32, 2) for c in range(0, 48, 4)]
            flat = np.concatenate([block.ravel() for block in blocks])
            stored[y : y + 32, x : x + 48] = flat.reshape(32, 48)
    tag = (50974, "H", 2, (2, 4), True)
    _stored(raw, stored, tmp_path / "a.dng", tag, tile=(32, 48))
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_one_after_the_other(compression, tmp_path):
    linear = np.stack([_mosaic() // n for n in (1, 2, 3)]).astype(np.uint16)
    tags = [t for t in dng._tags(_raw(), linear[0]) if t[0] not in (33421, 33422, 50713, 50714)]
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


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}], ids=str)
def test_floating_point_samples_and_their_levels_are_of_one_unit(kind, options, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    light = (raw.mosaic / 16383).astype(kind)
    levels = [(50713, "H", 2, (1, 1), True), (50714, "2I", 1, (1, 20), True)]
    white = (50717, "I", 1, 1, True)
    _stored(raw, light, tmp_path / "a.dng", *levels, white, **options)
    read = read_raw(tmp_path / "a.dng")
    assert read.mosaic is not None
    assert np.array_equal(np.asarray(read.mosaic), light.astype(np.float32).clip(max=1))
    assert read.white == 1
    np.testing.assert_allclose(read.black, 0.05)


def test_a_white_level_for_each_plane(tmp_path):
    """Light of each plane from its own black to its own white (DNG 1.7.1, chapter 5)."""
    black, white = np.array([256, 512, 1024]), np.array([12000, 16383, 14000])
    light = np.stack([_mosaic()] * 3) / 16384
    samples = np.rint(black[:, None, None] + light * (white - black)[:, None, None])
    linear = dataclasses.replace(
        _raw(),
        mosaic=None,
        cfa=None,
        linear=samples.astype(np.uint16),
        black=black.astype(np.float32),
    )
    path = tmp_path / "a.dng"
    tags_of = dng._tags
    with mock.patch.object(
        dng,
        "_tags",
        lambda raw, pixels: [
            *(t for t in tags_of(raw, pixels) if t[0] != 50717),
            (50717, "I", 3, tuple(white.tolist()), True),
        ],
    ):
        write_dng(linear, path)
    read = read_raw(path)
    np.testing.assert_allclose(np.asarray(read.linear), light, atol=1e-4)


@pytest.mark.parametrize("dim", [(4, 4), (1, 8), (3, 5)])
def test_black_patterns_of_any_size_are_tiled_over_the_frame(dim, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    rows, columns = np.indices(raw.mosaic.shape)
    pattern = 500 + 30 * np.arange(dim[0] * dim[1]).reshape(dim)
    flat = raw.mosaic.astype(int) - 600
    stored = (flat + pattern[rows % dim[0], columns % dim[1]]).clip(0).astype(np.uint16)
    tags = [
        (50713, "H", 2, dim, True),
        (50714, "H", pattern.size, tuple(pattern.ravel().tolist()), True),
    ]
    _stored(raw, stored, tmp_path / "a.dng", *tags)
    read = read_raw(tmp_path / "a.dng")
    span = raw.white - pattern.max()
    assert read.mosaic is not None
    np.testing.assert_allclose(read.mosaic, flat / span, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "dim", "expected", "note"),
    [
        (4, None, [[500, 510], [520, 530]], "taken as one for each place of the mosaic"),
        (3, None, [[510, 510], [510, 510]], "their mean taken, 510"),
        (1, (2, 2), [[500, 500], [500, 500]], None),
        (4, (1, 1), [[500, 510], [520, 530]], "taken as one for each place of the mosaic"),
    ],
)
def test_black_levels_that_do_not_fit_their_pattern(count, dim, expected, note, tmp_path):
    raw = _raw()
    values = tuple(500 + 10 * i for i in range(count))
    tags = [(50714, "H", count, values if count > 1 else values[0], True)]
    tags += [(50713, "H", 2, dim, True)] if dim else []
    path = tmp_path / "a.dng"
    others = [t for t in dng._tags(raw, np.asarray(raw.mosaic)) if t[0] not in (50713, 50714)]
    with mock.patch.object(dng, "_tags", return_value=[*others, *tags]):
        write_dng(raw, path)
    read = read_raw(path)
    np.testing.assert_array_equal(read.black, expected)
    assert any(note in said for said in read.fallbacks) if note else len(read.fallbacks) == 0


@pytest.mark.parametrize("predictor", range(1, 8))
def test_all_predictors_of_lossless_jpeg(predictor, tmp_path):
    """Differences made here from the formulas of T.81, table H.1, and coded as if by the first."""
    raw = _raw()
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
    _write(tmp_path / "a.dng", raw, [bytes(segment)], rows=64)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic)


def test_a_mosaic_of_one_colour_is_grey(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    tags = (33422, "B", 4, (0, 0, 0, 0), True)
    _stored(raw, raw.mosaic, tmp_path / "a.dng", tags)
    read = read_raw(tmp_path / "a.dng")
    assert read.linear is not None
    assert read.fallbacks[0].startswith("the mosaic [[0, 0], [0, 0]]: demosaiced")
    assert np.array_equal(read.linear[0], read.linear[2])


def test_a_bayer_pattern_may_be_written_more_than_once(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    pattern = np.tile(np.array(NIKON_D750.cfa), (2, 3))
    tags = [
        (33421, "H", 2, pattern.shape, True),
        (33422, "B", pattern.size, tuple(pattern.ravel().tolist()), True),
    ]
    _stored(raw, raw.mosaic, tmp_path / "a.dng", *tags)
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(np.asarray(read.mosaic), raw.mosaic)
    assert np.array_equal(np.asarray(read.cfa), NIKON_D750.cfa)


def test_planes_may_be_listed_in_another_order(tmp_path):
    """CFAPlaneColor 2, 1, 0: white balance and matrix say blue first."""
    raw = _raw()
    assert raw.mosaic is not None
    turned = replace(
        raw,
        as_shot_neutral=raw.as_shot_neutral[::-1],
        xyz_to_camera=np.ascontiguousarray(raw.xyz_to_camera[::-1]),
    )
    _stored(turned, raw.mosaic, tmp_path / "a.dng", (50710, "B", 3, (2, 1, 0), True))
    read = read_raw(tmp_path / "a.dng")
    np.testing.assert_allclose(read.as_shot_neutral, raw.as_shot_neutral, atol=1e-6)
    np.testing.assert_allclose(read.xyz_to_camera, raw.xyz_to_camera, atol=1e-6)


def test_a_table_maps_samples_of_32_bits_and_may_be_too_long(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    table = np.concatenate([np.arange(65536) // 2, [0] * 9])
    tag = (50712, "H", len(table), tuple(table.tolist()), True)
    _stored(raw, raw.mosaic, tmp_path / "a.dng", tag)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic // 2)
    wide = [tag, (50713, "H", 2, (1, 1), True), (50714, "H", 1, 300, True)]
    _stored(raw, raw.mosaic.astype(np.uint32), tmp_path / "b.dng", *wide)
    read = read_raw(tmp_path / "b.dng")
    assert np.array_equal(np.asarray(read.mosaic), raw.mosaic // 2)
    assert read.black.max() == 300


def test_a_few_samples_that_are_no_numbers_are_mended(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    light = (raw.mosaic / 16383).astype(np.float32)
    light[20, 30], light[41, 7] = np.nan, np.inf
    tags = [(50713, "H", 2, (1, 1), True), (50714, "H", 1, 0, True), (50717, "I", 1, 1, True)]
    _stored(raw, light, tmp_path / "a.dng", *tags)
    read = read_raw(tmp_path / "a.dng")
    assert "2 samples that are no finite numbers: interpolated" in read.fallbacks
    assert np.isfinite(np.asarray(read.mosaic)).all()
    light[:10] = np.nan
    _stored(raw, light, tmp_path / "b.dng", *tags)
    with pytest.raises(RawFileError, match="no finite numbers"):
        read_raw(tmp_path / "b.dng")
