import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import mean_squared_error

from attiqa.distortions.ladders import ATTRIBUTE_LADDERS, LADDERS, Ladder, distort
from attiqa.distortions.training_pairs import distort_some, distorted_pairs, sharpened_pairs

by_name = {ladder.name: ladder for ladder in LADDERS}
each_ladder = pytest.mark.parametrize("ladder", LADDERS, ids=lambda ladder: ladder.name)


@each_ladder
def test_level_zero_is_the_identity(ladder: Ladder, small):
    assert torch.equal(distort(small, ladder, 0.0), small)


@each_ladder
def test_results_are_display_images_that_depend_on_the_image_alone(ladder: Ladder, small):
    for level in ladder.levels:
        batch = distort(small, ladder, level, seed=1)
        assert batch.shape == small.shape
        assert batch.min() >= 0
        assert batch.max() <= 1
        alone = distort(small[:1], ladder, level, seed=1)
        assert torch.allclose(batch[:1], alone, atol=1e-6)


@each_ladder
def test_further_from_zero_is_further_from_the_original(ladder: Ladder, small):
    for side in ladder.sides:
        errors = [
            mean_squared_error(small.numpy(), distort(small, ladder, level).numpy())
            for level in (0.0, *side)
        ]
        assert errors == sorted(errors)
        assert errors[1] > 1e-5


def light(display: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values (IEC 61966-2-1)."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def gained(display: np.ndarray, red: float, green: float, blue: float) -> np.ndarray:
    """Channels multiplied in linear light, up to white."""
    linear = np.minimum(light(display) * np.array([red, green, blue])[:, None, None], 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def balanced(display: np.ndarray, *gains: float) -> np.ndarray:
    return gained(display, *np.array(gains) / np.dot(gains, (0.2126, 0.7152, 0.0722)))


def grey(display: np.ndarray) -> np.ndarray:
    return np.tensordot(display, (0.2126, 0.7152, 0.0722), (1, 0))[:, None]


def blurred(display: np.ndarray, sigma: float, radius: int) -> np.ndarray:
    return gaussian_filter(display, (0, 0, sigma, sigma), mode="mirror", radius=radius)


@pytest.mark.parametrize(
    ("name", "levels", "formula"),
    [
        ("exposure", (-2.0, 1.5), lambda x, v: gained(x, *[2**v] * 3)),
        ("temperature", (-0.8, 1.6), lambda x, v: balanced(x, 2 ** (v / 2), 1, 2 ** (-v / 2))),
        ("tint", (-0.5, 1.0), lambda x, v: balanced(x, 2 ** (v / 2), 2 ** (-v / 2), 2 ** (v / 2))),
        ("gamma", (-0.6, 1.0), lambda x, v: x ** (1 / 2**v)),
        (
            "contrast",
            (-0.6, 0.8),
            lambda x, v: (1 + v) * x - v * grey(x).mean((2, 3), keepdims=True),
        ),
        ("saturation", (-0.6, 2.0), lambda x, v: (1 + v) * x - v * grey(x)),
        ("blacks", (-0.2,), lambda x, v: (x - 0.2) / 0.8),
        ("blacks", (0.1, 0.35), lambda x, v: 1 - (1 - x) * (1 - v)),
        ("blur", (0.8, 2.4), lambda x, v: blurred(x, v, math.ceil(3 * v))),
        ("sharpening", (1.5, 6.0), lambda x, v: (1 + v) * x - v * blurred(x, 1.2, 3)),
        ("focus", (-2.0, -0.5), lambda x, v: blurred(x, -v, math.ceil(-3 * v))),
        ("focus", (0.5, 1.0), lambda x, v: (1 + v) * x - v * blurred(x, 1.2, 3)),
    ],
)
def test_values_against_formulas_in_double_precision(name, levels, formula, small):
    ladder = next(x for x in (*LADDERS, *ATTRIBUTE_LADDERS.values()) if x.name == name)
    for level in levels:
        expected = np.clip(formula(small.double().numpy(), level), 0, 1)
        assert np.abs(distort(small, ladder, level).numpy() - expected).max() < 2e-5
        assert np.abs(expected - small.numpy()).mean() > 1e-3


def test_cleanliness_is_noise_with_the_other_sign(small):
    clean = ATTRIBUTE_LADDERS["noisiness"]
    assert torch.equal(distort(small, clean, -0.06, 5), distort(small, by_name["noise"], 0.06, 5))


def test_exposure_is_in_linear_light():
    # 0.5 in sRGB is 0.21404 linear; twice that is 0.42808, which encodes to 0.6858 (IEC 61966-2-1)
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert distort(grey, by_name["exposure"], 1.0).mean().item() == pytest.approx(0.6858, abs=1e-4)


def test_casts_move_the_channels_apart_and_keep_the_luminance():
    grey = torch.full((1, 3, 8, 8), 0.5)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for name, level, order in [
        ("temperature", 0.8, [2, 1, 0]),
        ("temperature", -0.8, [0, 1, 2]),
        ("tint", -0.5, [0, 2, 1]),
    ]:
        rgb = distort(grey, by_name[name], level)[0, :, 0, 0].numpy().astype(float)
        linear = ((rgb + 0.055) / 1.055) ** 2.4
        assert linear @ weights == pytest.approx(0.21404, abs=1e-4)
        assert [rgb[i] for i in order] == sorted(rgb)
        if name == "temperature":
            assert np.log2(linear[0] / linear[2]) == pytest.approx(level, abs=1e-3)


def test_saturation_minus_one_is_grey(small):
    grey = distort(small, by_name["saturation"], -1.0)
    assert torch.allclose(grey, grey.mean(1, keepdim=True).expand_as(grey), atol=1e-6)


def test_noise_has_the_stated_deviation_and_is_nested():
    grey = torch.full((1, 3, 128, 128), 0.4614)  # 18 % grey
    noisy = distort(grey, by_name["noise"], 0.01, seed=3).double()
    linear = ((noisy + 0.055) / 1.055) ** 2.4
    assert linear.std().item() == pytest.approx(0.01, rel=0.03)
    stronger = distort(grey, by_name["noise"], 0.02, seed=3)
    assert torch.equal(noisy > noisy.median(), stronger > stronger.median())


def test_a_ladder_without_identity_is_refused():
    with pytest.raises(ValueError, match="contain 0"):
        Ladder("x", "y", (1.0, 2.0), by_name["blur"].render)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_distorted_pairs_go_up_one_side(seed):
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(seed))
    sources = torch.tensor([2, 0])
    random = [torch.Generator().manual_seed(seed + index) for index in range(3)]
    pairs = distorted_pairs(images, sources, random)
    assert pairs.mild.shape == pairs.strong.shape == (2, 3, 40, 40)
    assert (pairs.mild_steps >= 1).all()
    assert (pairs.strong_steps > pairs.mild_steps).all()


def test_a_touch_of_sharpening_counts_as_better_and_changes_less_than_too_much():
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    sources = torch.tensor([2, 0])
    random = [torch.Generator().manual_seed(index) for index in range(3)]
    pairs = sharpened_pairs(images, sources, random)
    assert pairs.mild_steps.tolist() == [-1, -1]
    assert (pairs.strong_steps >= 1).all()
    acutance = [(v - v.roll(1, -1)).abs().mean((1, 2, 3)) for v in (images[sources], *pairs[1:3])]
    assert (acutance[0] < acutance[1]).all()
    assert (acutance[1] < acutance[2]).all()


@pytest.mark.parametrize("make", [distorted_pairs, sharpened_pairs])
def test_no_sources_no_pairs(make):
    images = torch.rand(2, 3, 40, 40)
    pairs = make(images, torch.zeros(0, dtype=torch.long), [])
    assert pairs.mild.shape == (0, 3, 40, 40)


def test_distort_some_leaves_its_input_and_the_rest_alone():
    images = torch.rand(8, 3, 40, 40)
    before = images.clone()
    assert torch.equal(distort_some(images, 0.0, [torch.Generator() for _ in images]), images)
    changed = distort_some(images, 1.0, [torch.Generator().manual_seed(i) for i in range(8)])
    assert torch.equal(images, before)
    assert sum(not torch.equal(a, b) for a, b in zip(changed, images, strict=True)) >= 5
