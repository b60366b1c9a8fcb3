"""Cameras' colours against `isp_env.color.rgb`'s own, one matrix at a time, and CIE's D65."""

import numpy as np
import pytest
import torch

from isp_env.color.rgb import XYZ_FROM_REC709, camera_to_rec709
from isp_env.scenes.cameras import (
    COLOR_MATRICES,
    camera_neutral,
    color_matrices,
    rec709_from_camera,
)

D65 = np.array([0.95047, 1.0, 1.08883])
ROWS = range(len(COLOR_MATRICES))


@pytest.mark.parametrize("row", ROWS, ids=list(COLOR_MATRICES))
def test_a_matrix_is_the_one_that_development_uses(row):
    found = rec709_from_camera(color_matrices())[row].numpy()
    given = np.reshape(list(COLOR_MATRICES.values())[row], (3, 3)) / 10_000
    assert found == pytest.approx(camera_to_rec709(given), abs=1e-4)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)  # white stays white


@pytest.mark.parametrize("row", ROWS, ids=list(COLOR_MATRICES))
def test_daylight_is_recorded_as_the_matrix_says_of_d65(row):
    """D65 lies 0.0032 above the Planckian locus (CIE 15:2018)."""
    matrix = color_matrices()[row : row + 1]
    found = camera_neutral(matrix, torch.tensor([6504.0]), torch.tensor([0.0032]))[0].numpy()
    seen = matrix[0].double().numpy() @ D65
    assert found == pytest.approx(seen / seen[1], rel=0.01)
    white = matrix[0].double().numpy() @ XYZ_FROM_REC709.sum(1)
    assert found == pytest.approx(white / white[1], rel=0.01)
    assert found[1] == 1


def test_low_colour_temperatures_are_red_and_high_ones_blue():
    matrices = color_matrices()
    count = len(matrices)
    warm, day, cool = (
        camera_neutral(matrices, torch.full((count,), kelvin), torch.zeros(count))
        for kelvin in (2856.0, 5500.0, 9000.0)
    )
    assert (warm[:, 0] > 1.3 * day[:, 0]).all()
    assert (warm[:, 2] < 0.75 * day[:, 2]).all()
    assert (cool[:, 0] < day[:, 0]).all()
    assert (cool[:, 2] > day[:, 2]).all()


def test_light_above_the_locus_is_greener():
    matrices = color_matrices()
    count = len(matrices)
    kelvin = torch.full((count,), 5000.0)
    on, above = (camera_neutral(matrices, kelvin, torch.full((count,), d)) for d in (0.0, 0.01))
    assert (above[:, ::2] < on[:, ::2]).all()  # less red and blue beside as much green
