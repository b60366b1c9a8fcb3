"""Calibrated intervals: the quantile by hand, the fit and the coverage on simulated opinions."""

import numpy as np
import pytest

from attiqa.evaluation.calibration import (
    CalibrationError,
    Judged,
    calibrate,
    conformal_quantile,
    half_width,
    measured_coverage,
)


def simulated(count: int, seed: int = 0) -> Judged:
    """Opinions whose deviation from the score is known: .02 + 1.5 spread + .1 distance."""
    random = np.random.default_rng(seed)
    scores, spreads = random.uniform(0.2, 0.9, count), random.exponential(0.03, count)
    deviations = 0.02 + 1.5 * spreads + 0.1 * (1 - scores)
    return Judged(scores, spreads, scores + deviations * random.normal(size=count), 1.0)


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (4, 0.5, 3)],
)
def test_quantile_by_hand(count, level, rank):
    values = np.random.default_rng(0).permutation(count) + 1.0
    assert conformal_quantile(values, level) == rank


def test_too_few_photographs():
    with pytest.raises(CalibrationError, match=r"90% .* needs 9 photographs or more; found 8"):
        conformal_quantile(np.arange(8.0), 0.9)


def test_the_constants_are_those_of_the_simulation():
    """The quantile of |normal| of level .9 is 1.645 (tables)."""
    found = half_width(simulated(200_000), 0.9)
    np.testing.assert_allclose(found, 1.645 * np.array([0.02, 1.5, 0.1]), rtol=0.05)


def test_no_constant_is_negative():
    judged = simulated(300)
    agreed = judged._replace(spreads=judged.spreads.max() - judged.spreads)  # the wrong way round
    assert min(half_width(agreed, 0.9)) >= 0


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_on_photographs_that_had_no_part(level):
    found = measured_coverage(simulated(600), level, divisions=40)
    plain = found["one width for all"]
    assert found["coverage"] == pytest.approx(level, abs=0.04)
    assert plain["coverage"] == pytest.approx(level, abs=0.04)
    if level == 0.9:  # half of the opinions are near, whatever the photograph
        assert found["mean width"] < plain["mean width"]
    # one width for all holds too many opinions where the crops agree, too few where they do not
    assert np.ptp(found["coverage by spread, low to high"]) < 0.1
    assert np.ptp(plain["coverage by spread, low to high"]) > 0.15
    assert found["srocc of spread and error"] > 0.2


def test_calibration_says_what_it_was_made_from():
    found = calibrate(simulated(120), 0.8, "a simulation", divisions=5)
    assert (found.level, found.calibration["data"]) == (0.8, "a simulation")
    assert (found.calibration["photographs"], found.calibration["divisions"]) == (120, 5)
    again = calibrate(simulated(120), 0.8, "a simulation", divisions=5)
    assert again == found
    further = simulated(20_000, seed=1)
    half = further.regressors @ [found.base, found.spread_weight, found.distance_weight]
    assert (further.errors <= half).mean() == pytest.approx(0.8, abs=0.08)
