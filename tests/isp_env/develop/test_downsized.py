"""Small scene-linear pictures: every colour in its place, at its right noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data as photographs
from skimage.color import deltaE_ciede2000, rgb2lab
from torch.nn.functional import avg_pool2d

from isp_env.develop.downsized import halved, reduced, small
from isp_env.develop.linear_source import linear_source
from isp_env.develop.reference import develop
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.render.frame import OutputSize, render_raw
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate


@pytest.mark.parametrize("cfa", [[[0, 1], [1, 2]], [[2, 1], [1, 0]], [[1, 0], [2, 1]]])
@pytest.mark.parametrize("orientation", [1, 6])
def test_halved_is_the_mean_of_four_demosaiced_pixels(take, cfa, orientation):
    raw = replace(take(), cfa=np.array(cfa, np.uint8), orientation=orientation, crop=(2, 4, 62, 62))
    found = halved(linear_source(raw)).in_torch()
    expected = avg_pool2d(develop(raw).rgb, 2)
    assert torch.allclose(found.rgb, expected, atol=1e-5)
    torch.testing.assert_close(found.noise, torch.from_numpy(reduced(linear_source(raw), 2).noise))


@pytest.mark.parametrize("block", [2, 6])
def test_means_have_the_noise_of_so_many_samples(take, block):
    """Of 2 x 2 samples one is red, two are green: variances fall as one over their number."""
    raw = replace(take(), camera_to_rec709=np.eye(3))
    single, means = develop(raw).noise, reduced(linear_source(raw), block).in_torch().noise
    samples = torch.tensor([0.25, 0.5, 0.25]) * block**2
    torch.testing.assert_close(means, single / samples[:, None])


@pytest.mark.parametrize("ratio", [2.0, 3.0, 5.9, 7.9])
def test_a_picture_to_be_resized_is_large_enough_and_not_much_larger(take, ratio):
    side = max(small(linear_source(take()), ratio).rgb.shape)
    assert (1.5 if ratio >= 3 else 1) * 96 / ratio <= side <= 3 * 96 / ratio


def test_colours_of_a_half_size_file_lie_where_those_of_the_full_one_do():
    """Means over the samples of 2x2 blocks would be half a pixel off in red and blue: 4 units."""
    photo = np.moveaxis(photographs.astronaut()[:256, 128:384], 2, 0).astype(np.float32) / 255
    raw, _ = simulate(photo, NIKON_D750, Capture(iso=100), np.random.default_rng(0))
    theta = torch.zeros(len(DEFAULT_PIPELINE.parameters))
    full = torch.from_numpy(render_raw(raw, theta)).permute(2, 0, 1).double() / 255
    half = render_raw(raw, theta, size=OutputSize(long_side=128)) / 255
    expected = avg_pool2d(full, 2).permute(1, 2, 0).numpy()
    assert deltaE_ciede2000(rgb2lab(half), rgb2lab(expected)).mean() < 1
