"""Heads against people's attribute scores, compared with scipy."""

import numpy as np
import pytest
from scipy import stats

from attiqa.evaluation.attribute_agreement import attribute_agreement

NAMES = ("sharpness", "contrast")


def test_against_scipy():
    random = np.random.default_rng(0)
    human = random.uniform(0, 100, (150, 2))
    predicted = np.exp(human / 40) + random.normal(0, 1.5, (150, 2))
    found = attribute_agreement(predicted, human, NAMES)
    for column, name in enumerate(NAMES):
        head, people = predicted[:, column], human[:, column]
        assert found[name]["srocc"] == pytest.approx(stats.spearmanr(head, people)[0])
        assert found[name]["plcc"] == pytest.approx(stats.pearsonr(head, people)[0])
        for metric, statistic in (("srocc", stats.spearmanr), ("plcc", stats.pearsonr)):
            interval = stats.bootstrap(
                (head, people),
                lambda x, y, of=statistic: of(x, y)[0],
                paired=True,
                vectorized=False,
                method="percentile",
                n_resamples=150,
                rng=np.random.default_rng(1),
            ).confidence_interval
            low, high = found[name][f"{metric}_low"], found[name][f"{metric}_high"]
            assert (low, high) == pytest.approx(tuple(interval), abs=0.03)
    each = found["sharpness"]["srocc with each human attribute"]
    assert each["sharpness"] == found["sharpness"]["srocc"]
    assert each["contrast"] == pytest.approx(stats.spearmanr(predicted[:, 0], human[:, 1])[0])


def test_swapped_heads_show():
    human = np.random.default_rng(0).uniform(0, 100, (50, 2))
    found = attribute_agreement(human[:, ::-1], human, NAMES, resamples=20)
    each = found["sharpness"]["srocc with each human attribute"]
    assert each["contrast"] == pytest.approx(1)
    assert each["sharpness"] < 0.5
