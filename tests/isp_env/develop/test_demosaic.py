import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from skimage import data
from skimage.color import rgb2gray

from isp_env.develop.demosaic import demosaic, half_size

PHASES = {"rggb": [[0, 1], [1, 2]], "bggr": [[2, 1], [1, 0]], "grbg": [[1, 0], [2, 1]]}
PHASES["gbrg"] = [[1, 2], [0, 1]]


def sample(rgb: torch.Tensor, cfa: np.ndarray) -> torch.Tensor:
    """The mosaic (h, w) that a sensor with `cfa` records of `rgb` (3, h, w)."""
    mosaic = torch.empty(rgb.shape[1:], dtype=rgb.dtype)
    for y in (0, 1):
        for x in (0, 1):
            mosaic[y::2, x::2] = rgb[cfa[y, x], y::2, x::2]
    return mosaic


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    return -10 * float(torch.log10((first - second)[..., 8:-8, 8:-8].square().mean()))


@pytest.mark.parametrize("phase", PHASES)
def test_a_flat_colour_is_returned(phase):
    cfa = np.array(PHASES[phase], np.uint8)
    flat = torch.tensor([0.7, 0.4, 0.2])[:, None, None].expand(3, 12, 16)
    assert torch.allclose(demosaic(sample(flat, cfa)[None], cfa)[0], flat, atol=1e-6)
    assert torch.allclose(half_size(sample(flat, cfa)[None], cfa)[0], flat[:, :6, :8])


@pytest.mark.parametrize("phase", PHASES)
def test_all_phases_reach_the_same_quality(phase):
    cfa = np.array(PHASES[phase], np.uint8)
    photo = torch.from_numpy(data.astronaut() / 255.0).permute(2, 0, 1)
    linear = photo**2.2
    result = demosaic(sample(linear, cfa)[None], cfa)[0].clamp(0, 1) ** (1 / 2.2)
    assert psnr(result, photo) > 33.5


def test_green_is_malvars_filter():
    """Against the 5x5 kernel printed in the paper, with scipy, on the square-root mosaic."""
    cfa = np.array(PHASES["rggb"], np.uint8)
    grey = torch.from_numpy(rgb2gray(data.coffee())[:64, :64].copy())
    kernel = np.zeros((5, 5))
    kernel[2, 2], kernel[[0, 4, 2, 2], [2, 2, 0, 4]], kernel[[1, 3, 2, 2], [2, 2, 1, 3]] = 4, -1, 2
    root = (grey + 1e-3).sqrt().numpy()
    expected = convolve(root, kernel / 8)[::2, ::2].clip(0) ** 2 - 1e-3
    green = demosaic(grey[None], cfa)[0, 1, ::2, ::2].numpy()
    assert green[2:-2, 2:-2] == pytest.approx(expected[2:-2, 2:-2], abs=1e-6)


def test_noise_around_black_stays_around_black():
    noise = 0.01 * torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0))
    cfa = np.array(PHASES["rggb"], np.uint8)
    assert demosaic(noise, cfa, offset=0.03).mean().abs() < 1e-3
    assert demosaic(noise, cfa, offset=1e-6).mean() > 2e-3  # what cutting at black would do


def test_gradients_are_finite_on_black():
    mosaic = torch.zeros(1, 8, 8, requires_grad=True)
    demosaic(mosaic, np.array(PHASES["rggb"], np.uint8)).sum().backward()
    assert mosaic.grad is not None
    assert torch.isfinite(mosaic.grad).all()


def test_gradcheck():
    generator = torch.Generator().manual_seed(0)
    mosaic = torch.rand(1, 6, 6, dtype=torch.float64, generator=generator) + 0.1
    cfa = np.array(PHASES["grbg"], np.uint8)
    assert torch.autograd.gradcheck(lambda m: demosaic(m, cfa), mosaic.requires_grad_())


@pytest.mark.parametrize("pattern", [[[0, 0], [1, 2]], [[0, 2], [1, 1]], [[1, 1], [0, 2]]])
def test_other_patterns_are_refused(pattern):
    with pytest.raises(ValueError, match="not a Bayer pattern"):
        demosaic(torch.zeros(1, 8, 8), np.array(pattern, np.uint8))


def test_odd_sides_are_refused():
    with pytest.raises(ValueError, match="even sides of at least 4, got 7x8"):
        demosaic(torch.zeros(1, 7, 8), np.array(PHASES["rggb"], np.uint8))
