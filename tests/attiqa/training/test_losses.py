import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from attiqa.training.losses import (
    attribute_pairs_loss,
    distortion_ranking_loss,
    distribution,
    empirical_cdf,
    margin_ranking_loss,
    norm_in_norm_loss,
    plcc_loss,
    regression_loss,
    within_sets,
)


def test_one_pair_against_equation_4():
    # Eq. 4 by hand: the label says i > j, the heads say 0.30 and 0.55:
    # max(0, -(+1) (0.30 - 0.55) + 0.1) = 0.35
    scores = torch.tensor([[0.30], [0.55]])
    labels = torch.tensor([[2.0], [1.0]])
    assert margin_ranking_loss(scores, labels, margin=0.1).item() == pytest.approx(0.35)
    assert margin_ranking_loss(scores, -labels, margin=0.1).item() == pytest.approx(0.0)


def test_a_right_order_within_the_margin_still_costs():
    scores, labels = torch.tensor([[0.54], [0.50]]), torch.tensor([[1.0], [0.0]])
    assert margin_ranking_loss(scores, labels, margin=0.1).item() == pytest.approx(0.06)


def test_three_images_two_attributes_by_hand():
    scores = torch.tensor([[0.0, 1.0], [0.2, 0.0], [0.1, 0.5]])
    labels = torch.tensor([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
    # attribute 1, all i > j: (1,2) .2+.1  (1,3) .1+.1  (2,3) max(0, -.1+.1)      mean .5/3
    # attribute 2, all i < j: (1,2) 1+.1   (1,3) .5+.1  (2,3) max(0, -.5+.1)      mean 1.7/3
    assert margin_ranking_loss(scores, labels).item() == pytest.approx(2.2 / 3)


def test_ties_are_left_out_and_the_mean_is_over_the_other_pairs():
    scores = torch.tensor([[0.0], [0.4], [0.0]])
    labels = torch.tensor([[1.0], [1.0], [0.0]])
    # (1,2) tie; (1,3) 0 + .1; (2,3) max(0, -.4 + .1) = 0
    assert margin_ranking_loss(scores, labels).item() == pytest.approx(0.05)
    assert margin_ranking_loss(scores, torch.zeros(3, 1)).item() == 0


def test_ranking_against_loops_over_equations_3_and_4():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(17, 5)), rng.integers(0, 6, (17, 5)).astype(float)
    expected = 0.0
    for attribute in range(5):
        hinges = []
        for i in range(17):
            for j in range(i + 1, 17):
                if labels[i, attribute] != labels[j, attribute]:
                    indicator = 1 if labels[i, attribute] >= labels[j, attribute] else -1
                    gain = scores[i, attribute] - scores[j, attribute]
                    hinges.append(max(0.0, -indicator * gain + 0.2))
        expected += np.mean(hinges)
    found = margin_ranking_loss(torch.from_numpy(scores), torch.from_numpy(labels), margin=0.2)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_confident_pairs_weigh_by_the_quantile_of_their_gap():
    scores = torch.tensor([[0.0], [0.2], [0.1]])
    labels = torch.tensor([[9.0], [2.0], [1.0]])
    # hinges as above: (1,2) .3, gap 7, quantile 2/3  (1,3) .2, gap 8, 1  (2,3) 0, gap 1, 1/3
    expected = (0.3 * 2 / 3 + 0.2 * 1) / (2 / 3 + 1 + 1 / 3)
    assert margin_ranking_loss(scores, labels, confidence=True).item() == pytest.approx(expected)
    # equal gaps weigh alike, ties nothing: (1,2) tie, (1,3) .1, (2,3) 0
    scores, labels = torch.tensor([[0.0], [0.4], [0.0]]), torch.tensor([[1.0], [1.0], [0.0]])
    assert margin_ranking_loss(scores, labels, confidence=True).item() == pytest.approx(0.05)
    assert margin_ranking_loss(scores, torch.zeros(3, 1), confidence=True).item() == 0


def test_confidence_against_loops():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(13, 5)), rng.integers(0, 6, (13, 5)).astype(float)
    expected = 0.0
    for column in range(5):
        pairs = [
            (labels[i, column] - labels[j, column], scores[j, column] - scores[i, column] + 0.2)
            for i in range(13)
            for j in range(13)
            if labels[i, column] > labels[j, column]
        ]
        gaps = np.array([gap for gap, _ in pairs])
        weights = [np.mean(gaps <= gap) for gap in gaps]
        expected += np.average([max(0.0, cost) for _, cost in pairs], weights=weights)
    found = margin_ranking_loss(torch.from_numpy(scores), torch.from_numpy(labels), 0.2, True)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_ranking_depends_on_the_order_of_the_labels_alone():
    scores, labels = torch.randn(8, 5), torch.rand(8, 5) + 0.1
    expected = margin_ranking_loss(scores, labels)
    assert margin_ranking_loss(scores, labels.log() * 7 + 3).item() == pytest.approx(
        expected.item()
    )


def test_ranking_loss_teaches_the_order():
    labels = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    scores = torch.zeros(6, 5, requires_grad=True)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(margin_ranking_loss(scores, labels), scores)
        scores = (scores - 0.5 * gradient).detach().requires_grad_()
    assert torch.equal(scores.argsort(0), labels.argsort(0))


def test_plcc_loss_against_numpy():
    rng = np.random.default_rng(0)
    scores, mos = rng.random(12), rng.random(12)
    found = plcc_loss(torch.tensor(scores).float(), torch.tensor(mos).float())
    assert found.item() == pytest.approx(1 - np.corrcoef(scores, mos)[0, 1], rel=1e-5)


def test_sets_are_compared_within_themselves():
    rng = np.random.default_rng(0)
    scores, mos = rng.random(10), rng.random(10)
    sets = np.array([0, 2, 0, 0, 2, 0, 7, 2, 0, 0])  # of 7 there is one: it is compared with none
    parts = [1 - np.corrcoef(scores[sets == n], mos[sets == n])[0, 1] for n in (0, 2)]
    expected = (6 * parts[0] + 3 * parts[1]) / 9
    found = within_sets(plcc_loss, *(torch.tensor(x) for x in (scores, mos, sets)))
    assert found.item() == pytest.approx(expected)


def test_photographs_that_are_all_of_different_sets_teach_nothing():
    scores = torch.rand(3, requires_grad=True)
    loss = within_sets(plcc_loss, scores, torch.rand(3), torch.arange(3))
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros(3))


def test_distortion_ranking_by_hand():
    better, worse = torch.tensor([0.7, 0.7]), torch.tensor([0.5, 0.8])
    # max(0, .3 - .2) = .1 and max(0, .1 + .1) = .2
    loss = distortion_ranking_loss(better, worse, torch.tensor([0.3, 0.1]))
    assert loss.item() == pytest.approx(0.15)


def test_a_negative_margin_ranks_the_second_above():
    better, worse = torch.tensor([0.7, 0.7]), torch.tensor([0.5, 0.8])
    # max(0, .3 - (.5 - .7)) = .5 and max(0, .1 - (.8 - .7)) = 0
    loss = distortion_ranking_loss(better, worse, torch.tensor([-0.3, -0.1]))
    assert loss.item() == pytest.approx(0.25)


def test_distortion_ranking_of_nothing_is_zero():
    empty = torch.zeros(0, requires_grad=True)
    loss = distortion_ranking_loss(empty, empty, empty.detach())
    loss.backward()
    assert loss.item() == 0


def test_regression_is_the_mean_over_images_and_the_sum_over_attributes():
    scores, labels = torch.tensor([[1.0, 0.0], [3.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 4.0]])
    assert regression_loss(scores, labels).item() == pytest.approx((1 + 4) / 2 + (0 + 9) / 2)


def test_attribute_pairs_look_at_their_own_attribute_alone():
    less = torch.tensor([[0.5, 9.0], [9.0, 0.2]])
    more = torch.tensor([[0.3, 0.0], [0.0, 0.9]])
    # first pair, attribute 0: .1 + .2; second pair, attribute 1: max(0, .1 - .7)
    loss = attribute_pairs_loss(less, more, torch.tensor([0, 1]), margin=0.1)
    assert loss.item() == pytest.approx(0.3 / 2)


def test_norm_in_norm_against_numpy():
    scores, mos = np.random.default_rng(0).normal(size=(2, 9))
    first, second = ((x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).sum()) for x in (scores, mos))
    expected = np.abs(first - second).sum() / (2 * np.sqrt(9))
    found = norm_in_norm_loss(torch.from_numpy(scores), torch.from_numpy(mos))
    assert found.item() == pytest.approx(expected, rel=1e-6)
    # by hand: (-1, 0, 1) / sqrt 2 and its reverse differ by 4 / sqrt 2 in all
    ends = torch.tensor([0.0, 1.0, 2.0])
    assert norm_in_norm_loss(ends, ends.flip(0)).item() == pytest.approx(np.sqrt(2 / 3), rel=1e-6)


def test_the_distribution_function_against_ranks():
    labels = torch.from_numpy(np.random.default_rng(0).beta(6, 2, 1000))  # crowded near the top
    values, shares = distribution(labels)
    assert shares.numpy() == pytest.approx(np.linspace(0, 1, 33))
    ranks = (rankdata(labels.numpy()) - 1) / 999
    assert empirical_cdf(labels, values, shares).numpy() == pytest.approx(ranks, abs=1 / 32)
    assert empirical_cdf(values, values, shares).numpy() == pytest.approx(shares.numpy())


def test_equal_labels_keep_their_share_of_the_distribution():
    labels = torch.tensor([1.0] * 2 + [2.0] * 6 + [4.0] * 2)
    values, shares = distribution(labels, parts=9)  # each end of a part is a label
    assert values.tolist() == [1, 2, 4]
    # ends 0 and 1, 2 to 7, 8 and 9 of 9
    assert shares.tolist() == pytest.approx([0.5 / 9, 4.5 / 9, 8.5 / 9])
    middle = empirical_cdf(torch.tensor([3.0]), values, shares)
    assert middle.item() == pytest.approx(6.5 / 9)


def test_the_distribution_function_goes_on_in_a_line():
    values, shares = torch.tensor([0.0, 0.5, 0.6]), torch.tensor([0.0, 0.5, 1.0])
    scores = torch.tensor([-0.25, 0.55, 0.7], requires_grad=True)
    found = empirical_cdf(scores, values, shares)
    assert found.tolist() == pytest.approx([-0.25, 0.75, 1.5])
    found.sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx([1, 5, 5])  # a half over the gap of the values


def test_norm_in_norm_knows_no_scale_and_survives_equal_scores():
    mos = torch.rand(8, generator=torch.Generator().manual_seed(0))
    assert norm_in_norm_loss(3 * mos - 7, mos).item() == pytest.approx(0, abs=1e-5)
    scores = torch.full((8,), 0.5, requires_grad=True)
    norm_in_norm_loss(scores, mos).backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
