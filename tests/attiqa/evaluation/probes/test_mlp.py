"""The MLP probe against what a linear one cannot learn."""

import numpy as np
import pytest
import torch

from attiqa.evaluation.metrics import plcc
from attiqa.evaluation.probes.mlp import MlpProbe, fit_mlp_probe
from attiqa.evaluation.probes.ridge import fit_linear_probe

SMALL = MlpProbe(hidden=32, epochs=120, batch_size=64, lr=0.01)


def curved(count: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Two crops of each photograph; its score depends on the size of a feature, not on its sign."""
    random = np.random.default_rng(0)
    features = random.normal(size=(count, 1, 3)).repeat(2, axis=1)
    features[..., 2] = 7.0  # says nothing
    mos = 60 + 10 * np.abs(features[:, 0, 0])
    return features + 0.01 * random.normal(size=features.shape) * [1, 1, 0], mos


def test_learns_what_a_line_cannot():
    features, mos = curved()
    probe = fit_mlp_probe(features[:100], mos[:100], SMALL)
    found = probe(features[100:])
    assert plcc(found, mos[100:]) > 0.97
    assert abs(found - mos[100:]).mean() < 2  # on the scale of the opinions
    line = fit_linear_probe(features[:100].mean(1), mos[:100])
    assert plcc(line(features[100:].mean(1)), mos[100:]) < 0.5


def test_a_score_is_the_mean_over_the_crops():
    features, mos = curved(40)
    probe = fit_mlp_probe(features, mos, MlpProbe(hidden=4, epochs=2))
    single = np.stack([probe(features[:, [crop]]) for crop in range(2)])
    assert probe(features) == pytest.approx(single.mean(0))


def test_the_seed_decides_and_nobody_elses_does():
    features, mos = curved(40)
    few = MlpProbe(hidden=4, epochs=2)
    first = fit_mlp_probe(features, mos, few)(features)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert np.array_equal(fit_mlp_probe(features, mos, few)(features), first)
    assert torch.equal(torch.get_rng_state(), state)
    other = fit_mlp_probe(features, mos, MlpProbe(hidden=4, epochs=2, seed=1))
    assert not np.array_equal(other(features), first)


def test_equal_scores_are_refused():
    with pytest.raises(ValueError, match="different"):
        fit_mlp_probe(np.ones((5, 1, 2)), np.ones(5))
