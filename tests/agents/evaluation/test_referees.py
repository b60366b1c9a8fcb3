"""Referees of known taste, and edits that are broken by construction."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from agents.evaluation.referees import (
    BROKEN,
    DEVELOPMENTS,
    Referee,
    Trial,
    beside_neutral,
    broken_edits,
    full_references,
    trial,
)
from agents.evaluation.side_effects import halo, mean_chroma
from isp_env.color.rgb import srgb_decode, srgb_encode
from isp_env.isp.stages.tone import inverse_neutral_tone
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward

ROWS = np.arange(4)


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    crops = [data.astronaut()[y : y + 96, 150:246] for y in (0, 120, 240, 360)]
    return torch.stack([torch.from_numpy(crop / 255).permute(2, 0, 1).float() for crop in crops])


@pytest.fixture(scope="module")
def neutral(truth) -> torch.Tensor:
    """Shots one stop too dark."""
    return srgb_encode(srgb_decode(truth) / 2)


@pytest.fixture(scope="module")
def judged(truth) -> JudgedScenes:
    """Shots whose light is half of what it should be, with their truths; nobody judges them."""
    scenes = PreviewSet(
        linear=(inverse_neutral_tone(truth) / 2).numpy().astype(np.float16),
        noise=np.zeros((4, 3, 2), np.float32),
        as_shot_neutral=np.ones((4, 3), np.float32),
        iso=np.full(4, 100, np.float32),
        truth=truth.numpy().astype(np.float16),
    )
    return JudgedScenes(scenes, QualityReward(lambda x: (x.mean((1, 2, 3)), x.mean((2, 3)))))


def nearness(images: torch.Tensor, truth: torch.Tensor, neutral: torch.Tensor) -> torch.Tensor:
    """Negative CIEDE2000, picture by picture."""
    labs = [rgb2lab(x.permute(0, 2, 3, 1).double().numpy()) for x in (images, truth)]
    return torch.from_numpy(-deltaE_ciede2000(labs[1], labs[0]).mean((1, 2)))


def test_a_referee_that_knows_the_truth_is_right_and_its_opposite_is_not_used(judged):
    right = trial(Referee("near", nearness), judged, ROWS)
    assert right.right["truth above neutral"] == 1
    assert right.accuracy == 1
    assert right.used
    wrong = trial(Referee("far", lambda *pictures: -nearness(*pictures)), judged, ROWS)
    kinds = {DEVELOPMENTS, "truth above neutral", *(f"neutral above {name}" for name in BROKEN)}
    assert set(wrong.right) == set(right.right) == kinds
    assert wrong.accuracy == 0
    assert wrong.right["truth above neutral"] == 0
    assert not wrong.used


def test_a_referee_that_likes_light_is_wrong_about_exposure_alone(judged):
    """The shots are dark: their truths are lighter."""
    found = trial(Referee("light", lambda x, *_: x.mean((1, 2, 3))), judged, ROWS)
    assert found.right["truth above neutral"] == 1
    assert found.right["neutral above exposure +3 EV"] == 0


def test_no_opinion_is_not_right(judged):
    for value in (0.0, float("nan")):
        found = trial(
            Referee("same", lambda x, *_, v=value: x.new_full((len(x),), v)), judged, ROWS
        )
        assert set(found.right.values()) == {0.0}


def test_referees_see_the_truth_and_the_neutral_rendering_of_the_shot(judged):
    expected = judged.neutral(ROWS)[0]
    seen = []

    def score(images: torch.Tensor, neutral: torch.Tensor) -> torch.Tensor:
        row = len(seen)
        assert torch.equal(images[0], neutral[0])
        assert torch.allclose(neutral, expected[row].expand_as(neutral), atol=1e-6)
        seen.append(images)
        return images.mean((1, 2, 3))

    trial(beside_neutral("beside", score), judged, ROWS)
    assert len(seen) == 4


def test_what_is_developed_depends_on_seed_and_scene_alone(judged):
    def developments(rows: np.ndarray, seed: int) -> list[torch.Tensor]:
        seen = []

        def note(images: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.mean((1, 2, 3))

        trial(Referee("note", note), judged, rows, seed)
        return seen

    first, again = developments(np.array([2, 1]), 0), developments(np.array([1, 2, 3]), 0)
    assert torch.equal(first[0], again[1])
    assert torch.equal(first[1], again[0])
    other = developments(np.array([2]), 1)[0]
    assert torch.equal(first[0][0], other[0])  # neutral
    assert not torch.allclose(first[0][1], other[1], atol=0.02)


@pytest.mark.parametrize(("right", "used"), [(0.8, True), (0.79, False)])
def test_a_referee_is_used_from_eighty_percent_of_the_developments(right, used):
    assert Trial({DEVELOPMENTS: right, "other": 1 - right}).used is used


def test_full_references_are_skimages(truth, neutral):
    psnr, ssim, colour = full_references()
    assert [r.name for r in (psnr, ssim, colour)] == ["PSNR", "SSIM", "-CIEDE2000"]
    expected = [
        peak_signal_noise_ratio(t.numpy(), n.numpy(), data_range=1.0)
        for t, n in zip(truth, neutral, strict=True)
    ]
    np.testing.assert_allclose(psnr(neutral, truth, neutral).numpy(), expected, rtol=1e-4)
    assert ssim(truth, truth, neutral).tolist() == pytest.approx([1.0] * 4)
    assert (colour(neutral, truth, neutral) < colour(truth, truth, neutral)).all()


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
