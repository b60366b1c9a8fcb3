"""From a DNG's stored numbers to light: levels, tables and mosaics as its tags say."""

import dataclasses
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from experiments.isp.dng_reference.tiff_writer import (
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    Directory,
    Tag,
    rationals,
    write_tiff,
)
from isp_env.dng.lossless_jpeg import encode
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.raw import write_dng as dng
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.samples import NIKON_D750
from tests.isp_env.raw.dng_files import (
    a_mosaic,
    a_picture,
    directory_of,
    mosaic_of,
    write_blocks,
    write_parts,
    write_stored,
)


@pytest.mark.parametrize("white", [0, 70_000])
def test_an_impossible_saturation_level_is_replaced_and_noted(white, tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    tag = (50717, "I", 1, white, True)
    write_parts(tmp_path / "a.dng", raw, [strip], rows=64, extra=[tag], drop=(50717,))
    read = read_raw(tmp_path / "a.dng")
    assert read.white == 65535
    assert f"WhiteLevel [{white}.0] is none of samples of 16 bits: 65535 taken" in read.fallbacks


def test_without_its_levels_a_file_has_the_specifications(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    strip = encode(raw.mosaic.reshape(64, 40, 2))
    write_parts(tmp_path / "a.dng", raw, [strip], rows=64, drop=(50713, 50714, 50717))
    read = read_raw(tmp_path / "a.dng")
    assert (read.white, read.black.max()) == (65535, 0)
    assert np.array_equal(np.asarray(read.mosaic), raw.mosaic)


@pytest.mark.parametrize("components", [1, 2])
def test_a_linearization_table_maps_the_samples(components, tmp_path):
    raw = a_picture((64, 64))
    assert raw.mosaic is not None
    tiles = [
        encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, -1, components))
        for y in (0, 32)
        for x in (0, 32)
    ]
    table = np.minimum(np.arange(15000) * 3, 40000)
    tag = (50712, "H", len(table), tuple(table.tolist()), True)
    write_parts(tmp_path / "a.dng", raw, tiles, tile=(32, 32), extra=[tag], drop=(50717,))
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(np.asarray(read.mosaic), table[np.minimum(raw.mosaic, 14999)])


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}], ids=str)
def test_floating_point_samples_and_their_levels_are_of_one_unit(kind, options, tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    light = (raw.mosaic / 16383).astype(kind)
    levels = [(50713, "H", 2, (1, 1), True), (50714, "2I", 1, (1, 20), True)]
    white = (50717, "I", 1, 1, True)
    write_stored(raw, light, tmp_path / "a.dng", *levels, white, **options)
    read = read_raw(tmp_path / "a.dng")
    assert read.mosaic is not None
    assert np.array_equal(np.asarray(read.mosaic), light.astype(np.float32).clip(max=1))
    assert read.white == 1
    np.testing.assert_allclose(read.black, 0.05)


def test_a_white_level_for_each_plane(tmp_path):
    """Light of each plane from its own black to its own white (DNG 1.7.1, chapter 5)."""
    black, white = np.array([256, 512, 1024]), np.array([12000, 16383, 14000])
    light = np.stack([a_mosaic()] * 3) / 16384
    samples = np.rint(black[:, None, None] + light * (white - black)[:, None, None])
    linear = dataclasses.replace(
        a_picture(),
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
    raw = a_picture()
    assert raw.mosaic is not None
    rows, columns = np.indices(raw.mosaic.shape)
    pattern = 500 + 30 * np.arange(dim[0] * dim[1]).reshape(dim)
    flat = raw.mosaic.astype(int) - 600
    stored = (flat + pattern[rows % dim[0], columns % dim[1]]).clip(0).astype(np.uint16)
    tags = [
        (50713, "H", 2, dim, True),
        (50714, "H", pattern.size, tuple(pattern.ravel().tolist()), True),
    ]
    write_stored(raw, stored, tmp_path / "a.dng", *tags)
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
    raw = a_picture()
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


def test_a_mosaic_of_one_colour_is_grey(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    tags = (33422, "B", 4, (0, 0, 0, 0), True)
    write_stored(raw, raw.mosaic, tmp_path / "a.dng", tags)
    read = read_raw(tmp_path / "a.dng")
    assert read.linear is not None
    assert read.fallbacks[0].startswith("the mosaic [[0, 0], [0, 0]]: demosaiced")
    assert np.array_equal(read.linear[0], read.linear[2])


def test_a_bayer_pattern_may_be_written_more_than_once(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    pattern = np.tile(np.array(NIKON_D750.cfa), (2, 3))
    tags = [
        (33421, "H", 2, pattern.shape, True),
        (33422, "B", pattern.size, tuple(pattern.ravel().tolist()), True),
    ]
    write_stored(raw, raw.mosaic, tmp_path / "a.dng", *tags)
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(np.asarray(read.mosaic), raw.mosaic)
    assert np.array_equal(np.asarray(read.cfa), NIKON_D750.cfa)


def test_planes_may_be_listed_in_another_order(tmp_path):
    """CFAPlaneColor 2, 1, 0: white balance and matrix say blue first."""
    raw = a_picture()
    assert raw.mosaic is not None
    turned = replace(
        raw,
        as_shot_neutral=raw.as_shot_neutral[::-1],
        xyz_to_camera=np.ascontiguousarray(raw.xyz_to_camera[::-1]),
    )
    write_stored(turned, raw.mosaic, tmp_path / "a.dng", (50710, "B", 3, (2, 1, 0), True))
    read = read_raw(tmp_path / "a.dng")
    np.testing.assert_allclose(read.as_shot_neutral, raw.as_shot_neutral, atol=1e-6)
    np.testing.assert_allclose(read.xyz_to_camera, raw.xyz_to_camera, atol=1e-6)


def test_a_table_maps_samples_of_32_bits_and_may_be_too_long(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    table = np.concatenate([np.arange(65536) // 2, [0] * 9])
    tag = (50712, "H", len(table), tuple(table.tolist()), True)
    write_stored(raw, raw.mosaic, tmp_path / "a.dng", tag)
    assert np.array_equal(np.asarray(read_raw(tmp_path / "a.dng").mosaic), raw.mosaic // 2)
    wide = [tag, (50713, "H", 2, (1, 1), True), (50714, "H", 1, 300, True)]
    write_stored(raw, raw.mosaic.astype(np.uint32), tmp_path / "b.dng", *wide)
    read = read_raw(tmp_path / "b.dng")
    assert np.array_equal(np.asarray(read.mosaic), raw.mosaic // 2)
    assert read.black.max() == 300


def test_a_few_samples_that_are_no_numbers_are_mended(tmp_path):
    raw = a_picture()
    assert raw.mosaic is not None
    light = (raw.mosaic / 16383).astype(np.float32)
    light[20, 30], light[41, 7] = np.nan, np.inf
    tags = [(50713, "H", 2, (1, 1), True), (50714, "H", 1, 0, True), (50717, "I", 1, 1, True)]
    write_stored(raw, light, tmp_path / "a.dng", *tags)
    read = read_raw(tmp_path / "a.dng")
    assert "2 samples that are no finite numbers: interpolated" in read.fallbacks
    assert np.isfinite(np.asarray(read.mosaic)).all()
    light[:10] = np.nan
    write_stored(raw, light, tmp_path / "b.dng", *tags)
    with pytest.raises(RawFileError, match="no finite numbers"):
        read_raw(tmp_path / "b.dng")


PLANES: dict[int, Tag] = {258: (SHORT, [16, 16, 16]), 262: (SHORT, [34892]), 277: (SHORT, [3])}


@pytest.mark.parametrize(
    ("changes", "black"),
    [
        ({50714: (SHORT, [10, 20, 30])}, [10, 20, 30]),
        ({50713: (SHORT, [2, 2]), 50714: (SHORT, [10, 20, 30])}, [10, 20, 30]),
        ({50713: (SHORT, [1, 1]), 50714: (SHORT, [10])}, [10, 10, 10]),
    ],
    ids=["of each plane", "that do not fit", "of all"],
)
def test_black_levels_of_planes(changes, black, tmp_path):
    linear = np.stack([a_mosaic()] * 3, -1)
    write_blocks(a_picture(), tmp_path / "a.dng", [linear.tobytes()], {**PLANES, **changes})
    np.testing.assert_array_equal(read_raw(tmp_path / "a.dng").black, black)


def test_a_black_pattern_may_be_the_same_for_all_planes(tmp_path):
    linear = np.stack([a_mosaic()] * 3, -1)
    changes: dict[int, Tag] = {**PLANES, 50713: (SHORT, [1, 2]), 50714: (SHORT, [0, 600])}
    write_blocks(a_picture(), tmp_path / "a.dng", [linear.tobytes()], changes)
    read = read_raw(tmp_path / "a.dng")
    expected = (a_mosaic() - np.tile([0.0, 600.0], 40)) / (65535 - 600)
    for plane in np.asarray(read.linear):
        np.testing.assert_allclose(plane, expected, atol=1e-6)


def test_levels_of_another_picture_in_the_first_directory_are_not_taken(tmp_path):
    """The first page is an enhanced picture with levels of its own, the main one has none."""
    raw, small = a_picture(), a_mosaic((32, 40))
    levels: dict[int, Tag] = {50714: (SHORT, [999]), 50717: (LONG, [5000]), 50719: (SHORT, [9, 9])}
    enhanced = Directory(
        {
            254: (LONG, [16]),
            256: (LONG, [40]),
            257: (LONG, [32]),
            258: (SHORT, [16]),
            259: (SHORT, [1]),
            262: (SHORT, [34892]),
            277: (SHORT, [1]),
            278: (LONG, [32]),
            50706: (BYTE, bytes((1, 5, 0, 0))),
            **levels,
        },
        [small.tobytes()],
        children=[directory_of(raw, [mosaic_of(raw).tobytes()], {})],
    )
    (tmp_path / "a.dng").write_bytes(write_tiff([enhanced], "<"))
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(np.asarray(read.mosaic), mosaic_of(raw))
    assert (read.black.max(), read.white, read.crop) == (0, 65535, (0, 0, 64, 80))


def test_levels_that_stand_beside_a_preview_are_taken_and_its_table_is_not(tmp_path):
    raw = a_picture()
    preview: dict[int, Tag] = {
        254: (LONG, [1]),
        256: (LONG, [8]),
        257: (LONG, [8]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [1]),
        262: (SHORT, [2]),
        277: (SHORT, [3]),
        278: (LONG, [8]),
        50706: (BYTE, bytes((1, 4, 0, 0))),
        50712: (SHORT, [5]),
        50714: (SHORT, [321]),
    }
    child = directory_of(raw, [mosaic_of(raw).tobytes()], {})
    (tmp_path / "a.dng").write_bytes(
        write_tiff([Directory(preview, [bytes(192)], children=[child])], "<")
    )
    read = read_raw(tmp_path / "a.dng")
    assert np.array_equal(np.asarray(read.mosaic), mosaic_of(raw))
    assert read.black.max() == 321


def test_the_orientation_of_the_file_is_that_of_its_first_directory(tmp_path):
    raw = a_picture()
    child = directory_of(raw, [mosaic_of(raw).tobytes()], {274: (SHORT, [1])})
    first = directory_of(raw, [mosaic_of(raw).tobytes()], {254: (LONG, [1]), 274: (SHORT, [6])})
    (tmp_path / "a.dng").write_bytes(write_tiff([replace(first, children=[child])], "<"))
    assert read_raw(tmp_path / "a.dng").orientation == 6


def test_halves_of_the_default_crop_are_rounded_up(tmp_path):
    raw = a_picture()
    crop: dict[int, Tag] = {
        50719: (RATIONAL, rationals([2.5, 3.5], 10)),
        50720: (RATIONAL, rationals([60.5, 40.4], 10)),
    }
    write_blocks(raw, tmp_path / "a.dng", [mosaic_of(raw).tobytes()], crop)
    assert read_raw(tmp_path / "a.dng").crop == (4, 3, 44, 64)
