from typing import cast

import numpy as np
import pytest
import torch
import torchmetrics.functional.regression as reference
from scipy import optimize, stats

from attiqa.evaluation.metrics import (
    bootstrap_interval,
    correlations,
    logistic_map,
    pair_accuracy,
    plcc,
    preference_accuracy,
    resampled_srocc,
    spread,
)


def noisy_opinions(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and opinions between 20 and 80 that follow them along an S."""
    random = np.random.default_rng(seed)
    scores = random.normal(3.0, 2.0, count)
    mos = 20 + 60 / (1 + np.exp(-(scores - 3) / 0.7)) + random.normal(0, 2, count)
    return scores, mos


def test_by_hand():
    # ranks 1 2 3 4 against 2 1 3 4: rho = 1 - 6 * 2 / (4 * 15) = .8; 5 of 6 pairs agree: tau 4/6
    found = correlations(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.1, 0.5, 0.9]))
    assert found["srocc"] == pytest.approx(0.8)
    assert found["krocc"] == pytest.approx(2 / 3)
    # deviations -.15 -.05 .05 .15 and -.15 -.35 .05 .45: .11 / sqrt(.05 * .35)
    assert found["plcc"] == pytest.approx(0.11 / np.sqrt(0.05 * 0.35))
    # squared errors .04 .01 .04 .25
    assert found["rmse"] == pytest.approx(np.sqrt(0.34 / 4))


def test_ranks_of_equal_values_are_averaged():
    # ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5
    found = correlations(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found["srocc"] == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    # five of six pairs are ordered, all alike; tau-b divides by sqrt(5 * 6)
    assert found["krocc"] == pytest.approx(5 / np.sqrt(30))


def test_against_torchmetrics():
    scores, mos = noisy_opinions()
    found = correlations(scores, mos)
    x, y = torch.from_numpy(scores), torch.from_numpy(mos)
    assert found["srocc"] == pytest.approx(reference.spearman_corrcoef(x, y).item(), abs=1e-6)
    assert found["plcc"] == pytest.approx(reference.pearson_corrcoef(x, y).item(), abs=1e-6)
    kendall = cast(torch.Tensor, reference.kendall_rank_corrcoef(x, y))
    assert found["krocc"] == pytest.approx(kendall.item(), abs=1e-6)
    assert found["rmse"] == pytest.approx(reference.mean_squared_error(x, y).sqrt().item())


@pytest.mark.parametrize("scores", [[1.0, 1.0], [1.0]])
def test_undefined_correlations_raise(scores):
    with pytest.raises(ValueError, match="two or more different"):
        correlations(np.array(scores), np.arange(len(scores), dtype=float))


def test_the_logistic_of_an_s_is_that_of_scipys_curve_fit():
    scores, mos = noisy_opinions()

    def curve(x, b1, b2, b3, b4):
        return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))

    start = [mos.max(), mos.min(), scores.mean(), scores.std() / 4]
    expected = curve(scores, *optimize.curve_fit(curve, scores, mos, start)[0])
    mapped = logistic_map(scores, mos)
    assert mapped == pytest.approx(expected, abs=1e-3)
    found = correlations(scores, mos)
    assert found["mapped"] is True
    assert found["plcc_mapped"] == pytest.approx(stats.pearsonr(expected, mos)[0], abs=1e-6)
    assert found["plcc_mapped"] > found["plcc"] + 0.02  # the S is bent straight
    assert found["rmse_mapped"] == pytest.approx(2.0, abs=0.2)  # the noise


def test_the_logistic_does_not_depend_on_the_scale_of_the_scores():
    scores, mos = noisy_opinions()
    assert logistic_map(1e-4 * scores - 7, mos) == pytest.approx(
        logistic_map(scores, mos), abs=0.01
    )


def test_a_fit_that_fails_leaves_the_raw_values_and_says_so():
    scores, mos = np.array([0.1, 0.2, 0.5, 0.9]), np.array([1.0, 2.0, 4.0, 3.0])
    found = correlations(scores, mos)  # four points do not determine four parameters
    assert found["mapped"] is False
    assert found["plcc_mapped"] == found["plcc"]
    assert found["rmse_mapped"] == found["rmse"]


def test_bootstrap_covers_the_true_correlation_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        x = random.normal(size=60)
        y = 0.6 * x + 0.8 * random.normal(size=60)  # of unit variance: the correlation is .6
        low, high = bootstrap_interval(x, y, plcc, level=0.9, resamples=200, seed=seed)
        covered += low <= 0.6 <= high
    assert 80 <= covered <= 97


def test_bootstrap_is_seeded_and_narrows_with_more_images():
    scores, mos = noisy_opinions()
    first = bootstrap_interval(scores, mos, resamples=100)
    assert first == bootstrap_interval(scores, mos, resamples=100)
    assert first != bootstrap_interval(scores, mos, resamples=100, seed=1)
    few = bootstrap_interval(scores[:25], mos[:25], resamples=100)
    assert few.high - few.low > first.high - first.low


def test_bootstrap_of_constant_scores_raises():
    with pytest.raises(ValueError, match="different"):
        bootstrap_interval(np.ones(5), np.arange(5.0))


def test_pairs_by_hand():
    scores = np.array([0.1, 0.4, 0.4, 0.2])
    mos = np.array([1.0, 3.0, 2.0, 2.0])
    # pairs 01 02 03 12 13 agree but for the tie of scores 12; 23 has no order
    assert pair_accuracy(scores, mos) == pytest.approx((4.5 / 5, 5))
    groups = np.array(["a", "b", "a", "b"])
    assert pair_accuracy(-scores, mos, groups) == (0.0, 2)  # 02 and 13


def test_pairs_are_those_of_kendalls_tau():
    scores, mos = noisy_opinions(80)
    tau = correlations(scores, mos)["krocc"]  # without ties: agreeing less disagreeing pairs
    assert pair_accuracy(scores, mos) == pytest.approx(((1 + tau) / 2, 80 * 79 / 2))


def test_preferences_by_hand():
    found = preference_accuracy(np.array([0.2, -0.1, 0.3, 0.0]), np.array([1.0, 0.4, 0.0, -1.0]))
    assert found == pytest.approx((0.5, 3))  # right, wrong, undecided people, undecided scores
    assert np.isnan(preference_accuracy(np.ones(2), np.zeros(2)).share)


def test_spread_over_splits():
    assert spread(np.array([0.1, 0.5, 0.2, 0.4, 0.3])) == pytest.approx(
        {"median": 0.3, "quartile_1": 0.2, "quartile_3": 0.4, "splits": 5}
    )


@pytest.mark.parametrize("values", [1000, 6])  # without ties and with many
def test_resamples_are_ranked_as_scipy_ranks_them(values):
    random = np.random.default_rng(3)
    scores, mos = random.integers(values, size=(2, 40)).astype(float)
    draws = random.integers(40, size=(60, 40))
    times = np.stack([np.bincount(draw, minlength=40) for draw in draws])
    by_scipy = (stats.spearmanr(scores[draw], mos[draw])[0] for draw in draws)
    expected = np.fromiter(by_scipy, float)
    np.testing.assert_allclose(resampled_srocc(scores, mos, times), expected, atol=1e-12)


def test_a_resample_of_one_opinion_has_no_correlation():
    times = np.array([[3, 0, 0], [1, 1, 1]])
    found = resampled_srocc(np.arange(3.0), np.arange(3.0), times)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1)
