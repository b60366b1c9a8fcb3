"""Referees of known taste, and edits that are broken by construction."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from agents.referees import BROKEN, Referee, Trial, blind, broken_edits, full_references, trial
from isp_env.color import srgb_decode, srgb_encode
from isp_env.side_effects import halo, mean_chroma


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    crops = [data.astronaut()[y : y + 96, 150:246] for y in (0, 120, 240, 360)]
    return torch.stack([torch.from_numpy(crop / 255).permute(2, 0, 1).float() for crop in crops])


@pytest.fixture(scope="module")
def neutral(truth) -> torch.Tensor:
    """Shots one stop too dark."""
    return srgb_encode(srgb_decode(truth) / 2)


def nearness(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return -(images - truth).square().mean((1, 2, 3))


def test_a_referee_that_knows_the_truth_is_right_and_its_opposite_is_not_used(truth, neutral):
    broken = broken_edits(neutral, truth)
    right = trial(Referee("near", nearness), truth, neutral, broken)
    assert right.right["truth above neutral"] == 1
    assert right.accuracy > 0.9
    assert right.used
    wrong = trial(Referee("far", lambda x, t: -nearness(x, t)), truth, neutral, broken)
    assert set(wrong.right) == {"truth above neutral", *(f"neutral above {n}" for n in BROKEN)}
    assert wrong.accuracy == pytest.approx(1 - right.accuracy)
    assert not wrong.used


def test_a_referee_that_likes_light_is_wrong_about_exposure_alone(truth, neutral):
    found = trial(
        blind("light", lambda x: x.mean((1, 2, 3))), truth, neutral, broken_edits(neutral, truth)
    )
    assert found.right["truth above neutral"] == 1
    assert found.right["neutral above exposure +3 EV"] == 0


def test_no_opinion_is_not_right(truth, neutral):
    found = trial(
        blind("same", lambda x: torch.zeros(len(x))), truth, neutral, broken_edits(neutral, truth)
    )
    assert found.accuracy == 0


@pytest.mark.parametrize(("right", "used"), [(0.7, True), (0.69, False)])
def test_a_referee_is_used_from_seventy_percent(right, used):
    assert Trial({"one": right, "other": right}).used is used


def test_full_references_are_skimages(truth, neutral):
    psnr, ssim, colour = full_references()
    assert [r.name for r in (psnr, ssim, colour)] == ["PSNR", "SSIM", "-CIEDE2000"]
    expected = [
        peak_signal_noise_ratio(t.numpy(), n.numpy(), data_range=1.0)
        for t, n in zip(truth, neutral, strict=True)
    ]
    np.testing.assert_allclose(psnr(neutral, truth).numpy(), expected, rtol=1e-4)
    assert ssim(truth, truth).tolist() == pytest.approx([1.0] * 4)
    assert (colour(neutral, truth) < colour(truth, truth)).all()


def test_exposure_is_broken_against_the_truth(truth):
    dark = srgb_encode(srgb_decode(truth) / 8)
    edits = [broken_edits(x, truth)["exposure +3 EV"] for x in (truth, dark)]
    torch.testing.assert_close(edits[0], edits[1], atol=0.02, rtol=0)
    expected = (srgb_decode(truth) * 8).clamp(max=1)
    torch.testing.assert_close(srgb_decode(edits[0]), expected, atol=1e-4, rtol=0)


def test_saturation_doubles_the_chroma_of_a_muted_colour():
    muted = torch.tensor([0.5, 0.48, 0.47])[None, :, None, None].expand(1, 3, 32, 32)
    vivid = broken_edits(muted, muted)["saturation +100 %"]
    assert mean_chroma(vivid).item() == pytest.approx(2 * mean_chroma(muted).item(), rel=0.05)


def test_chroma_is_skimages(truth):
    labs = [rgb2lab(x.permute(1, 2, 0).double().numpy()) for x in truth]
    expected = [np.hypot(lab[..., 1], lab[..., 2]).mean() for lab in labs]
    np.testing.assert_allclose(mean_chroma(truth).numpy(), expected, rtol=1e-2)


def test_a_tone_curve_draws_no_halos(truth):
    grey = truth.mean(1, keepdim=True).expand_as(truth)
    for other in (grey, grey**0.5, 0.2 + 0.6 * grey, grey**2):
        assert halo(other, grey).max() < 1e-5


def test_blur_draws_next_to_none(truth):
    soft = torch.nn.functional.avg_pool2d(truth, 3, 1, 1, count_include_pad=False)
    assert halo(soft, truth).mean() < 0.2 * halo(broken_edits(truth, truth)["halo"], truth).mean()


def test_halos_grow_with_the_amount(truth):
    amounts = [0.0, 0.5, 1.0, 3.0]
    smooth = torch.nn.functional.avg_pool2d(truth, 9, 1, 4, count_include_pad=False)
    found = [halo((truth + a * (truth - smooth)).clamp(0, 1), truth).mean().item() for a in amounts]
    assert found == sorted(found)
    assert found[-1] > 0.02
    assert halo(broken_edits(truth, truth)["halo"], truth).mean() > 0.01


def test_the_overshoot_beside_one_edge_is_counted():
    step = torch.full((1, 3, 64, 64), 0.4)
    step[..., 32:] = 0.6
    bright = step.clone()
    bright[..., 32] = 0.7
    # two columns see the edge, one of them overshoots by 0.1; among equal pixels the last rows get
    # the tones of 0.7, and three rows have them within reach
    assert halo(bright, step).item() == pytest.approx(0.1 * 61 / 128, abs=2e-3)
    assert halo(step, step).item() == 0
