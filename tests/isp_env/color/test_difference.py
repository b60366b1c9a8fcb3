"""CIE94, chroma and contrast against scikit-image, and their slopes."""

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede94, rgb2lab

from isp_env.color.difference import chroma_and_contrast, cie94


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(seed))


def by_skimage(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    labs = [rgb2lab(x.permute(0, 2, 3, 1).double().numpy()) for x in (truth, images)]
    return torch.from_numpy(deltaE_ciede94(*labs, kH=1, kC=1, kL=1, k1=0.045, k2=0.015))


def test_it_is_skimages_for_graphic_arts():
    truth = pictures(0)
    for images in (pictures(1), (truth + 0.03).clamp(0, 1)):
        found, expected = cie94(images, truth).double(), by_skimage(images, truth)
        assert found.shape == (2, 12, 16)
        torch.testing.assert_close(found, expected, atol=0.02, rtol=2e-3)


def test_the_tolerance_is_that_of_the_truth():
    """A step of chroma counts less from a vivid truth than from a grey one."""
    vivid, grey = torch.tensor([0.9, 0.2, 0.2]), torch.tensor([0.5, 0.5, 0.5])
    first, second = (x.view(1, 3, 1, 1) for x in (vivid, grey))
    from_grey, from_vivid = cie94(first, second).item(), cie94(second, first).item()
    assert from_vivid == pytest.approx(by_skimage(second, first).item(), rel=1e-3)
    assert from_grey == pytest.approx(by_skimage(first, second).item(), rel=1e-3)
    assert from_grey > 1.5 * from_vivid


def test_equal_colours_are_next_to_none_apart():
    truth = pictures(0)
    assert cie94(truth, truth).max() == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_slopes_of_greys_and_of_equal_colours_are_finite(level):
    grey = torch.full((1, 3, 4, 4), level)
    for truth in (grey, pictures(0)[:1, :, :4, :4]):
        for start in (grey, truth):
            images = start.clone().requires_grad_()
            cie94(images, truth).mean().backward()
            assert images.grad is not None
            assert torch.isfinite(images.grad).all()
            assert images.grad.abs().max() < 100


def test_the_slope_leads_to_the_truth():
    truth = pictures(0)
    images = (0.7 * truth + 0.3 * pictures(1)).requires_grad_()
    before = cie94(images, truth).mean()
    (slope,) = torch.autograd.grad(before, images)
    after = cie94((images - 0.5 * slope / slope.norm()).detach(), truth).mean()
    assert after < before - 0.05


def test_chroma_and_contrast_are_skimages():
    images = pictures(3)
    lab = rgb2lab(images.permute(0, 2, 3, 1).double().numpy())
    chroma = np.hypot(lab[..., 1], lab[..., 2]).mean((1, 2))
    expected = torch.from_numpy(np.stack([chroma, lab[..., 0].std((1, 2))], axis=1))
    torch.testing.assert_close(chroma_and_contrast(images).double(), expected, atol=0.02, rtol=1e-3)


def test_chroma_and_contrast_have_slopes_everywhere():
    images = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    chroma_and_contrast(images).sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
