"""Statistics of pairs against published worked examples and independent computations."""

import numpy as np
import pytest
from scipy import optimize, stats

from attiqa.evaluation.preferences import (
    bradley_terry,
    bradley_terry_intervals,
    clustered_interval,
    draw_both,
    krippendorff_alpha,
    mean_win_probabilities,
    participant_accuracy,
    unbeaten_groups,
    wilson_interval,
)

# American League, Eastern Division, 1987 (Agresti, Categorical Data Analysis, second edition, table
# 10.10): games that the team of the row has won against that of the column
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ],
    float,
)
# Turner and Firth, Bradley-Terry models in R (Journal of Statistical Software 48, 2012), section 3:
# relative to Baltimore
ABILITIES = (1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0)

MISSING = -1
# Krippendorff, Computing Krippendorff's alpha-reliability (2011): examples A, B and C
FEW = ([0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
MANY = ([0, 0, 1, 1, 3, 2, 2, 2, 4, 3, 3, 0], [1, 0, 1, 1, 1, 2, 2, 2, 4, 3, 3, 3])
GAPS = (
    [1, 2, 3, 3, 2, 1, 4, 1, 2, -1, -1, -1],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, -1, 3],
    [-1, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, -1],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, -1],
)


@pytest.mark.parametrize(
    ("wins", "votes", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(wins, votes, low, high):
    assert wilson_interval(wins, votes) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_wilson_against_scipy(level):
    for wins, votes in ((0, 1), (3, 7), (58, 100), (40, 40)):
        found = stats.binomtest(wins, votes).proportion_ci(level, method="wilson")
        assert wilson_interval(wins, votes, level) == pytest.approx((found.low, found.high))


def test_wilson_with_ties_and_without_votes():
    low, high = wilson_interval(6.5, 10)
    assert wilson_interval(6, 10).low < low < wilson_interval(7, 10).low
    assert wilson_interval(3.5, 10) == pytest.approx((1 - high, 1 - low))
    assert wilson_interval(0, 0) == (0, 1)


def test_bradley_terry_as_published():
    strengths = bradley_terry(BASEBALL)
    assert strengths - strengths[TEAMS.index("Baltimore")] == pytest.approx(ABILITIES, abs=6e-5)
    assert strengths.mean() == pytest.approx(0)


def test_bradley_terry_against_the_likelihood():
    random = np.random.default_rng(0)
    wins = random.integers(1, 20, (5, 5)) / 2  # ties are half wins
    wins[0, 1] = wins[1, 0] = 0  # never met

    def loss(b: np.ndarray) -> float:
        apart = b[:, None] - b
        return float((wins * np.log1p(np.exp(-apart)))[~np.eye(5, dtype=bool)].sum())

    best = optimize.minimize(loss, np.zeros(5), tol=1e-12).x
    assert bradley_terry(wins) == pytest.approx(best - best.mean(), abs=1e-4)


def test_two_systems_have_the_odds_of_their_wins():
    strengths = bradley_terry(np.array([[7.0, 30], [10, 3]]))  # the diagonal is not read
    assert np.diff(strengths) == pytest.approx(-np.log(3))
    assert mean_win_probabilities(strengths) == pytest.approx([0.75, 0.25])


def test_strengths_need_systems_that_are_connected():
    assert unbeaten_groups(BASEBALL) == [list(range(7))]
    circle = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0.0]])
    assert bradley_terry(circle) == pytest.approx([0, 0, 0])
    for never_lost in (np.triu(np.ones((3, 3)), 1), np.kron(np.eye(2), np.ones((2, 2)))):
        assert len(unbeaten_groups(never_lost)) > 1
        with pytest.raises(ValueError, match=r"have won and lost; found the groups \[\["):
            bradley_terry(never_lost)


def test_a_resample_is_the_sum_over_who_is_drawn():
    random = np.random.default_rng(1)
    votes = random.uniform(size=(4, 6))
    draws = draw_both(4, 6, resamples=3, seed=2)
    assert draws.participants.sum(1).tolist() == [4] * 3
    assert draws.scenes.sum(1).tolist() == [6] * 3
    for row, total in enumerate(draws.sums(votes)):
        people = np.repeat(np.arange(4), draws.participants[row])
        scenes = np.repeat(np.arange(6), draws.scenes[row])
        assert total == pytest.approx(votes[np.ix_(people, scenes)].sum())


def test_the_bootstrap_knows_both_clusters():
    """Independent votes: about Wilson's interval. Shared taste or scenes: much wider."""
    random = np.random.default_rng(3)
    seen, draws = np.ones((40, 50)), draw_both(40, 50, seed=4)

    def width(chance: np.ndarray) -> float:
        low, high = clustered_interval((random.uniform(size=(40, 50)) < chance) * 1.0, seen, draws)
        return high - low

    plain = np.ptp(wilson_interval(1000, 2000))
    assert width(np.full((40, 50), 0.5)) == pytest.approx(1.7 * plain, rel=0.3)  # sqrt(3): Owen
    spread = np.array([0.1, 0.9])  # standard deviation 0.4
    by_people = width(np.repeat(spread, 20)[:, None].repeat(50, 1))
    by_scenes = width(np.repeat(spread, 25)[None].repeat(40, 0))
    assert by_people == pytest.approx(2 * 1.96 * 0.4 / np.sqrt(40), rel=0.15)
    assert by_scenes == pytest.approx(2 * 1.96 * 0.4 / np.sqrt(50), rel=0.15)
    assert clustered_interval(seen, seen, draws) == (1, 1)
    with pytest.raises(ValueError, match="needs votes"):
        clustered_interval(0 * seen, 0 * seen, draws)


def test_intervals_of_strengths():
    random = np.random.default_rng(5)
    truth = np.array([0.8, 0.0, -0.8])
    chance = 1 / (1 + np.exp(truth[None] - truth[:, None]))
    wins = np.zeros((3, 3, 30, 40))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        wins[i, j] = random.uniform(size=(30, 40)) < chance[i, j]
        wins[j, i] = 1 - wins[i, j]
    intervals = bradley_terry_intervals(wins, draw_both(30, 40, 200))
    for interval, value in zip(intervals, truth, strict=True):
        assert interval is not None
        assert interval.low < value < interval.high
        assert interval.high - interval.low < 0.5


def test_strengths_that_are_often_infinite_have_no_interval():
    wins = np.zeros((3, 3, 5, 5))
    wins[0, 1] = wins[1, 2] = wins[0, 2] = 1
    wins[2, 0, 0, 0] = 1  # of one participant in one scene alone
    assert np.isfinite(bradley_terry(wins.sum((2, 3)))).all()
    assert bradley_terry_intervals(wins, draw_both(5, 5, 200)) == [None] * 3


@pytest.mark.parametrize(("coders", "alpha"), [(FEW, 0.095), (MANY, 0.692), (GAPS, 0.743)])
def test_alpha_as_published(coders, alpha):
    found = np.array(coders)
    counts = np.stack([(found == value).sum(0) for value in range(6)], axis=1)
    assert krippendorff_alpha(counts) == pytest.approx(alpha, abs=5e-4)


def test_alpha_where_there_is_nothing_to_compare():
    assert np.isnan(krippendorff_alpha(np.array([[1, 0], [0, 1]])))
    assert np.isnan(krippendorff_alpha(np.array([[3, 0], [2, 0]])))
    assert krippendorff_alpha(np.array([[3, 0], [0, 2]])) == 1


def test_a_participant_against_the_others():
    nan = float("nan")
    choices = np.array([[1, 0, 1, nan], [1, 1, 0.5, 1], [1, 1, nan, nan]])
    # first pair: three agree; second: wrong, and twice undecided others (0 and 1); third: the vote
    # against an undecided other is not counted, the tie counts half; fourth: nobody else
    found = participant_accuracy(choices)
    assert found.pairs == 5
    assert found.share == pytest.approx((3 + 0 + 0.5) / 5)
