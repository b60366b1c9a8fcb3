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


def _both(path):
    tags = read_dng_tags(path)
    assert tags is not None
    with rawpy.imread(str(path)) as libraw:
        ours = by_tags_alone(libraw.sizes, tags, path) if says_enough(tags, libraw.sizes) else None
        theirs = by_libraw(libraw, tags, path)
        assert theirs.cfa is not None
        black = np.array(libraw.black_level_per_channel, np.float64)[theirs.cfa]
        return ours, replace(theirs, frame=theirs.frame.copy(), black=black)


def _assert_same(path, raw, area=None) -> None:
    """What we read is what was written, and what LibRaw reads without the tags' help."""
    ours, theirs = _both(path)
    assert ours is not None
    assert np.array_equal(ours.frame, raw.mosaic)
    assert np.array_equal(theirs.frame, raw.mosaic)
    assert ours.area == (area or (0, 0, *raw.mosaic.shape))
    assert ours.cfa is not None
    assert theirs.cfa is not None
    assert np.array_equal(ours.cfa, theirs.cfa)
    assert np.array_equal(ours.black, theirs.black)
    assert ours.white == theirs.white


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


@pytest.mark.parametrize("white", [0, 70_000])
def test_an_impossible_saturation_level_is_libraws(white, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    tag = (50717, "I", 1, white, True)
    _write(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag], drop=(50717,))
    ours, theirs = _both(tmp_path / "a.dng")
    assert ours is None
    assert theirs.white == 65535


@pytest.mark.parametrize("drop", [50714, 50717])
def test_without_its_levels_a_file_is_libraws(drop, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    _write(tmp_path / "a.dng", raw, [strip], rows=64, drop=(drop,))
    ours, theirs = _both(tmp_path / "a.dng")
    assert ours is None
    assert np.array_equal(theirs.frame, raw.mosaic)


@pytest.mark.parametrize(("version", "is_ours"), [((1, 0, 0, 0), False), ((1, 1, 0, 0), True)])
def test_before_dng_1_1_differences_of_16_bits_were_others(version, is_ours, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    tag = (50706, "B", 4, version, True)
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    _write(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag], drop=(50706,))
    ours, _ = _both(tmp_path / "a.dng")
    assert (ours is not None) == is_ours


def test_where_libraw_chose_another_picture_it_is_libraws(tmp_path):
    write_dng(_raw(), tmp_path / "a.dng", "lossless jpeg")
    tags = read_dng_tags(tmp_path / "a.dng")
    assert tags is not None
    with rawpy.imread(str(tmp_path / "a.dng")) as libraw:
        assert says_enough(tags, libraw.sizes)
        assert not says_enough(tags, libraw.sizes._replace(raw_height=32))


def test_a_linearization_table_is_libraws(tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    table = (50712, "H", 65536, tuple((np.arange(65536) // 2).tolist()), True)
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    _write(tmp_path / "a.dng", raw, [strip], rows=64, extra=[table])
    ours, theirs = _both(tmp_path / "a.dng")
    assert ours is None
    assert np.array_equal(theirs.frame, raw.mosaic // 2)


@pytest.mark.parametrize("components", [1, 2])
def test_two_tiles_side_by_side_through_a_table(components, tmp_path):
    """LibRaw reads them where they have one component."""
    raw = _raw((64, 64))
    assert raw.mosaic is not None
    tiles = [
        encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, -1, components))
        for y in (0, 32)
        for x in (0, 32)
    ]
    table = (50712, "H", 65536, tuple((np.arange(65536) // 2).tolist()), True)
    _write(tmp_path / "a.dng", raw, tiles, tile=(32, 32), extra=[table])
    if components == 2:
        with pytest.raises(RawFileError, match="a layout that LibRaw misreads"):
            read_raw(tmp_path / "a.dng")
    else:
        mosaic = read_raw(tmp_path / "a.dng").mosaic
        assert mosaic is not None
        assert np.array_equal(mosaic, raw.mosaic // 2)


def test_libraw_does_not_unpack_such_a_file(tmp_path):
    write_dng(_raw(), tmp_path / "a.dng", "lossless jpeg")
    with mock.patch.object(sensor_data, "by_libraw", side_effect=AssertionError("LibRaw decodes")):
        assert read_raw(tmp_path / "a.dng").mosaic is not None


def test_a_damaged_file_is_judged_by_libraw(tmp_path):
    path = tmp_path / "a.dng"
    write_dng(_raw(), path, "lossless jpeg")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xff\xda") + 500])
    with pytest.raises(RawFileError, match=r"a\.dng: .*LibRaw"):
        read_raw(path)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (0, 80)},
        {"shape": (2**16, 2**16)},
        {"shape": (2**16, 2**16), "is_tiled": True},
        {"offsets": (2**40,)},
        {"offsets": (2**64 - 1,)},
        {"sizes": (2**31,)},
        {"sizes": (0,)},
        {"offsets": (), "sizes": ()},
        {"shape": (32, 80)},  # half of the picture
        {"offsets": (600, 600), "sizes": (2000, 2000)},
    ],
    ids=str,
)
def test_absurd_parts_are_refused_before_memory_is_taken(change, tmp_path):
    write_dng(_raw(), tmp_path / "a.dng", "lossless jpeg")
    tags = read_dng_tags(tmp_path / "a.dng")
    assert tags is not None
    assert tags.jpeg is not None
    with pytest.raises(UnsupportedJpegError):
        read_parts(tmp_path / "a.dng", replace(tags.jpeg, **change), tags.frame)


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5, 0)])
def test_tiles_that_do_not_fill_the_picture_are_refused(numbers, tmp_path):
    """Each of them is whole; with one too few, other memory would be shown."""
    raw = _raw((64, 96))
    assert raw.mosaic is not None
    corners = [(y, x) for y in (0, 32) for x in (0, 32, 64)]
    tiles = [encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, 16, 2)) for y, x in corners]
    _write(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    tags = read_dng_tags(tmp_path / "a.dng")
    assert tags is not None
    assert tags.jpeg is not None
    parts = replace(
        tags.jpeg,
        offsets=tuple(tags.jpeg.offsets[i] for i in numbers),
        sizes=tuple(tags.jpeg.sizes[i] for i in numbers),
    )
    with pytest.raises(UnsupportedJpegError, match=f"{len(numbers)} parts"):
        read_parts(tmp_path / "a.dng", parts, tags.frame)
    assert np.array_equal(read_parts(tmp_path / "a.dng", tags.jpeg, tags.frame), raw.mosaic)


@pytest.mark.parametrize(
    "tag",
    [
        (50711, "H", 1, 2, True),  # CFALayout: staggered
        (50710, "B", 3, (2, 1, 0), True),  # CFAPlaneColor: other numbers for the colours
    ],
)
def test_other_layouts_of_the_mosaic_are_libraws(tag, tmp_path):
    raw = _raw()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    _write(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag])
    tags = read_dng_tags(tmp_path / "a.dng")
    assert tags is not None
    assert tags.cfa is None
