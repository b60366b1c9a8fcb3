"""Comparison of models that are functions of a photograph's number."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.errors import AttiqaError
from attiqa.evaluation.finished.comparison import choose_part, compare
from attiqa.evaluation.finished.models import FinishedModel

COUNT = 40


@pytest.fixture
def photos(tmp_path) -> RatedPhotos:
    paths = tuple(tmp_path / "data" / f"{number % 2}" / f"{number}.png" for number in range(COUNT))
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not decoded here")
    split = Split(np.arange(10), np.arange(0), np.arange(10, COUNT))
    return RatedPhotos("photos", paths, np.arange(COUNT) / COUNT, (0.0, 1.0), split=split)


class Counting:
    """Says the number of a photograph and some noise, and counts how many it was asked for."""

    def __init__(self, seed: int, noise: float) -> None:
        self.scores = np.arange(COUNT) + np.random.default_rng(seed).normal(0, noise, COUNT)
        self.asked = 0

    def __call__(self, paths: Sequence[Path]) -> np.ndarray:
        self.asked += len(paths)
        return self.scores[[int(path.stem) for path in paths]]


def model(name: str, score, trained_on: str | None = "elsewhere") -> FinishedModel:
    return FinishedModel(name, score, {"name": name}, trained_on)


def test_results_are_those_of_scipy(photos, tmp_path):
    good, bad = Counting(0, 3), Counting(1, 20)
    models = [model("good", good), model("bad", bad, "Photos"), model("like good", good, None)]
    found = compare(models, [photos], tmp_path, resamples=200)["datasets"]["photos"]
    assert found["photographs"] == COUNT
    for name, scores in (("good", good.scores), ("bad", bad.scores)):
        result = found["models"][name]["result"]
        assert result["srocc"] == pytest.approx(stats.spearmanr(scores, photos.mos)[0])
        assert result["krocc"] == pytest.approx(stats.kendalltau(scores, photos.mos)[0])
        for statistic in ("srocc", "plcc", "krocc"):
            low, high = result[f"{statistic}_low"], result[f"{statistic}_high"]
            assert low < result[statistic] < high
    settings = [found["models"][m.source]["setting"] for m in models]
    assert settings == ["zero-shot", "trained on this data set", "unknown"]
    assert "difference" not in found["models"]["good"]
    less = found["models"]["bad"]["difference"]["srocc"]
    apart: Any = [stats.spearmanr(model.scores, photos.mos)[0] for model in (bad, good)]
    expected = apart[0] - apart[1]
    assert less["value"] == pytest.approx(expected)
    assert less["low"] < expected < less["high"] < 0
    assert less["t"] < 0
    assert less["p_holm"] == pytest.approx(2 * less["p"])
    same = found["models"]["like good"]["difference"]["srocc"]
    assert (same["value"], same["low"], same["high"], same["p_holm"]) == (0, 0, 0, 1)


def test_what_is_scored_is_kept(photos, tmp_path):
    first, second = Counting(0, 1), Counting(1, 1)
    told: list[int] = []

    def broken(paths: Sequence[Path]) -> np.ndarray:
        raise AttiqaError("broken: cannot score")

    with pytest.raises(AttiqaError, match="broken"):
        compare([model("a", first), model("b", broken)], [photos], tmp_path, 8)
    both = [model("a", first), model("b", second)]
    found = compare(both, [photos], tmp_path, 8, advance=told.append)
    assert (first.asked, second.asked, sum(told)) == (COUNT, COUNT, 2 * COUNT)
    again = compare(both, [photos], tmp_path, 8)
    assert (first.asked, second.asked) == (COUNT, COUNT)
    assert again == found
    compare([model("a", first), model("b2", second)], [photos], tmp_path, 8)  # another model
    other = replace(photos, mos=photos.mos[::-1].copy())  # other labels
    compare([model("a", first)], [other], tmp_path, 8)
    assert (first.asked, second.asked) == (2 * COUNT, 2 * COUNT)


def test_predictions_are_a_table_for_others(photos, tmp_path):
    score = Counting(0, 1)
    compare([model("a", score), model("table:b", score)], [photos], tmp_path, 8)
    lines = (tmp_path / "predictions_photos.csv").read_text().splitlines()
    assert lines[0] == "name,mos,a,table:b"
    name, mos, one, two = lines[2].split(",")
    assert (name, float(mos), one) == ("1/1.png", 1 / COUNT, two)
    assert float(one) == score.scores[1]
    (kept, _) = (tmp_path / "scores").iterdir()
    assert kept.read_text().splitlines()[:2] == ["name,score", f"0/0.png,{score.scores[0]}"]


def test_holm_is_over_the_whole_run(photos, tmp_path):
    models = [model("a", Counting(0, 3)), model("b", Counting(1, 5)), model("c", Counting(2, 5))]
    other = replace(photos, name="other")
    found = compare(models, [photos, other], tmp_path, 8)["datasets"]
    tests = [
        found[name]["models"][source]["difference"]["srocc"]
        for name in ("photos", "other")
        for source in ("b", "c")
    ]
    smallest = min(test["p"] for test in tests)
    assert min(test["p_holm"] for test in tests) == pytest.approx(min(4 * smallest, 1))


def test_the_official_test_part(photos, tmp_path):
    kept = choose_part(photos, "official-test")
    assert kept.names == photos.names[10:]
    np.testing.assert_array_equal(kept.mos, photos.mos[10:])
    assert choose_part(photos, "all") is photos
    with pytest.raises(AttiqaError, match="no official test part"):
        choose_part(replace(photos, split=None), "official-test")


def test_what_cannot_be_compared(photos, tmp_path):
    with pytest.raises(AttiqaError, match="flat: all of photos has the score 1"):
        compare([model("flat", lambda paths: np.ones(len(paths)))], [photos], tmp_path)
    with pytest.raises(AttiqaError, match="different names"):
        compare([], [photos, photos], tmp_path)
