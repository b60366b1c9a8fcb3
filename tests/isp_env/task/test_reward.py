import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede94, rgb2lab

from isp_env.task.reward import (
    Judge,
    Potential,
    QualityReward,
    RewardSettings,
    ShotJudge,
    clipped_share,
    distance,
    look,
    opponents,
)

OFF = RewardSettings(
    scale=1.0,
    views=("whole",),
    confidence=0.0,
    clipping_weight=0.0,
    chroma_weight=0.0,
    theta_weight=0.0,
)


def brightness(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A judge that likes light; its attributes are the channel means."""
    return images.mean((1, 2, 3)), images.mean((2, 3))


def grey(level: float, batch: int = 1) -> torch.Tensor:
    return torch.full((batch, 3, 32, 32), level)


def potential_of(
    picture: torch.Tensor,
    neutral: torch.Tensor,
    theta: torch.Tensor,
    settings: RewardSettings = OFF,
    judge: Judge | ShotJudge = brightness,
) -> Potential:
    """What a picture is worth where the anchor is the neutral rendering."""
    reward = QualityReward(judge, settings)
    shot = reward.reference(neutral, neutral, torch.zeros_like(theta))
    return reward(picture, shot, theta)


def test_with_everything_off_the_potential_is_the_score():
    potential = potential_of(grey(0.4), grey(0.2), torch.ones(1, 3))
    assert potential.value.item() == pytest.approx(0.4)
    assert potential.score.item() == pytest.approx(0.4)


def test_each_term_has_its_weight():
    white, middle, theta = grey(1.0), grey(0.5), torch.full((1, 4), 0.5)

    def value(**weights: float) -> float:
        settings = RewardSettings(**{**vars(OFF), **weights})
        return potential_of(white, middle, theta, settings).value.item()

    assert value(scale=3.0) == pytest.approx(3.0)
    assert value(clipping_weight=2.0) == pytest.approx(1 - 2.0, abs=1e-5)  # everything is clipped
    assert value(theta_weight=2.0) == pytest.approx(1 - 2.0 * 0.25)
    assert value(attribute_weight=1.0, attribute_cap=0.25) == pytest.approx(1 + 0.25)


def test_what_each_term_of_the_leash_costs_is_told():
    neutral, picture = grey(0.5), grey(0.5)
    picture[:, 0] = 1.0  # all of red is clipped, and far from grey
    theta = torch.full((1, 4), 0.5)
    settings = RewardSettings(clipping_weight=2.0, chroma_weight=3.0, theta_weight=4.0)
    held = potential_of(picture, neutral, theta, settings)
    loose = potential_of(picture, neutral, theta, settings.leash_free())
    clipping, chroma, by_theta, by_truth = held.leash[0].tolist()
    assert by_truth == 0  # it is not known
    assert clipping == pytest.approx(2.0 / 3, abs=1e-5)
    assert chroma == pytest.approx(3.0 * (held.chroma.item() - settings.chroma_limit) / 10)
    assert by_theta == pytest.approx(4.0 * 0.25)
    assert (loose.leash == 0).all()
    assert held.value.item() == pytest.approx(loose.value.item() - held.leash.sum().item())


def test_chroma_leash_is_free_up_to_its_limit():
    neutral = grey(0.5)
    red = neutral.clone()
    red[:, 0] = 0.9
    difference = distance(opponents(red), opponents(neutral)).item()
    assert difference > 20

    def value(limit: float) -> float:
        settings = RewardSettings(**{**vars(OFF), "chroma_weight": 1.0, "chroma_limit": limit})
        return potential_of(red, neutral, torch.zeros(1, 1), settings).value.item()

    free = red.mean().item()
    assert value(difference + 1) == pytest.approx(free, abs=1e-5)
    assert value(difference - 10) == pytest.approx(free - 1, abs=1e-4)


def test_the_bound_falls_where_the_views_disagree():
    def fickle(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images[:, :, :, 0].mean((1, 2)), images.mean((2, 3))

    half = grey(0.0)
    half[..., 16:] = 1.0  # 0 seen from the left, 1 from the right
    settings = RewardSettings(**{**vars(OFF), "views": ("whole", "flip"), "confidence": 1.0})
    theta = torch.zeros(1, 1)
    assert potential_of(half, half, theta, settings, fickle).value.item() == pytest.approx(0)
    assert potential_of(half, half, theta, settings).value.item() == pytest.approx(0.5)


def test_views():
    image = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(look(look(image, "flip"), "flip"), image)
    assert look(image, "small").shape == (1, 3, 48, 24)
    assert look(image, "crop").shape == (1, 3, 56, 28)


def test_clipped_share():
    image = grey(0.5)
    image[..., :16] = 0.0
    assert clipped_share(image).item() == pytest.approx(0.5)
    assert clipped_share(grey(0.5)).item() == 0


def test_differentiable():
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    potential = potential_of(image, grey(0.5, 2), torch.zeros(2, 3), RewardSettings())
    potential.value.sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def tinted(red: float) -> torch.Tensor:
    picture = grey(0.5)
    picture[:, 0] = red
    return picture


def test_penalties_are_measured_from_the_anchor():
    """A prior's picture is free, in theta and in colour; neutral is what is charged."""
    settings = RewardSettings(chroma_weight=3.0, theta_weight=4.0, clipping_weight=2.0)
    reward = QualityReward(brightness, settings)
    neutral, warm, at = tinted(0.5), tinted(0.75), torch.tensor([[0.5, -0.3, 0.0]])
    shot = reward.reference(neutral, warm, at)
    assert reward(warm, shot, at).leash.abs().max() < 1e-3
    assert reward(warm, shot, at).chroma.item() == pytest.approx(0, abs=2e-3)
    back = reward(neutral, shot, torch.zeros(1, 3))
    clipping, chroma, by_theta, _ = back.leash[0].tolist()
    away = torch.linalg.vector_norm(opponents(warm) - opponents(neutral), dim=1).mean().item()
    assert away > 10
    assert back.chroma.item() == pytest.approx(away, rel=1e-4)
    assert chroma == pytest.approx(3.0 * (away - settings.chroma_limit) / 10, rel=1e-4)
    assert by_theta == pytest.approx(4.0 * (0.25 + 0.09) / 3, rel=1e-5)
    assert clipping == 0


def test_clipping_is_measured_from_neutral_whatever_the_anchor():
    reward = QualityReward(brightness, RewardSettings(**{**vars(OFF), "clipping_weight": 2.0}))
    picture, theta = grey(1.0), torch.zeros(1, 2)
    whole = reward(picture, reward.reference(grey(0.5), grey(1.0), theta), theta)
    assert whole.clipping.item() == pytest.approx(1.0, abs=1e-5)
    none = reward(picture, reward.reference(grey(1.0), grey(0.5), theta), theta)
    assert none.leash.abs().max() < 1e-5


class Lighter:
    """Knows the shot: likes what is lighter than its neutral rendering."""

    def see(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    def compare(
        self, seen: torch.Tensor, neutral: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (seen - neutral).mean(1), seen


def test_a_judge_that_knows_the_shot_compares_with_the_anchors_picture():
    assert isinstance(Lighter(), ShotJudge)
    assert not isinstance(brightness, ShotJudge)
    reward = QualityReward(Lighter(), OFF)
    theta, anchor = torch.zeros(2, 1), torch.cat([grey(0.2), grey(0.5)])
    shot = reward.reference(grey(0.9, 2), anchor, theta)
    found = reward(grey(0.6, 2), shot, theta)
    assert found.score.tolist() == pytest.approx([0.4, 0.1])
    assert found.value.tolist() == pytest.approx([0.4, 0.1])
    assert found.attributes.tolist() == [pytest.approx([0.6] * 3)] * 2
    assert found.features.shape == (2, 0)


def test_the_views_of_a_judge_that_knows_the_shot_are_each_compared():
    half = grey(0.0)
    half[..., 16:] = 1.0

    class LeftHalf(Lighter):
        def see(self, images: torch.Tensor) -> torch.Tensor:
            return images[..., : images.shape[-1] // 2].mean((2, 3))

    settings = RewardSettings(**{**vars(OFF), "views": ("whole", "flip"), "confidence": 1.0})
    found = potential_of(half, grey(0.25), torch.zeros(1, 1), settings, LeftHalf())
    assert found.score.item() == pytest.approx((-0.25 + 0.75) / 2)
    assert found.value.item() == pytest.approx(0.25 - 0.5)


def test_distance_from_a_known_truth_is_charged():
    random = torch.Generator().manual_seed(0)
    truth, picture = torch.rand(2, 3, 2, 32, 32, generator=random)
    truth, picture = truth.transpose(0, 1), picture.transpose(0, 1)
    reward = QualityReward(brightness, RewardSettings(**{**vars(OFF), "truth_weight": 0.5}))
    theta = torch.zeros(2, 4)
    known = reward.reference(truth, truth, theta, truth)
    lab = [rgb2lab(each.permute(0, 2, 3, 1).numpy()) for each in (truth, picture)]
    of_chroma = [np.hypot(each[..., 1], each[..., 2]).mean((1, 2)) for each in lab]
    of_light = [each[..., 0].std((1, 2)) for each in lab]
    duller = abs(of_chroma[0] - of_chroma[1]) + abs(of_light[0] - of_light[1])
    expected = 0.5 * (deltaE_ciede94(*lab).mean((1, 2)) + 0.3 * duller)
    charged = reward(picture, known, theta).leash[:, 3]
    assert torch.allclose(charged, torch.from_numpy(expected).float(), rtol=1e-3)
    assert reward(truth, known, theta).leash[:, 3].max() < 0.01
    half = truth.clone()
    half[1] = float("nan")  # of the second picture it is not known
    charged_half = reward(picture, reward.reference(truth, truth, theta, half), theta)
    assert charged_half.leash[:, 3].tolist() == [charged[0].item(), 0]
    assert torch.isfinite(charged_half.value).all()
    unknown = reward.reference(truth, truth, theta)
    assert (reward(picture, unknown, theta).leash[:, 3] == 0).all()
    assert (reward.settings.leash_free().truth_weight) == 0
