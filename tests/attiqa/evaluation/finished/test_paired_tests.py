"""Against worked examples, scipy's bootstrap, and what must happen where nothing differs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attiqa.evaluation.finished.paired_tests import (
    bootstrap_together,
    holm,
    percentile_interval,
    williams_test,
)
from attiqa.evaluation.metrics import plcc, srocc


def test_williams_of_a_published_example():
    # Silver, Hittner and May, A FORTRAN 77 program for comparing dependent correlations, Applied
    # Psychological Measurement 30, 2006: correlations .3 and .4, .5 between the two, 100 people
    found = williams_test(0.3, 0.4, 0.5, 100)
    assert found.t == pytest.approx(-1.0767, abs=5e-5)
    assert found.p == pytest.approx(0.2843, abs=5e-5)
    assert williams_test(0.4, 0.3, 0.5, 100) == pytest.approx((-found.t, found.p))


def test_williams_finds_five_percent_where_nothing_differs():
    random = np.random.default_rng(0)
    # two measurements of equal quality of one thing, correlated with each other
    covariance = [[1, 0.6, 0.6], [0.6, 1, 0.5], [0.6, 0.5, 1]]
    data = random.multivariate_normal(np.zeros(3), covariance, (1500, 40))
    tables = [np.corrcoef(sample.T) for sample in data]
    p = [williams_test(r[0, 1], r[0, 2], r[1, 2], 40).p for r in tables]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_williams_at_the_limits():
    assert williams_test(0.7, 0.7, 1.0, 50) == (0.0, 1.0)  # the same model
    found = williams_test(1.0, 0.0, 0.0, 50)  # no variance but a difference
    assert found.t > 0
    assert found.p < 1e-9
    with pytest.raises(ValueError, match="four or more"):
        williams_test(0.5, 0.4, 0.3, 3)


def test_holm_of_a_worked_example():
    # by hand: 4 * .005, 3 * .01, 2 * .03, then .04, not below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_definition_rejects(p_values):
    corrected = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(corrected) if p <= level} == rejected


@pytest.mark.parametrize("statistic", [srocc, plcc])
def test_paired_intervals_are_those_of_scipy(statistic):
    random = np.random.default_rng(1)
    mos = random.normal(size=80)
    scores = np.stack([mos + random.normal(0, noise, 80) for noise in (0.5, 1.0)])
    drawn = bootstrap_together(scores, mos, statistic, 500, seed=3)
    found = percentile_interval(drawn[0] - drawn[1])
    expected = stats.bootstrap(
        (*scores, mos),
        lambda first, second, people: statistic(first, people) - statistic(second, people),
        paired=True,
        vectorized=False,
        n_resamples=500,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.03)
    apart = [percentile_interval(row) for row in drawn]
    width = found.high - found.low
    assert width < sum(interval.high - interval.low for interval in apart)


def test_draws_without_a_correlation_are_left_out():
    assert percentile_interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    with pytest.raises(ValueError, match="different"):
        percentile_interval(np.array([np.nan]))
