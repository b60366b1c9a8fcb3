"""Warps and radial gains against pictures that scipy and the specification's formulas make."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from isp_env.develop.warp import (
    composed,
    is_identity,
    warp_in_place,
    warp_source,
)
from isp_env.dng.opcodes import FixVignetteRadial, WarpFisheye, WarpRectilinear, WarpRectilinear2
from isp_env.dng.radial_gain import fix_vignette_in_place, optical_center, shade_in_place
from tests.isp_env.develop.pictures import Formula, border_errors, drawn_by

SHAPE = (170, 230)
SIDE = 20


def rectilinear(kr: tuple, kt: tuple = (0, 0), center: tuple = (0.5, 0.5)) -> Formula:
    """DNG 1.7.1, chapter 7, WarpRectilinear, written out for SHAPE."""
    height, width = SHAPE
    x0, y0 = center[0] * (width - 1), center[1] * (height - 1)
    m = np.hypot(max(x0, width - 1 - x0), max(y0, height - 1 - y0))

    def formula(x, y):
        dx, dy = (x - x0) / m, (y - y0) / m
        r2 = dx**2 + dy**2
        f = kr[0] + kr[1] * r2 + kr[2] * r2**2 + kr[3] * r2**3
        tx = kt[0] * 2 * dx * dy + kt[1] * (r2 + 2 * dx**2)
        ty = kt[1] * 2 * dx * dy + kt[0] * (r2 + 2 * dy**2)
        return x0 + m * (f * dx + tx), y0 + m * (f * dy + ty)

    return formula


def fisheye(kr: tuple) -> Formula:
    height, width = SHAPE
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    m = np.hypot(x0, y0)

    def formula(x, y):
        dx, dy = (x - x0) / m, (y - y0) / m
        r = np.maximum(np.hypot(dx, dy), 1e-12)
        theta = np.arctan(r)
        f = sum(k * theta ** (2 * i + 1) for i, k in enumerate(kr)) / r
        return x0 + m * f * dx, y0 + m * f * dy

    return formula


def of_all(*numbers: float, center=(0.5, 0.5)) -> WarpRectilinear:
    return WarpRectilinear(np.array([numbers], np.float64), center)


def planes(board: np.ndarray) -> np.ndarray:
    return np.stack([board] * 3).astype(np.float32)


KR2 = (0.97, 0.05, 0.0, -0.06, 0.0, 0.02) + (0.0,) * 9
CASES = {
    "barrel": (of_all(1, -0.08, 0.02, 0.005, 0, 0), rectilinear((1, -0.08, 0.02, 0.005))),
    "pincushion": (of_all(0.93, 0.06, 0, 0, 0, 0), rectilinear((0.93, 0.06, 0, 0))),
    "tangential": (
        of_all(0.98, 0.01, 0, 0, 0.01, -0.006),
        rectilinear((0.98, 0.01, 0, 0), (0.01, -0.006)),
    ),
    "off centre": (
        of_all(0.97, -0.05, 0, 0, 0, 0.004, center=(0.4, 0.62)),
        rectilinear((0.97, -0.05, 0, 0), (0, 0.004), (0.4, 0.62)),
    ),
    "fisheye": (
        WarpFisheye(np.array([[1.1, -0.1, 0.03, 0.0]]), (0.5, 0.5)),
        fisheye((1.1, -0.1, 0.03, 0.0)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_checkerboard_is_straightened_to_a_quarter_of_a_pixel(case):
    opcode, formula = CASES[case]
    board = drawn_by(formula, SHAPE, SIDE)
    straight = drawn_by(lambda x, y: (x, y), SHAPE, SIDE)
    assert np.abs(board - straight).mean() > 0.03  # the lens does bend it
    picture = planes(board)
    warp_in_place(picture, warp_source(opcode, SHAPE), alike=True)
    errors = border_errors(picture[1], SIDE)
    assert len(errors) > 80
    assert np.abs(errors).max() < 0.25
    assert np.array_equal(picture[0], picture[2])


def test_warp_rectilinear_2_has_odd_powers_a_valid_range_and_a_reciprocal():
    height, width = SHAPE
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    m = np.hypot(x0, y0)
    valid = (0.1, 0.8)
    x, y = np.meshgrid(np.linspace(0, width - 1, 33), np.linspace(0, height - 1, 25))
    r = (np.hypot(x - x0, y - y0) / m).clip(*valid)
    f = sum(k * r**i for i, k in enumerate(KR2))
    for reciprocal, ratio in ((False, f), (True, 1 / f)):
        opcode = WarpRectilinear2(
            np.array([[*KR2, 0.0, 0.0]]), np.array([valid]), (0.5, 0.5), reciprocal
        )
        found = warp_source(opcode, SHAPE)(x, y, 1)
        assert found[0] == pytest.approx(x0 + ratio * (x - x0), abs=1e-9)
        assert found[1] == pytest.approx(y0 + ratio * (y - y0), abs=1e-9)


def test_coefficients_of_each_plane_bring_the_colours_together():
    red, green, blue = (0.99, 0.012, 0, 0), (0.98, 0.015, 0, 0), (0.972, 0.02, 0, 0)
    boards = [drawn_by(rectilinear(kr), SHAPE, SIDE) for kr in (red, green, blue)]
    apart = border_errors(boards[0], SIDE) - border_errors(boards[2], SIDE)
    assert np.abs(apart).max() > 0.7
    picture = np.stack(boards)
    coefficients = np.array([[*kr, 0, 0] for kr in (red, green, blue)])
    warp_in_place(picture, warp_source(WarpRectilinear(coefficients, (0.5, 0.5)), SHAPE))
    errors = np.array([border_errors(plane, SIDE) for plane in picture])
    assert np.abs(errors).max() < 0.25
    assert np.abs(errors[0] - errors[1]).max() < 0.25
    assert np.abs(errors[2] - errors[1]).max() < 0.25


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 61)])
def test_identity_keeps_every_sample(shape):
    rng = np.random.default_rng(0)
    picture = rng.normal(0.3, 1, (3, *shape)).astype(np.float32)
    before = picture.copy()
    opcode = of_all(1, 0, 0, 0, 0, 0)
    warp_in_place(picture, warp_source(opcode, shape))
    assert np.array_equal(picture, before)
    assert is_identity(opcode)
    assert not is_identity(of_all(1, 0, 0, 1e-9, 0, 0))


def test_smooth_light_is_what_splines_say():
    rng = np.random.default_rng(1)
    scene = gaussian_filter(rng.uniform(0, 4, SHAPE), 3).astype(np.float32)
    opcode, formula = CASES["off centre"]
    picture = planes(scene)
    warp_in_place(picture, warp_source(opcode, SHAPE), alike=True)
    x, y = formula(*np.meshgrid(*(np.arange(side, dtype=float) for side in SHAPE[::-1])))
    expected = map_coordinates(scene.astype(np.float64), [y, x], order=5, mode="nearest")
    inside = (x > 4) & (y > 4) & (x < SHAPE[1] - 5) & (y < SHAPE[0] - 5)
    assert np.abs(picture[0] - expected)[inside].max() < 8e-3  # of 2


def test_a_lamp_draws_no_dark_ring():
    board = np.full(SHAPE, 0.1, np.float32)
    board[100:106, 150:156] = 50
    picture = planes(board)
    warp_in_place(picture, warp_source(CASES["barrel"][0], SHAPE), alike=True)
    assert picture.min() == np.float32(0.1)
    assert picture.max() == 50


def test_places_outside_are_the_edge():
    picture = planes(np.tile(np.arange(SHAPE[1], dtype=np.float32), (SHAPE[0], 1)))
    warp_in_place(picture, warp_source(of_all(1.3, 0, 0, 0, 0, 0), SHAPE), alike=True)
    assert (picture[0, :, 0] == 0).all()
    assert (picture[0, :, -1] == SHAPE[1] - 1).all()


def test_two_warps_are_one():
    first, second = CASES["barrel"], CASES["tangential"]
    source = composed(warp_source(first[0], SHAPE), warp_source(second[0], SHAPE))
    x, y = np.array([3.0, 100.0, 210.0]), np.array([5.0, 150.0, 17.0])
    expected = first[1](*second[1](x, y))
    assert np.array(source(x, y, 0)) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("count", [2, 4])
def test_other_numbers_of_planes_are_refused(count):
    opcode = WarpRectilinear(np.tile([1.0, 0, 0, 0, 0, 0], (count, 1)), (0.5, 0.5))
    with pytest.raises(ValueError, match=f"a warp of {count} planes; expected 1 or 3"):
        warp_source(opcode, SHAPE)


def test_a_warp_to_nowhere_changes_nothing():
    numbers = np.zeros((1, 17))  # 1 / 0
    opcode = WarpRectilinear2(numbers, np.array([[0.0, 1.0]]), (0.5, 0.5), True)
    picture = planes(np.ones(SHAPE))
    with pytest.raises(ValueError, match="not finite"):
        warp_in_place(picture, warp_source(opcode, SHAPE))
    assert (picture == 1).all()


@pytest.mark.parametrize("center", [(0.5, 0.5), (0.3, 0.8), (0.0, 0.0)])
def test_a_vignetted_flat_field_becomes_flat(center):
    height, width = SHAPE
    k = np.array([0.6, 0.2, -0.1, 0.15, 0.05])
    x0, y0 = center[0] * (width - 1), center[1] * (height - 1)
    corners = [np.hypot(x - x0, y - y0) for x in (0, width - 1) for y in (0, height - 1)]
    y, x = np.mgrid[:height, :width]
    r2 = ((x - x0) ** 2 + (y - y0) ** 2) / max(corners) ** 2
    light = 1 / np.polynomial.Polynomial([1.0, *k])(r2)
    assert light.min() < 0.6
    picture = planes(1.7 * light)
    fix_vignette_in_place(picture, FixVignetteRadial(k, center), SHAPE)
    assert np.abs(picture / 1.7 - 1).max() < 1e-4  # the issue asks for 1 %


def test_gains_below_zero_are_refused():
    with pytest.raises(ValueError, match="below 0"):
        shade_in_place(planes(np.ones(SHAPE)), (0.0, 0.0), 400.0, lambda r2: 1 - 2 * r2)


def test_the_centre_counts_from_first_to_last_pixel():
    assert optical_center((0.5, 0.5), (11, 21)) == pytest.approx((10, 5, np.hypot(10, 5)))
    assert optical_center((1.0, 0.0), (11, 21)) == pytest.approx((20, 0, np.hypot(20, 10)))
