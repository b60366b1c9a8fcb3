"""From answers of many participants to a report."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attiqa.cli import evaluate
from attiqa.cli.settings.evaluate import Settings as EvaluateSettings
from experiments.study.analyse_study import Settings, main
from tests.experiments.study.tiny_studies import answered, study_of
from tests.experiments.tiny_agents import tiny_judge


def report_of(out: Path, *answers: Path, **settings) -> dict:
    folder = out.parent / "report"
    assert main(Settings(out, answers, resamples=200, out=folder, **settings)) == 0
    return json.loads((folder / "report.json").read_text())


def losing(*scenes: str):
    """Prefer the first system but in some scenes."""
    return lambda scene, first, second: float(scene not in scenes)


def test_numbers_by_hand(tmp_path):
    out, key = study_of(tmp_path, scenes=9, repeats=2, ties=True)
    answers = tmp_path / "answers"
    tie = {"s1": 0.5}
    answered(answers, key, "1", losing("s0"))
    answered(answers, key, "2", lambda scene, *_: tie.get(scene, float(scene != "s0")))
    answered(answers, key, "3", losing("s0", "s1", "s2"))
    found = report_of(out, answers)
    (rate,) = found["win_rates"]
    # 8, 7.5 and 6 of nine pairs each
    assert (rate["share"], rate["votes"], rate["ties"], rate["pairs"]) == (21.5 / 27, 27, 1, 9)
    assert rate["clustered"][0] < rate["share"] < rate["clustered"][1]
    low, high = (stats.binomtest(k, 27).proportion_ci(method="wilson") for k in (21, 22))
    assert low.low < rate["wilson"][0] < high.low
    assert (found["left"]["share"], found["left"]["count"]) == (21 / 26, 26)
    # against the majority of the others: in seven scenes all three votes agree with it; in s1 the
    # two decided votes have the other one alone against them, and the others of the tie are
    # undecided; in s2 the third is against two, and the others of these are undecided
    assert found["agreement"]["votes"] == 7 * 3 + 2 + 1
    assert found["agreement"]["participant_accuracy"] == pytest.approx(21 / 24)
    assert found["median_seconds"] == 0.9
    assert found["bradley_terry"] is None

    votes = pd.read_csv(tmp_path / "report/votes.csv", dtype={"participant": str})
    assert len(votes) == 27
    sums = {n: votes["preference"][votes["participant"] == n].sum() for n in "123"}
    assert sums == {"1": 8, "2": 7.5, "3": 6}


def test_preferences_are_what_evaluate_pairs_reads(tmp_path):
    out, key = study_of(tmp_path, scenes=6, repeats=0)
    answers = tmp_path / "answers"
    for name in "12":
        answered(answers, key, name, losing("s0"))
    answered(answers, key, "3", losing("s0", "s1", "s2"))
    model = tiny_judge(tmp_path)
    found = report_of(out, answers, models=(model,))
    table = tmp_path / "report/preferences.csv"
    rows = pd.read_csv(table)
    assert list(rows.columns) == ["first", "second", "preference"]
    shares = {}
    for row in rows.to_dict("records"):
        pictures = [key.pictures[Path(row[name]).name] for name in ("first", "second")]
        assert [picture.system for picture in pictures] == ["a", "b"]
        assert all((table.parent / row[name]).is_file() for name in ("first", "second"))
        shares[pictures[0].scene] = row["preference"]
    assert shares == pytest.approx({"s0": 0, "s1": 2 / 3, "s2": 2 / 3, "s3": 1, "s4": 1, "s5": 1})
    evaluate.main(EvaluateSettings("pairs", table, model=model, out=tmp_path / "pairs"))
    told = json.loads((tmp_path / "pairs/results.json").read_text())
    (accuracy,) = found["models"]
    assert accuracy["accuracy"] == pytest.approx(told["result"]["pair_accuracy"])
    assert accuracy["pairs"] == told["result"]["pairs"] == 6
    low, high = accuracy["interval"]
    assert 0 <= low <= accuracy["accuracy"] <= high <= 1


def test_three_systems_are_ranked(tmp_path):
    out, key = study_of(tmp_path, systems="abc", scenes=10, repeats=0)
    random = np.random.default_rng(0)
    strength = {"a": 0.0, "b": 1.5, "c": -1.5}

    def prefers(scene: str, first: str, second: str) -> float:
        chance = 1 / (1 + np.exp(strength[second] - strength[first]))
        return float(random.uniform() < chance)

    paths = [answered(tmp_path / "answers", key, str(n), prefers) for n in range(20)]
    found = report_of(out, *paths)
    assert [(row["first"], row["second"]) for row in found["win_rates"]] == [
        *(("a", "b"), ("a", "c"), ("b", "c"))
    ]
    ranked = found["bradley_terry"]["systems"]
    assert [row["system"] for row in ranked] == ["b", "a", "c"]
    for row in ranked:
        assert row["strength"] == pytest.approx(strength[row["system"]], abs=0.5)
        assert row["interval"][0] < row["strength"] < row["interval"][1]
    page = (tmp_path / "report/report.html").read_text()
    assert "Bradley-Terry strengths" in page


def test_systems_that_never_lose_have_no_strength(tmp_path):
    out, key = study_of(tmp_path, systems="abc", scenes=6, repeats=0)
    answers = answered(tmp_path / "answers", key, "1", lambda scene, first, second: first == "a")
    found = report_of(out, answers)
    assert sorted(found["bradley_terry"]["groups"]) == [["a"], ["b"], ["c"]]
    assert "Groups without such a connection" in (tmp_path / "report/report.html").read_text()


def test_agreement_needs_no_loser(tmp_path):
    """All prefer one system: agreement is whole, though there is one category alone."""
    out, key = study_of(tmp_path, scenes=6, repeats=0)
    for name in "12":
        answered(tmp_path / "answers", key, name, losing())
    found = report_of(out, tmp_path / "answers")
    assert found["agreement"]["krippendorff_alpha"] == 1


def test_bad_files_and_inattentive_participants_are_named(tmp_path, caplog):
    out, key = study_of(tmp_path, scenes=6, repeats=1)
    answers = tmp_path / "answers"
    good = answered(answers, key, "1", losing("s0"))
    answered(answers, key, "careless", losing(), attentive=False)
    told = json.loads(good.read_text())
    rows = told["answers"]
    pair = next(row for row in rows if row["trial"] in key.pairs)
    check = next(row for row in rows if row["trial"] in key.checks)
    others = [row for row in rows if row["trial"] in key.pairs]
    answered(answers, key, "unchecked", losing(), answers=others)

    def changed(**fields) -> dict:
        return {"answers": [pair | fields]}

    bad = {
        "text": "no JSON",
        "list": "a JSON list",
        "format": "format 'other'",
        "study": "answers of study 'other'",
        "participant": "expected a participant",
        "same": "answers of participant 1 already",
        "trials": "at most 3 answers",
        "trial": "no trial 999",
        "files": "not 'x.jpg'",
        "choice": "expected a choice",
        "ms": "expected milliseconds",
        "nan": "expected milliseconds",
        "fields": "expected trial, left, right, choice and ms",
        "check": "is answered 2 times",
        "repeats": "more than 1 pairs are answered twice",
    }
    for name, change in {
        "format": {"format": "other"},
        "study": {"study": "other"},
        "participant": {"participant": "../x"},
        "same": {"participant": "1"},
        "trials": {"trials": 3},
        "trial": changed(trial=999),
        "files": changed(left="x.jpg"),
        "choice": changed(choice="up"),
        "ms": changed(ms=-1),
        "nan": changed(ms=float("nan")),
        "fields": {"answers": [{"trial": 1}]},
        "check": {"answers": [check, check]},
        "repeats": {"answers": others[:2] * 2},
    }.items():
        answered(answers, key, f"z-{name}", losing(), **change)
    (answers / f"answers-{key.study}-z-text.json").write_bytes(b"\xff{")
    (answers / f"answers-{key.study}-z-list.json").write_text("[]")

    found = report_of(out, answers)
    people = found["participants"]
    assert [row["participant"] for row in people["counted"]] == ["1"]
    assert {row["participant"]: row["reason"] for row in people["excluded"]} == {
        "careless": "failed 2 of 2 attention checks",
        "unchecked": "answered no attention check",
    }
    reasons = {Path(x["file"]).stem.split("-z-")[1]: x["reason"] for x in people["refused"]}
    assert reasons.keys() == bad.keys()
    for name, expected in bad.items():
        assert expected in reasons[name], name
        assert f"z-{name}.json" in reasons[name]
        assert reasons[name] in caplog.text
    assert found["votes"] == 6
    page = (tmp_path / "report/report.html").read_text()
    assert "failed 2 of 2 attention checks" in page
    assert not re.findall(r"https?:|@import|url\(|<script", page)

    assert len(report_of(out, answers, failed_checks=2)["participants"]["counted"]) == 2


def test_an_unfinished_participant_counts_as_far_as_it_goes(tmp_path):
    out, key = study_of(tmp_path, scenes=6, repeats=0)
    whole = answered(tmp_path / "answers", key, "1", losing())
    rows = json.loads(whole.read_text())["answers"]
    answered(tmp_path / "answers", key, "1", losing(), answers=rows[:5], trials=8)
    found = report_of(out, tmp_path / "answers")
    assert found["votes"] == 3  # two of the five are checks
    assert not found["participants"]["counted"][0]["complete"]
    assert len(pd.read_csv(tmp_path / "report/preferences.csv")) == 3


def test_what_cannot_be_analysed_is_said(tmp_path, caplog):
    out, key = study_of(tmp_path, scenes=6, repeats=0)
    good = answered(tmp_path / "answers", key, "1", losing(), attentive=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    for study, answers, settings, expected in (
        (tmp_path / "nowhere", good, {}, "nowhere"),
        (empty, good, {}, "empty-key.json: No such file"),
        (good, good, {}, "no key of a study"),
        (out, empty, {}, "no .json files"),
        (out, good, {}, "no votes to count: 0 files refused, 1 participants excluded"),
        (out, tmp_path / "lost.json", {}, "lost.json: No such file"),
        (out, good, {"models": ("embeded",)}, "embeded"),
        (out, good, {"resamples": 1}, "--resamples of 100 or more"),
    ):
        caplog.clear()
        plain = Settings(study, (answers,), out=tmp_path / "report")
        assert main(replace(plain, **settings)) == 1
        assert expected in " ".join(caplog.text.split()), expected
    assert not (tmp_path / "report").exists()
