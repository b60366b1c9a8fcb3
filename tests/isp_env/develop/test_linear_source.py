"""The compiled loops against `reference` in torch, and against numpy by hand."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from isp_env.color.rgb import REC709_LUMINANCE
from isp_env.develop.compiled_rows import ArraySource, MosaicSource
from isp_env.develop.linear_source import linear_source
from isp_env.develop.reference import develop_area
from isp_env.dng.opcodes import GainMap
from isp_env.raw import RawImage
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import BGGR, GBRG, GRBG, RGGB, Capture, simulate

PHASES = {"RGGB": RGGB, "GRBG": GRBG, "GBRG": GBRG, "BGGR": BGGR}


def shot(phase: str = "RGGB", height: int = 48, width: int = 600) -> RawImage:
    """Noise of a sensor on a colourful picture, some of it saturated; wider than a chunk."""
    rng = np.random.default_rng(0)
    photo = rng.uniform(0, 1, (3, height // 8, width // 8)).repeat(8, 1).repeat(8, 2)
    camera = replace(NIKON_D750, cfa=PHASES[phase])
    return simulate(photo, camera, Capture(iso=3200, exposure_error=0.7), rng)[0]


def pixels(raw: RawImage) -> np.ndarray:
    assert raw.mosaic is not None
    return raw.mosaic


def shading(raw: RawImage) -> tuple[GainMap, ...]:
    """A map for each CFA position, one of a part of the rows, one of all samples."""
    rng = np.random.default_rng(1)
    height, width = pixels(raw).shape

    def one(top: int, left: int, pitch: int, bottom: int = height) -> GainMap:
        gains = rng.uniform(0.8, 2, (5, 7)).astype(np.float32)
        return GainMap(
            *(top, left, bottom, width, 0, 1, pitch, pitch, gains), 0.2, 1 / 6, 0.05, -0.01
        )

    quads = [one(y, x, 2) for y in (0, 1) for x in (0, 1)]
    return (*quads, one(8, 4, 1, height - 9))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("extras", [False, True], ids=["plain", "maps and deltas"])
def test_rows_are_those_of_the_development(phase, extras):
    raw = shot(phase)
    if extras:
        rng = np.random.default_rng(2)
        height, width = pixels(raw).shape
        raw = replace(
            raw,
            gain_maps=shading(raw),
            black_rows=rng.normal(0, 20, height),
            black_columns=rng.normal(0, 20, width),
            baseline_exposure=0.5,
        )
    expected = develop_area(raw).numpy()
    source = linear_source(raw)
    assert isinstance(source.samples, MosaicSource)
    whole = np.empty((3, *source.shape), np.float32)
    source.rows(0, source.shape[0], whole)
    assert np.abs(whole - expected).max() < 1e-5
    for tile in (1, 7, 32):
        tiled = np.empty_like(whole)
        for top in range(0, source.shape[0], tile):
            bottom = min(top + tile, source.shape[0])
            source.rows(top, bottom, tiled[:, top:bottom])
        assert np.array_equal(tiled, whole)


def test_odd_sides_lose_a_row_and_a_column():
    raw = shot()
    odd = replace(raw, mosaic=pixels(raw)[:-1, :-1])
    assert linear_source(odd).shape == (46, 598)


@pytest.mark.parametrize("factor", [2, 10, 14])
def test_reduced_by_hand(factor):
    raw = shot("GBRG")
    half = develop_area(raw, half=True).double().numpy()  # 2x2 blocks, as `demosaic` has them
    means, variance = linear_source(raw).reduced(factor)
    y = np.tensordot(REC709_LUMINANCE, half, 1)
    planes = np.stack([*half, y, half[0] - y, half[2] - y])
    step = factor // 2
    assert means.shape[1:] == (-(-24 // step), -(-300 // step))
    for row in range(means.shape[1]):
        for column in (0, 3, means.shape[2] - 1):
            block = planes[:, row * step : (row + 1) * step, column * step : (column + 1) * step]
            mean, spread = block.mean((1, 2)), block.var((1, 2))
            assert means[:, row, column] == pytest.approx(mean[:3], abs=1e-5)
            assert variance[:, row, column] == pytest.approx(spread[3:], rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("factor", [2, 6, 34, 64])
def test_means_alone_are_those_of_reduced(phase, factor):
    """Of factors below and above the rows that are read at a time; the last blocks are smaller."""
    source = linear_source(replace(shot(phase), baseline_exposure=0.5))
    expected, _ = source.reduced(factor)
    np.testing.assert_allclose(source.means(factor), expected, rtol=1e-5, atol=1e-6)


def test_odd_factors_are_refused():
    for kind in (linear_source(shot()).reduced, linear_source(shot()).means):
        with pytest.raises(ValueError, match="even factors, got 3"):
            kind(3)


def without_mosaic(height: int, width: int) -> RawImage:
    """A linear image of noise, some of it saturated."""
    linear = np.random.default_rng(3).integers(0, 4000, (3, height, width)).astype(np.uint16)
    whole = (0, 0, height, width)
    black = np.array([10.0, 20.0, 30.0], np.float32)
    raw = replace(shot(), mosaic=None, cfa=None, linear=linear, black=black, white=3500.0)
    return replace(raw, active_area=whole, crop=whole)


@pytest.mark.parametrize("extras", [False, True], ids=["plain", "maps and deltas"])
def test_a_picture_without_a_mosaic(extras):
    raw = without_mosaic(20, 31)
    if extras:
        rng = np.random.default_rng(4)
        gains = rng.uniform(0.8, 2, (3, 4)).astype(np.float32)
        maps = tuple(
            GainMap(top, 1, 17, 31, plane, planes, 1, 1, gains + top, 0.5, 1 / 3, 0.05, -0.01)
            for top, plane, planes in ((0, 0, 1), (4, 1, 2))
        )
        deltas = rng.normal(0, 50, 20), rng.normal(0, 50, 31)
        raw = replace(raw, gain_maps=maps, black_rows=deltas[0], black_columns=deltas[1])
    source = linear_source(raw)
    assert isinstance(source.samples, ArraySource)
    found = np.empty((3, 20, 31), np.float32)
    source.rows(0, 20, found)
    assert np.abs(found - develop_area(raw).numpy()).max() < 1e-5
    for top in range(0, 20, 7):
        tile = np.empty_like(found[:, top : top + 7])
        source.rows(top, top + tile.shape[1], tile)
        assert np.array_equal(tile, found[:, top : top + 7])
    means, variance = source.reduced(3)
    assert means.shape == variance.shape == (3, 7, 11)
    assert means[:, 6, 2] == pytest.approx(found[:, 18:20, 6:9].mean((1, 2)), abs=1e-6)
    red_minus = found[0] - np.tensordot(REC709_LUMINANCE, found, 1)
    assert variance[1, 6, 2] == pytest.approx(red_minus[18:20, 6:9].var(), rel=1e-3)


def test_rows_of_a_linear_image_are_converted_when_asked_for():
    raw = without_mosaic(600, 500)
    out = np.empty((3, 32, 500), np.float32)
    peak = 0
    for _ in range(2):  # the first time compiles
        tracemalloc.start()
        source = linear_source(raw)
        source.rows(32, 64, out)
        source.reduced(4)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 6 * 600 * 500  # bytes; the picture in float32 has twice as many


def test_nothing_to_develop():
    with pytest.raises(ValueError, match="neither a Bayer mosaic nor a linear image"):
        linear_source(replace(shot(), mosaic=None))
