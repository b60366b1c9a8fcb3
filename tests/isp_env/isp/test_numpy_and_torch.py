"""One mathematics in two libraries: what files are rendered with is what policies learn with."""

import kornia
import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from isp_env.arrays import to_numpy
from isp_env.color.output_spaces import SPACES
from isp_env.isp.default import default_pipeline
from isp_env.isp.guide import Guide, box_mean, gaussian_blur
from isp_env.isp.parameters import theta_of, to_theta


def pictures(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, height, width), np.float32)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.7])
def test_blur_is_kornias(sigma):
    images = pictures(40, 31)
    size = 2 * int(3 * sigma + 0.5) + 1
    expected = kornia.filters.gaussian_blur2d(
        torch.from_numpy(images), (size, size), (sigma, sigma), "reflect"
    )
    if sigma < 0.2:  # too little to show
        assert gaussian_blur(images, sigma) is images
        return
    for take in (np.asarray, torch.from_numpy):
        found = to_numpy(gaussian_blur(take(images), sigma))
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [3, 5, 13])
def test_means_are_scipys(size):
    images = pictures(40, 31)
    expected = uniform_filter(images, size, mode="nearest", axes=(2, 3))
    for take in (np.asarray, torch.from_numpy):
        found = to_numpy(box_mean(take(images), size))
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(5))
def test_maps_constants_and_pixels_agree(space, seed):
    rng = np.random.default_rng(seed)
    pipeline = default_pipeline(SPACES[space])
    assert pipeline.in_numpy
    theta = rng.uniform(-1, 1, (1, len(pipeline.parameters))).astype(np.float32)
    planes = tuple(rng.uniform(-0.05, 1.3, (3, 1, 24, 36)).astype(np.float32))
    variance = rng.uniform(0, 1e-3, (1, 3, 24, 36)).astype(np.float32)
    noise = rng.uniform(0, 1e-4, (1, 3, 2)).astype(np.float32)
    results = []
    for take in (np.asarray, torch.from_numpy):
        guide = Guide(tuple(map(take, planes)), take(variance), 36.0, 4)
        values = pipeline.values(take(theta))
        shown, maps = pipeline.measure(guide, take(noise), values)
        named = {**values, **pipeline.constants(values), **maps}
        named |= {f"plane {i}": plane for i, plane in enumerate(shown)}
        results.append({name: to_numpy(each) for name, each in named.items()})
    in_numpy, in_torch = results
    assert in_numpy.keys() == in_torch.keys()
    for name, found in in_numpy.items():
        assert found.dtype == np.float32, name
        np.testing.assert_allclose(found, in_torch[name], atol=2e-5, rtol=2e-5, err_msg=name)


def test_a_setting_in_physical_units():
    knobs = default_pipeline().parameters
    values = {"exposure": 1.0, "gamma": 1.5, "sharpen": 0.0, "tint": -5.0}
    theta = theta_of(knobs, values)
    by_name = dict(zip((p.name for p in knobs), theta.tolist(), strict=True))
    expected = {"exposure": 0.5, "gamma": 1.0, "sharpen": -1.0, "tint": -0.25}
    assert {name: by_name[name] for name in expected} == pytest.approx(expected)
    assert all(by_name[p.name] == 0 for p in knobs if p.name not in values)
    assert np.array_equal(to_theta(knobs, values)[0].numpy(), theta)
