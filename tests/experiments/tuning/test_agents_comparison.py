"""The sums behind the table of agents, on numbers small enough to check by hand."""

import numpy as np
import pytest

from experiments.tuning.agents_report import table
from experiments.tuning.evaluate_agents import over_seeds, pairs, summarise

START = {"score": np.array([1.0, 2.0, 3.0]), "potential": np.zeros(3), "renders": np.zeros(3)}
BEST = {"score": np.array([3.0, 6.0]), "potential": np.array([2.0, 4.0]), "renders": np.full(2, 5)}
FIRST = {"score": START["score"] + 1.5, "potential": np.full(3, 1.5), "renders": np.ones(3)}
SECOND = {"score": START["score"] + 2.5, "potential": np.full(3, 2.5), "renders": np.ones(3)}


def test_the_share_is_that_of_the_scenes_which_both_saw():
    found = summarise(FIRST, START, BEST)
    assert found["share of the best search"] == {
        "score": 0.5,
        "potential": 0.5,
    }  # 1.5 of (2 + 4) / 2
    assert found["scenes"] == 3
    assert found["change"]["score"]["mean"] == 1.5
    assert found["mean"]["renders"] == 1
    assert "renders" not in found["change"]
    assert summarise(BEST, START, BEST)["share of the best search"]["score"] == 1
    assert "share of the best search" not in summarise(FIRST, START, {})


def test_of_a_search_that_gained_nothing_there_is_no_share():
    assert summarise(FIRST, START, START)["share of the best search"] == {}


def test_a_mean_over_nothing_finite_is_none():
    nothing = {"score": np.array([np.inf, np.nan])}
    assert summarise(nothing, nothing, {})["mean"]["score"] is None


def test_seeds_are_compared_by_their_means():
    measured = {"neutral": START, "agent 0": FIRST, "agent 1": SECOND}
    found = over_seeds(measured, ["agent 0", "agent 1"])["score"]
    assert found["seeds"] == [1.5, 2.5]
    assert found["mean"] == 2
    assert found["deviation"] == pytest.approx(np.sqrt(0.5))
    assert over_seeds(measured, ["agent 0"])["score"]["deviation"] is None


def test_agents_alone_are_compared_with_another_controller():
    found = pairs({"neutral": START, "agent 0": FIRST, "auto-adjust": SECOND}, "auto-adjust")
    assert list(found) == ["agent 0"]
    assert found["agent 0"]["score"]["mean"] == -1
    assert found["agent 0"]["score"]["wins"] == 0


def test_several_agents_are_compared_by_their_mean_of_each_scene():
    other = {"score": np.array([1.0, 4.0, 2.0]), "potential": np.zeros(3), "renders": np.ones(3)}
    measured = {"agent 0": FIRST, "agent 1": SECOND, "agent 0, refined": FIRST, "prior": other}
    found = pairs(measured, "prior")
    assert list(found) == ["agent 0", "agent 1", "agent 0, refined", "mean of 2 seeds"]
    mean = found["mean of 2 seeds"]["score"]
    assert mean["mean"] == pytest.approx((2.0 + 0.0 + 3.0) / 3)  # 3, 4, 5 less 1, 4, 2
    assert mean["wins"] == pytest.approx(2.5 / 3)
    assert mean["low"] <= mean["mean"] <= mean["high"]


def test_the_table_has_a_row_for_each_controller_and_each_referee():
    names = ("potential", "score", "PSNR", "-CIEDE2000", "SSIM")
    change = {name: {"mean": 0.5, "low": 0.25, "high": 1.0, "wins": 1.0} for name in names}
    share = {"share of the best search": {"score": 0.4567}}
    results = {
        "best search": "CMA-ES, 40",
        "controls": {"agent 0": {"scenes": 3, "mean": {"renders": 1.0}, "change": change} | share},
        "trials": {"PSNR": {"right": {"truth above neutral": 1.0}, "accuracy": 1.0, "used": True}},
    }
    lines = table(results).splitlines()
    assert lines[0].endswith("| gain, share of CMA-ES, 40 |")
    assert lines[2].startswith("| agent 0 | 3 | 1.0 | +0.500 (+0.250 to +1.000) |")
    assert lines[2].endswith("| 46% |")
    assert "| PSNR | 100% (truth above neutral 100%) | yes |" in lines
