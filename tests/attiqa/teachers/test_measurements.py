"""The teacher that needs no weights: do its measurements follow what they are to measure?"""

import math

import pytest
import torch
from skimage.color import rgb2lab

from attiqa.attributes import ATTRIBUTES
from attiqa.distortions.ladders import LADDERS, distort
from attiqa.teachers.measurements import colorfulness, lightness, noise_deviation
from attiqa.teachers.teacher import MeasuredTeacher

by_name = {ladder.name: ladder for ladder in LADDERS}


@pytest.mark.parametrize(
    ("attribute", "ladder", "sign"),
    [
        ("sharpness", "blur", -1),
        ("contrast", "contrast", 1),
        ("brightness", "exposure", 1),
        ("brightness", "gamma", 1),
        ("colorfulness", "saturation", 1),
        ("noisiness", "noise", -1),
    ],
)
def test_measurements_follow_their_ladder(attribute, ladder, sign, clean):
    teacher, column = MeasuredTeacher(), ATTRIBUTES.index(attribute)
    levels = by_name[ladder].levels
    labels = [teacher(distort(clean, by_name[ladder], v))[:, column] for v in levels]
    steps = sign * torch.stack(labels).diff(dim=0)
    assert (steps > 0).all(), steps


def test_noise_does_not_pass_for_sharpness(clean):
    teacher = MeasuredTeacher()
    sharp = teacher(clean)[:, 0]
    blurred = distort(clean, by_name["blur"], 1.4)
    noisy_and_blurred = teacher(distort(blurred, by_name["noise"], 0.025))[:, 0]
    assert (noisy_and_blurred < sharp).all()
    assert torch.allclose(noisy_and_blurred, teacher(blurred)[:, 0], atol=0.02)


def test_lightness_against_scikit_image(clean):
    expected = rgb2lab(clean.permute(0, 2, 3, 1).numpy())[..., 0] / 100
    assert lightness(clean)[:, 0].numpy() == pytest.approx(expected, abs=1e-3)


def test_noise_deviation_finds_the_deviation():
    ramp = torch.linspace(0.3, 0.7, 256).expand(1, 1, 256, 256)
    noise = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    assert noise_deviation(ramp + 0.02 * noise).item() == pytest.approx(0.02, rel=0.15)
    assert noise_deviation(ramp).item() == pytest.approx(0.1 / 255, rel=0.01)
    assert noise_deviation(torch.ones(1, 1, 64, 64)).item() == pytest.approx(0.1 / 255)


def test_colorfulness_by_hand():
    # red and blue halves: rg = 1 | 0, yb = .5 | -1; deviations .5 and .75, means .5 and -.25
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0, :, 0] = 1
    image[0, 2, :, 1] = 1
    expected = math.hypot(0.5, 0.75) + 0.3 * math.hypot(0.5, 0.25)
    assert colorfulness(image).item() == pytest.approx(expected, rel=1e-5)
