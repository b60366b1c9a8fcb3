import pytest
import torch

from isp_env.ensemble import EnsembleJudge, Member
from isp_env.rewards import QualityReward


def bright(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return 100 * images.mean((1, 2, 3)), images.mean((2, 3)), images.mean((2, 3))


def red(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images[:, 0].mean((1, 2)), images.mean((2, 3))[:, :1]


def photos() -> torch.Tensor:
    return torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)) ** 2


def test_members_count_alike_whatever_their_scales():
    batch = photos()
    members = tuple(Member.calibrated(judge, [batch[:8], batch[8:]]) for judge in (bright, red))
    said = EnsembleJudge(members)(batch)
    first, second = (
        (score - score.mean()) / score.std(correction=0)
        for score in (bright(batch)[0], red(batch)[0])
    )
    assert said.score.numpy() == pytest.approx(((first + second) / 2).numpy(), abs=1e-3)
    assert torch.equal(said.attributes, bright(batch)[1])
    assert said.features is not None


def test_disagreement_costs_as_much_as_the_confidence_says():
    members = (Member(bright, 0.0, 100.0), Member(red, 0.0, 1.0))
    image = torch.zeros(1, 3, 32, 32)
    image[:, 0] = 0.9  # mean 0.3, red 0.9: z-scores 0.6 +- 0.3
    assert EnsembleJudge(members)(image).score.item() == pytest.approx(0.6)
    assert EnsembleJudge(members, confidence=2.0)(image).score.item() == pytest.approx(
        0.0, abs=1e-6
    )


def test_an_ensemble_is_a_judge_with_gradients():
    image = photos().requires_grad_()
    judge = EnsembleJudge((Member(bright, 30.0, 5.0), Member(red, 0.3, 0.1)), confidence=1.0)
    potential = QualityReward(judge)(image, image.detach(), torch.zeros(16, 2))
    assert potential.features.shape == (16, 3)
    potential.value.sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_scores_that_do_not_differ_are_refused():
    with pytest.raises(ValueError, match="16 photographs do not differ"):
        Member.calibrated(bright, [torch.ones(16, 3, 32, 32)])
