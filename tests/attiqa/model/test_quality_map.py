"""Quality maps: windows and interpolation by hand, and what a model makes of them."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from skimage import data as photographs

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.views import resize_short_side
from attiqa.model.quality_map import WindowGrid, interpolated, quality_map
from attiqa.model.quality_model import load_model

GRID = WindowGrid(short_side=96, side=32, stride=16)


def test_windows_by_hand():
    assert GRID.starts(96).tolist() == [0, 16, 32, 48, 64]
    assert GRID.starts(32).tolist() == [0]
    # 70 - 32 = 38 pixels in three steps of at most 16
    assert GRID.starts(70).tolist() == [0, 13, 25, 38]


@pytest.mark.parametrize("length", range(32, 200, 7))
def test_windows_cover_the_side_at_most_a_stride_apart(length):
    starts = GRID.starts(length)
    assert (starts[0], starts[-1]) == (0, length - 32)
    assert (np.diff(starts) <= 16).all()


def test_the_grid_follows_the_protocol():
    assert WindowGrid.of(CropProtocol(384, 320)).short_side == 384
    assert 32 <= WindowGrid.of(CropProtocol(192, 160)).side <= 160


def test_interpolation_against_scipy():
    random = np.random.default_rng(0)
    rows, columns = np.array([4.5, 10.5, 20.0]), np.array([3.0, 9.0])
    values = random.uniform(size=(3, 2))
    found = interpolated(values, rows, columns, (26, 14))
    reference = RegularGridInterpolator((rows, columns), values)
    y, x = np.mgrid[:26, :14]
    expected = reference((y.clip(4.5, 20.0), x.clip(3.0, 9.0)))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["8 bits", "float"])
def test_a_score_of_brightness_gives_a_map_of_brightness(kind):
    """A ramp from left to right: window means of a ramp are the ramp at the centres."""
    ramp = np.tile(np.linspace(0, 255, 144).round().astype(np.uint8)[None, :, None], (96, 1, 3))
    photo = ramp if kind == "8 bits" else ramp.astype(np.float32) / 255
    found = quality_map(lambda windows: windows.mean(axis=(1, 2, 3)), photo, GRID)
    assert found.scores.shape == found.photo.shape[:2] == (96, 144)
    expected = np.interp(np.arange(144), [15.5, 127.5], [15.5 / 143, 127.5 / 143])
    np.testing.assert_allclose(found.scores, np.tile(expected, (96, 1)), atol=3e-3)
    np.testing.assert_allclose(found.photo, ramp / 255, atol=1e-6)


def test_windows_are_scored_in_batches_of_bounded_size():
    sizes = []

    def predict(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        return np.zeros(len(windows))

    quality_map(predict, np.zeros((96, 960, 3), np.uint8), GRID)
    assert max(sizes) == 32
    assert sum(sizes) == 5 * 59


def test_the_api_against_windows_cut_by_hand():
    model = load_model()
    photo = photographs.astronaut()[:200, :300]
    grid = WindowGrid(97, 49, 48)  # an odd side: its centre is a pixel
    found = model.quality_map(photo, grid)
    assert found.shape == (97, 145)
    pixels = torch.from_numpy(photo.copy()).movedim(-1, 0)[None]
    small = resize_short_side(pixels, 97).clamp(0, 1)
    for top, left in ((0, 0), (0, 48), (48, 96)):
        window = small[..., top : top + 49, left : left + 49]
        score = model.predict(window).score.item()
        assert found[top + 24, left + 24] == pytest.approx(score, abs=1e-3)


def test_a_blurred_half_scores_lower():
    photo = photographs.coffee()
    half = photo.shape[1] // 2
    spoilt = photo.copy()
    small = torch.from_numpy(photo.copy()).movedim(-1, 0)[None].float()
    blurred = torch.nn.functional.interpolate(
        small, scale_factor=1 / 8, antialias=True, mode="bilinear"
    )
    blurred = torch.nn.functional.interpolate(blurred, photo.shape[:2], mode="bilinear")
    spoilt[:, :half] = blurred[0].movedim(0, -1).clamp(0, 255).byte().numpy()[:, :half]
    model = load_model()
    grid = WindowGrid(256, 96, 80)
    change = model.quality_map(spoilt, grid) - model.quality_map(photo, grid)
    middle = change.shape[1] // 2
    assert change[:, :middle].mean() < change[:, middle:].mean() - 0.05
