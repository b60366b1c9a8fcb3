"""Attacks on scores whose gradient is known."""

import numpy as np
import pytest
import torch

from attiqa.evaluation.attacks import Attack, attacked, fgsm, iterative_fgsm, pgd


@pytest.fixture
def photos() -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(20, 236, (2, 3, 8, 8)) / 255).float()


@pytest.fixture
def weights() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(3, 8, 8))).float()


@pytest.mark.parametrize("make", [fgsm, iterative_fgsm, pgd])
@pytest.mark.parametrize("levels", [2, 4, 10])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_linear_score_is_moved_as_far_as_the_radius_allows(
    photos, weights, make, levels, direction
):
    """The best change of a linear score is the radius times the sign of its weights."""

    def score(images):
        return (images * weights).sum((1, 2, 3))

    changed = attacked(score, photos, make(levels / 255), direction)
    expected = photos + direction * levels / 255 * weights.sign()
    torch.testing.assert_close(changed, expected, atol=1e-6, rtol=0)


def test_samples_stay_in_the_display_range(weights):
    photos = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    changed = attacked(lambda x: (x * weights).sum((1, 2, 3)), photos, fgsm(10 / 255))
    assert changed.min() == 0
    assert changed.max() == 1
    assert (changed[0] > 0).equal(weights > 0)


@pytest.mark.parametrize(("levels", "steps"), [(2, 2), (4, 5), (8, 10), (10, 12), (16, 20)])
def test_steps_of_kurakin(levels, steps):
    """The smaller of eps + 4 and 1.25 eps, rounded down: 2.5, 5, 10, 12.5, 20."""
    assert iterative_fgsm(levels / 255) == Attack(levels / 255, steps, 1 / 255)


@pytest.mark.parametrize("make", [iterative_fgsm, pgd])
def test_results_are_whole_levels_within_the_radius(photos, make):
    def score(images):  # its gradient changes sign within the radius
        return torch.sin(200 * images).sum((1, 2, 3))

    changed = attacked(score, photos, make(4 / 255))
    levels = (changed * 255).numpy()
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    assert np.abs(levels - photos.numpy() * 255).max() <= 4 + 1e-3
    assert (score(changed) > score(photos)).all()


def test_the_random_start_is_that_of_the_seed(photos):
    def score(images):
        return torch.sin(200 * images).sum((1, 2, 3))

    first, again, other = (attacked(score, photos, pgd(8 / 255), seed=s) for s in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)
