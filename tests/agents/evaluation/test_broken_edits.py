"""Edits for the worse against their formulas, pixel by pixel."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from agents.evaluation.broken_edits import haloed, overexposed, saturated
from isp_env.color.rgb import srgb_decode
from isp_env.isp.stages.color import OKLAB_FROM_LMS, OKLAB_LMS_FROM_REC709


@pytest.fixture
def picture() -> torch.Tensor:
    return 0.35 + 0.3 * torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(0))


def chroma(image: torch.Tensor) -> np.ndarray:
    """Oklab chroma of encoded sRGB (1, 3, h, w)."""
    lms = np.cbrt(OKLAB_LMS_FROM_REC709 @ srgb_decode(image[0]).double().flatten(1).numpy())
    return np.hypot(*(OKLAB_FROM_LMS @ lms)[1:])


def test_saturation_multiplies_the_chroma(picture):
    muted = picture.mean(1, keepdim=True) + 0.1 * (picture - picture.mean(1, keepdim=True))
    assert chroma(saturated(muted, 1.0)) == pytest.approx(2 * chroma(muted), rel=0.02, abs=1e-3)


def test_exposure_multiplies_the_light(picture):
    light = srgb_decode(picture).numpy()
    found = srgb_decode(overexposed(picture, 4.0)).numpy()
    assert found == pytest.approx((4 * light).clip(0, 1), abs=1e-5)


def test_each_picture_has_its_own_gain(picture):
    both = torch.cat([picture, picture])
    found = overexposed(both, torch.tensor([1.0, 2.0])[:, None, None, None])
    assert torch.allclose(found[0], picture[0], atol=1e-6)
    assert torch.equal(found[1], overexposed(picture, 2.0)[0])


def test_halos_are_an_unsharp_mask_of_luma(picture):
    found = haloed(picture, 0.5, 0.03)
    luma = np.tensordot([0.2126729, 0.7151522, 0.0721750], picture[0].numpy(), 1)
    smooth = gaussian_filter(luma, 0.03 * 60, mode="mirror", radius=5)
    expected = picture[0].numpy() + 0.5 * (luma - smooth)
    assert found[0].numpy() == pytest.approx(expected.clip(0, 1), abs=1e-4)
