import pytest
import torch

from isp_env.rewards import QualityReward, RewardSettings, clipped_share, distance, look, opponents

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


def test_with_everything_off_the_potential_is_the_score():
    potential = QualityReward(brightness, OFF)(grey(0.4), grey(0.2), torch.ones(1, 3))
    assert potential.value.item() == pytest.approx(0.4)
    assert potential.score.item() == pytest.approx(0.4)


def test_each_term_has_its_weight():
    white, middle, theta = grey(1.0), grey(0.5), torch.full((1, 4), 0.5)

    def value(**weights: float) -> float:
        settings = RewardSettings(**{**vars(OFF), **weights})
        return QualityReward(brightness, settings)(white, middle, theta).value.item()

    assert value(scale=3.0) == pytest.approx(3.0)
    assert value(clipping_weight=2.0) == pytest.approx(1 - 2.0, abs=1e-5)  # everything is clipped
    assert value(theta_weight=2.0) == pytest.approx(1 - 2.0 * 0.25)
    assert value(attribute_weight=1.0, attribute_cap=0.25) == pytest.approx(1 + 0.25)


def test_what_each_term_of_the_leash_costs_is_told():
    neutral, picture = grey(0.5), grey(0.5)
    picture[:, 0] = 1.0  # all of red is clipped, and far from grey
    theta = torch.full((1, 4), 0.5)
    settings = RewardSettings(clipping_weight=2.0, chroma_weight=3.0, theta_weight=4.0)
    held = QualityReward(brightness, settings)(picture, neutral, theta)
    loose = QualityReward(brightness, settings.leash_free())(picture, neutral, theta)
    clipping, chroma, by_theta = held.leash[0].tolist()
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
        return QualityReward(brightness, settings)(red, neutral, torch.zeros(1, 1)).value.item()

    free = red.mean().item()
    assert value(difference + 1) == pytest.approx(free, abs=1e-5)
    assert value(difference - 10) == pytest.approx(free - 1, abs=1e-4)


def test_the_bound_falls_where_the_views_disagree():
    def fickle(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images[:, :, :, 0].mean((1, 2)), images.mean((2, 3))

    half = grey(0.0)
    half[..., 16:] = 1.0  # 0 seen from the left, 1 from the right
    settings = RewardSettings(**{**vars(OFF), "views": ("whole", "flip"), "confidence": 1.0})
    assert QualityReward(fickle, settings)(half, half, torch.zeros(1, 1)).value.item() == (
        pytest.approx(0.5 - 0.5)
    )
    assert QualityReward(brightness, settings)(half, half, torch.zeros(1, 1)).value.item() == (
        pytest.approx(0.5)
    )


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
    QualityReward(brightness)(image, grey(0.5, 2), torch.zeros(2, 3)).value.sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
