"""Protocols on made-up data sets, with fits that are known beforehand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from attiqa.data.rated_photos import RatedPhotos, Split, random_split, split_hash
from attiqa.evaluation.fits import ProbeFit
from attiqa.evaluation.probes.mlp import MlpProbe
from attiqa.evaluation.protocols import (
    Fitted,
    as_is,
    feature_drift,
    labels_hash,
    measure,
    over_splits,
    select,
)


def rated(name: str = "made up", count: int = 60, seed: int = 0) -> RatedPhotos:
    mos = np.random.default_rng(seed).uniform(1, 5, count)
    return RatedPhotos(name, tuple(Path(f"{name}/{i}.jpg") for i in range(count)), mos, (1.0, 5.0))


def noisy(photos: RatedPhotos, indices: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    deviations = np.random.default_rng(seed).normal(size=len(photos.paths))
    return photos.mos[indices] + noise * deviations[indices]


def fit_with_noises(noises):
    """A fit whose model is as good as its epoch's noise is small."""

    def fit(photos, split, evaluate):
        history = [
            {"mos": noise} | evaluate(lambda p, i, noise=noise: noisy(p, i, noise))
            for noise in noises
        ]
        return Fitted(history, lambda p, i: noisy(p, i, noises[-1]))

    return fit


def entry(validation: float, test: float) -> dict:
    return {"mos": 0.1, "validation/srocc": validation, "test/srocc": test}


def test_three_ways_to_select_an_epoch():
    history = [entry(0.5, 0.8), entry(0.7, 0.6), {"mos": 0.1}, entry(0.6, 0.7), entry(0.7, 0.5)]
    found = select(history)
    assert {name: chosen["epoch"] for name, chosen in found.items() if chosen} == {
        "last epoch": 5,
        "selected on validation": 2,  # the first of two equal ones, whatever its test result
        "best on test": 1,
    }
    chosen = found["selected on validation"]
    assert chosen is not None
    assert chosen["test"]["srocc"] == 0.6


def test_without_validation_nothing_is_selected_on_it():
    assert select([{"test/srocc": 0.1}])["selected on validation"] is None


def test_a_history_that_ends_unmeasured_is_refused():
    with pytest.raises(ValueError, match="must end"):
        select([entry(0.5, 0.5), {"mos": 0.1}])


def test_within_and_cross_dataset():
    photos, other = rated(), rated("other", 40, seed=1)
    splits = [random_split(60, 6, 12, seed) for seed in range(3)]
    found = over_splits(photos, splits, fit_with_noises([0.0, 1.0]), [other], {"lr": 1e-4})
    summary = found["summary"]
    assert set(summary["last epoch"]) == {"test", "validation", "other"}
    assert summary["best on test"]["test"]["srocc"] == pytest.approx(
        {"median": 1.0, "quartile_1": 1.0, "quartile_3": 1.0, "splits": 3}
    )
    # the median over the splits of Spearman's rho of the last epoch, by another route
    by_hand = []
    for split in splits:
        scores, mos = noisy(photos, split.test, 1.0), photos.mos[split.test]
        ranks = [np.argsort(np.argsort(values)) for values in (scores, mos)]
        by_hand.append(1 - 6 * np.sum((ranks[0] - ranks[1]) ** 2) / (12 * (12**2 - 1)))
    assert summary["last epoch"]["test"]["srocc"]["median"] == pytest.approx(np.median(by_hand))
    names = [path.name for path in photos.paths]
    assert [run["split"]["sha256"] for run in found["runs"]] == [
        split_hash(names, split) for split in splits
    ]
    assert found["runs"][0]["split"]["train"] == 42
    assert found["settings"] == {"lr": 1e-4}
    assert set(found["data"]) == {"made up", "other"}
    assert json.loads(json.dumps(found)) == found


def test_data_sets_of_the_same_name_would_overwrite_each_other():
    with pytest.raises(ValueError, match="different names"):
        over_splits(rated(), [random_split(60, 6, 12)], fit_with_noises([0.0]), [rated()])


def test_the_test_part_is_never_trained_on():
    seen = []

    def fit(photos, split, evaluate):
        def predict(p, i):
            asked.append(set(i))
            return noisy(p, i, 0.5)

        seen.append(split)
        return Fitted([evaluate(predict)], predict)

    asked: list[set] = []
    split = random_split(60, 6, 12)
    over_splits(rated(), [split], fit)
    assert asked == [set(split.test), set(split.validation)] * 2


def test_pairs_within_prompts():
    grouped = replace(rated(count=6), mos=np.arange(6.0), groups=tuple("aabbab"))
    scores = np.array([1.0, 0.0, 3.0, 2.0, 5.0, 4.0])
    found = measure(lambda p, i: scores[i], grouped, np.arange(6))
    assert (found["pair_accuracy"], found["pairs"]) == (12 / 15, 15)  # 01, 23 and 45 are swapped
    assert found["group_pair_accuracy"] == pytest.approx(4 / 6)  # 01 04 14 | 23 25 35
    assert found["group_pairs"] == 6


def test_as_is_measures_the_whole_set_with_an_interval():
    photos = rated()
    found = as_is(photos, lambda p, i: noisy(p, i, 1.0), {"model": "m"})
    result = found["result"]
    assert result["srocc_low"] < result["srocc"] < result["srocc_high"]
    assert result["pairs"] == 60 * 59 / 2


def test_a_probe_is_fitted_on_the_training_part_alone():
    photos, random = rated(), np.random.default_rng(0)
    features = np.stack([photos.mos + 0.1 * random.normal(size=60), random.normal(size=60)], 1)
    asked = []

    def of(data, indices):
        asked.append(indices)
        return features[indices, None].repeat(5, axis=1)

    split = Split(np.arange(40), np.arange(0), np.arange(40, 60))
    kept = {}
    for mlp in (None, MlpProbe(hidden=8, epochs=60, batch_size=50, lr=0.01)):
        asked.clear()
        found = over_splits(photos, [split], ProbeFit(of, mlp), keep=kept.__setitem__)
        (run,) = found["runs"]
        last = run["selected"]["last epoch"]["test"]
        assert last["srocc"] > 0.95
        assert last["srocc_low"] < last["srocc"]
        assert last["srocc"] == pytest.approx(stats.spearmanr(kept[0]["test"], photos.mos[40:])[0])
        assert np.array_equal(asked[0], split.train)
        if mlp is None:
            assert run["history"][0]["alpha"] in [float(a) for a in np.logspace(-2, 5, 15)]
        else:
            assert 0 < run["history"][0]["training error"] < 0.1


def test_other_sets_are_measured_on_their_test_part_and_whole():
    photos, other = rated(), replace(rated("other", 40, seed=1), split=random_split(40, 0, 10, 3))
    assert other.split is not None
    found = over_splits(photos, [random_split(60, 6, 12)], fit_with_noises([1.0]), [other])
    last = found["runs"][0]["selected"]["last epoch"]
    for part, rows in (("other", other.split.test), ("other, all", np.arange(40))):
        expected = stats.spearmanr(noisy(other, rows, 1.0), other.mos[rows])[0]
        assert last[part]["srocc"] == pytest.approx(expected)


def test_drift_by_hand():
    before = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    after = np.array([[0.0, 2.0], [6.0, 8.0], [1.0, 0.0]])
    found = feature_drift(before, after)
    assert found["mean"] == pytest.approx((0 + 1 + np.sqrt(0.5)) / 3)
    assert found["median"] == pytest.approx(np.sqrt(0.5))


def test_labels_hash_sees_a_changed_label():
    photos = rated()
    changed = replace(photos, mos=photos.mos + 1e-9)
    assert labels_hash(photos) == labels_hash(rated()) != labels_hash(changed)
