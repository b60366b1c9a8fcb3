"""Opcodes of lists 1 and 2 in files: applied at their place, noted, or the file is refused.

The property test of random DNGs compares all of them with an independent reader; here are the
cases that it cannot draw, and values worked out by hand.
"""

import dataclasses
import struct

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from isp_env.develop.reference import develop
from isp_env.dng.apply_opcodes import OpcodeError, apply_opcode, mend
from isp_env.dng.opcode_lists import parse_opcodes
from isp_env.dng.opcodes import (
    Area,
    DeltaPerColumn,
    FixBadPixelsConstant,
    FixBadPixelsList,
    GainMap,
    MapPolynomial,
    MapTable,
    ScalePerRow,
)
from isp_env.errors import RawFileError
from isp_env.raw import read_raw

WHOLE = (0, 0, 0, 0, 0, 1, 1, 1)  # an empty area stands for all
RGGB = np.array([[0, 1], [1, 2]], np.uint8)


def opcode(number: int, payload: bytes, *, optional: bool = False) -> bytes:
    return struct.pack(">4I", number, 0x01030000, int(optional), len(payload)) + payload


def opcode_list(*opcodes: bytes) -> bytes:
    return struct.pack(">I", len(opcodes)) + b"".join(opcodes)


def tag(code: int, *opcodes: bytes) -> tuple:
    content = opcode_list(*opcodes)
    return (code, 7, len(content), content, True)


def polynomial(*coefficients: float, area=WHOLE) -> bytes:
    count = len(coefficients)
    return struct.pack(f">4i5I{count}d", *area, count - 1, *coefficients)


def normalised(raw) -> np.ndarray:
    return (raw.mosaic.astype(np.float64) - 600) / (raw.white - 600)


def test_a_polynomial_of_list_2_maps_light(write_tagged, take):
    raw = take()
    read = read_raw(write_tagged(raw, tag(51009, opcode(8, polynomial(0.05, 0.5, 0.25)))))
    light = normalised(raw).clip(0, 1)
    expected = 0.05 + 0.5 * light + 0.25 * light**2
    above = normalised(raw) > 0
    assert (read.white, read.black.max()) == (1, 0)
    assert read.mosaic is not None
    np.testing.assert_allclose(read.mosaic[above], expected[above], atol=1e-6)


def test_a_polynomial_of_list_1_maps_stored_numbers(write_tagged, take):
    raw = take()
    assert raw.mosaic is not None
    squared = polynomial(100.0, 0.5, 1e-5)
    read = read_raw(write_tagged(raw, tag(51008, opcode(8, squared))))
    stored = raw.mosaic.astype(np.float64)
    assert read.mosaic is not None
    np.testing.assert_allclose(read.mosaic, 100 + 0.5 * stored + 1e-5 * stored**2, atol=0.51)
    assert read.white == raw.white


@pytest.mark.parametrize("code", [51008, 51009, 51022])
def test_a_demanded_opcode_that_nobody_knows_refuses_the_file(write_tagged, take, code):
    path = write_tagged(take(), tag(code, opcode(4711, b"")))
    with pytest.raises(RawFileError, match=r"the file demands opcode 4711.* cannot be applied"):
        develop(read_raw(path))  # list 3 is applied here


@pytest.mark.parametrize("code", [51008, 51009])
def test_an_optional_opcode_that_cannot_be_applied_is_noted(write_tagged, take, code):
    warp = struct.pack(">I6d2d", 1, 1.01, 0, 0, 0, 0, 0, 0.5, 0.5)
    path = write_tagged(
        take(), tag(code, opcode(4711, b"", optional=True), opcode(1, warp, optional=True))
    )
    read = read_raw(path)
    number = code - 51008 + 1
    assert read.fallbacks[:2] == (
        f"opcode 4711 of OpcodeList{number}: left out (no correction of a mosaic)",
        f"WarpRectilinear of OpcodeList{number}: left out (no correction of a mosaic)",
    )
    np.testing.assert_array_equal(read.mosaic, take().mosaic)


def test_a_demanded_opcode_beyond_the_picture_refuses_the_file(write_tagged, take):
    trim = opcode(6, struct.pack(">4i", 0, 0, 1000, 1000))
    with pytest.raises(RawFileError, match="demands TrimBounds of OpcodeList2"):
        read_raw(write_tagged(take(), tag(51009, trim)))


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\1",
        opcode_list(opcode(8, polynomial(0.0, 1.0))[:-3]),
        opcode_list(opcode(8, polynomial(0.0, np.nan))),
        opcode_list(opcode(8, polynomial(*range(10)))),
        opcode_list(opcode(7, struct.pack(">4i5I", *WHOLE, 0))),
        opcode_list(opcode(6, struct.pack(">4i", 4, 4, 4, 9))),
        opcode_list(opcode(10, struct.pack(">4i5If", 0, 0, 4, 4, 0, 1, 1, 1, 1, 0.5))),
        opcode_list(opcode(8, polynomial(0.0, 1.0, area=(0, 0, 4, 4, 0, 1, 0, 1)))),
        opcode_list(opcode(8, polynomial(0.0, 1.0, area=(-4, 0, 4, 4, 0, 1, 1, 1)))),
        opcode_list(opcode(1, struct.pack(">I", 0))),
        struct.pack(">I", 2**31),
    ],
)
def test_damaged_lists_are_value_errors(content):
    with pytest.raises(ValueError, match="damaged opcode list"):
        parse_opcodes(content)


def test_trimmed_mosaics_begin_at_another_colour(write_tagged, take):
    raw = take()
    trim = opcode(6, struct.pack(">4i", 3, 5, 61, 91))
    read = read_raw(write_tagged(raw, tag(51009, trim)))
    assert read.mosaic is not None
    np.testing.assert_allclose(read.mosaic, normalised(raw)[3:61, 5:91], atol=1e-6)
    np.testing.assert_array_equal(read.cfa, np.roll(RGGB, (-3, -5), (0, 1)))
    assert read.active_area == (3, 5, 61, 91)


# -- each opcode on a small picture --


def test_areas_step_from_their_own_corner():
    image = np.zeros((2, 8, 9), np.float32)
    area = Area(1, 2, 7, 9, 1, 5, 2, 3)
    apply_opcode(image, DeltaPerColumn(area, np.array([0.1, 0.2, 0.3], np.float32)))
    expected = np.zeros((2, 8, 9), np.float32)
    for row in (1, 3, 5):
        expected[1, row, [2, 5, 8]] = 0.1, 0.2, 0.3
    np.testing.assert_array_equal(image, expected)


def test_rows_are_scaled():
    image = np.ones((1, 4, 3), np.float32)
    apply_opcode(image, ScalePerRow(Area(0, 0, 4, 2, 0, 1, 1, 1), np.arange(4, dtype=np.float32)))
    np.testing.assert_array_equal(image[0, :, :2], np.repeat([[0], [1], [2], [3]], 2, axis=1))
    np.testing.assert_array_equal(image[0, :, 2], 1)


def test_the_last_entry_of_a_table_stands_for_all_beyond_it():
    table = MapTable(Area(*WHOLE), np.array([10, 20, 30], np.uint16))
    stored = np.array([[[0, 1, 2, 3, 60000]]], np.float32)
    np.testing.assert_allclose(
        apply_opcode(stored, table, top=65535.0), [[[10, 20, 30, 30, 30]]], atol=1e-3
    )
    light = np.array([[[0, 1 / 65535, 1]]], np.float32)
    expected = np.array([[[10, 20, 30]]]) / 65535
    np.testing.assert_allclose(apply_opcode(light, table), expected, atol=1e-9)


def test_noise_below_black_follows_the_slope_of_a_polynomial():
    image = np.array([[[-0.01, 0.5, 2.0]]], np.float32)
    curve = MapPolynomial(Area(*WHOLE), np.array([0.0, 0.5, 0.5]))
    np.testing.assert_allclose(apply_opcode(image, curve), [[[-0.005, 0.375, 1.0]]])


def test_bad_pixels_are_mended_by_their_own_colour():
    """A ramp of each colour: the mean of opposite neighbours is what was there."""
    rows, columns = np.mgrid[:20, :24]
    ramp = (rows + 2 * columns + 100 * RGGB[rows % 2, columns % 2]).astype(np.float32)
    points = np.array([[4, 6], [7, 9], [10, 11], [13, 10], [200, 3]])
    damaged = ramp.copy()[None]
    for row, column in points[:4]:
        damaged[0, row, column] = 9999
    listed = FixBadPixelsList(points, np.zeros((0, 4), int))
    np.testing.assert_allclose(apply_opcode(damaged.copy(), listed, RGGB)[0], ramp, atol=1e-4)
    constant = FixBadPixelsConstant(9999)
    np.testing.assert_allclose(apply_opcode(damaged, constant, RGGB)[0], ramp, atol=1e-4)


def test_bad_columns_and_blocks_are_mended():
    rng = np.random.default_rng(0)
    plane = (100 + rng.normal(0, 1, (60, 64))).astype(np.float32)[None]
    plane[0, :, 30:32] = 5000
    plane[0, 5:50, 5:20] = 5000  # no good pixel of a colour within reach of its middle
    opcode_ = FixBadPixelsList(np.zeros((0, 2), int), np.array([[0, 30, 60, 32], [5, 5, 50, 20]]))
    mended = apply_opcode(plane, opcode_, RGGB)
    assert np.abs(mended - 100).max() < 6


def test_bad_pixels_without_a_good_one_cannot_be_mended():
    plane = np.ones((4, 4), np.float32)
    with pytest.raises(OpcodeError, match="good one of their colour"):
        mend(plane, np.ones((4, 4), bool), None)
    bad = np.zeros((4, 4), bool)
    bad[::2, ::2] = True  # all of red
    with pytest.raises(OpcodeError, match="good one of their colour"):
        mend(plane, bad, RGGB)


def test_a_gain_map_is_interpolated_between_pixel_centres():
    """Bilinear, by scipy on the relative positions of DNG 1.7.1, opcode 9."""
    rng = np.random.default_rng(0)
    table = rng.uniform(0.5, 2, (5, 7)).astype(np.float32)
    gain = GainMap(1, 2, 30, 39, 0, 1, 2, 3, table, 0.22, 0.15, 0.05, 0.02)
    image = np.ones((1, 32, 40), np.float32)
    points = 0.05 + 0.22 * np.arange(5), 0.02 + 0.15 * np.arange(7)
    field = RegularGridInterpolator(points, table.astype(float))
    rows, columns = np.mgrid[1:30:2, 2:39:3]
    v = ((rows + 0.5) / 32).clip(points[0][0], points[0][-1])
    h = ((columns + 0.5) / 40).clip(points[1][0], points[1][-1])
    expected = image.copy()
    expected[0, 1:30:2, 2:39:3] = field(np.stack([v, h], -1))
    np.testing.assert_allclose(apply_opcode(image, gain), expected, atol=1e-5)


def test_a_map_of_several_planes_is_for_the_planes_of_the_image():
    """Plane p of the picture takes plane p of the map, and the last one stands for the rest."""
    gains = np.arange(1, 4, dtype=">f4")
    head = struct.pack(">4i4I2I4dI", 0, 0, 4, 4, 1, 2, 1, 1, 1, 1, 1.0, 1.0, 0.0, 0.0, 3)
    found = [o for o, _ in parse_opcodes(opcode_list(opcode(9, head + gains.tobytes())))]
    image = np.ones((4, 4, 4), np.float32)
    for gain in found:
        image = apply_opcode(image, gain)
    np.testing.assert_array_equal(image[:, 0, 0], [1, 2, 3, 1])


def test_the_same_opcode_twice_is_applied_twice(write_tagged, take):
    raw = take()
    half = opcode(8, polynomial(0.0, 0.5))
    once = read_raw(write_tagged(raw, tag(51009, half)))
    twice = read_raw(write_tagged(raw, tag(51009, half, half)))
    assert once.mosaic is not None
    assert twice.mosaic is not None
    np.testing.assert_allclose(twice.mosaic, once.mosaic / 2, atol=1e-6)
    assert dataclasses.asdict(once)["gain_maps"] == ()


def test_a_damaged_opcode_that_may_be_left_out_is_noted(write_tagged, take):
    damaged = opcode(8, polynomial(*range(10)), optional=True)
    read = read_raw(write_tagged(take(), tag(51009, damaged)))
    assert read.fallbacks[0].startswith("opcode 8 of OpcodeList2: left out")
    np.testing.assert_array_equal(read.mosaic, take().mosaic)


def test_large_rectangles_are_mended_in_one_go(write_tagged, take):
    raw = take(600, 800)
    block = struct.pack(">3I4I", 0, 0, 1, 100, 100, 500, 700)
    read = read_raw(write_tagged(raw, tag(51008, opcode(5, block))))
    assert read.mosaic is not None
    assert raw.mosaic is not None
    np.testing.assert_array_equal(read.mosaic[:100], raw.mosaic[:100])
    assert read.mosaic[300, 400] in raw.mosaic
