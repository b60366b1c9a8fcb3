"""Thurstone's, Bradley and Terry's and the fidelity loss against published numbers and scipy."""

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.stats import gumbel_r, norm

from attiqa.training.losses import within_sets
from attiqa.training.preference_losses import (
    fidelity_loss,
    preference_loss,
    preference_probability,
)
from attiqa.training.settings import FinetuneSettings, PreferenceLoss

TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
"""Of 13 games in the American League East, 1987: the row over the column (Agresti, Categorical data
analysis, 2002, section 10.6.1)."""


def test_bradley_and_terrys_abilities_of_seven_baseball_teams():
    first, second = np.triu_indices(len(TEAMS), 1)
    shares = torch.from_numpy(WINS[first, second] / 13)
    abilities = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    unit = np.pi / 6**0.5  # of the deviation of a standard Gumbel distribution: scores are logits
    optimizer = torch.optim.LBFGS([abilities], max_iter=100, tolerance_grad=1e-10)

    def cost() -> torch.Tensor:
        optimizer.zero_grad()
        loss = preference_loss(abilities[first] - abilities[second], shares, unit, "bradley-terry")
        loss.backward()
        return loss

    optimizer.step(cost)
    found = (abilities - abilities[-1]).tolist()
    # as published, Baltimore's being 0
    assert found == pytest.approx([1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0], abs=0.005)


def test_bradley_and_terrys_model_is_that_of_gumbel_opinions():
    opinions = gumbel_r(scale=0.2 * 6**0.5 / np.pi)
    assert opinions.std() == pytest.approx(0.2)
    first, second = opinions.rvs((2, 200_000), random_state=0)
    share = np.mean(first + 0.3 > second)
    advantage = torch.tensor([0.3], requires_grad=True)
    loss = preference_loss(advantage, torch.tensor([share]).float(), 0.2, "bradley-terry")
    (gradient,) = torch.autograd.grad(loss, advantage)
    assert gradient.item() == pytest.approx(0, abs=0.02)  # it is least where opinions say so


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_thurstones_cross_entropy_against_scipy(share):
    advantage = np.array([-3.0, -0.1, 0.0, 0.4, 2.0])
    p = norm(0, np.hypot(0.5, 0.5)).cdf(advantage)
    expected = -np.mean(share * np.log(p) + (1 - share) * np.log1p(-p))
    found = preference_loss(
        torch.from_numpy(advantage), torch.full((5,), share, dtype=torch.float64), 0.5
    )
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_the_fidelity_of_single_pairs_by_hand():
    def cost(advantage: float, share: float) -> float:
        columns = torch.tensor([advantage]), torch.tensor([share])
        return preference_loss(*columns, 1.0, "fidelity").item()

    # Tsai et al., 2007: 0 where both agree, 1 where both are sure of the contrary
    assert cost(0.0, 0.5) == pytest.approx(0, abs=1e-6)
    assert cost(-50.0, 1.0) == 1
    assert cost(50.0, 1.0) == 0
    # half a guess of what is certain: 1 - sqrt(1/2)
    assert cost(0.0, 1.0) == pytest.approx(0.292893, abs=1e-6)
    # Phi(1) = 0.841345 where 0.25 are right: 1 - sqrt(.210336) - sqrt(.118991)
    assert cost(2**0.5, 0.25) == pytest.approx(0.196426, abs=1e-5)


def test_fidelity_over_all_pairs_against_loops():
    random = np.random.default_rng(0)
    scores, mos = random.random(9), 100 * random.random(9)
    deviations = random.uniform(5, 30, 9)
    costs = []
    for i in range(9):
        for j in range(i + 1, 9):
            wanted = norm(0, np.hypot(deviations[i], deviations[j])).cdf(mos[i] - mos[j])
            given = norm(0, 0.2 * 2**0.5).cdf(scores[i] - scores[j])
            costs.append(1 - np.sqrt(wanted * given) - np.sqrt((1 - wanted) * (1 - given)))
    first, truth, spread = (torch.from_numpy(column) for column in (scores, mos, deviations))
    expected = pytest.approx(np.mean(costs), rel=1e-9)
    assert fidelity_loss(first, truth, spread, 0.2).item() == expected
    assert fidelity_loss(first, 7 * truth - 30, 7 * spread, 0.2).item() == expected
    odd = torch.arange(9) % 2
    parts = [
        (odd == n).sum() * fidelity_loss(first[odd == n], truth[odd == n], spread[odd == n], 0.2)
        for n in (0, 1)
    ]
    loss = partial(fidelity_loss, unit=0.2)
    found = within_sets(loss, first, truth, odd, spread)
    assert found.item() == pytest.approx(torch.stack(parts).sum().item() / 9)


def test_opinions_without_any_deviation_decide_by_their_means():
    difference, none = torch.tensor([-1e-3, 0.0, 2.0]), torch.zeros(3)
    assert preference_probability(difference, none).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("kind", get_args(PreferenceLoss))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hopeless_and_certain_pairs_have_finite_gradients(kind, dtype):
    advantage = torch.tensor([-1e3, -9.0, 0.0, 9.0, 1e3], dtype=dtype).repeat(2).requires_grad_()
    shares = torch.tensor([0.0, 1.0], dtype=dtype).repeat_interleave(5)
    loss = preference_loss(advantage, shares, 0.15, kind)
    (gradient,) = torch.autograd.grad(loss, advantage)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    empty = torch.zeros(0, requires_grad=True)
    assert preference_loss(empty, torch.zeros(0), 0.15, kind).item() == 0


def test_a_unit_that_is_no_deviation_is_refused():
    with pytest.raises(ValueError, match=r"opinion_deviation: .*positive number, found 0\.0"):
        FinetuneSettings(opinion_deviation=0.0)
