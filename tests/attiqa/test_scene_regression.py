"""Kernel ridge regression against its definition, and the embedded model against people."""

import json

import numpy as np
import pytest
import torch

from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.rated import random_split, split_hash
from attiqa.errors import CheckpointError
from attiqa.metrics import srocc
from attiqa.scene_regression import (
    EMBEDDED,
    fit_regression,
    load_regression,
    save_regression,
    scene_features,
)
from attiqa.scoring import to_tensor
from attiqa.views import resize_short_side


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(3.0, 2.0, (60, 4))
    return features, np.sin(features[:, 0]) + 0.1 * features[:, 1]


def test_predictions_are_those_of_the_definition(points):
    features, scores = points
    gamma, ridge = 0.7, 0.2
    model = fit_regression(features[:50], scores[:50], gamma, ridge)
    standard = (features - features[:50].mean(0)) / features[:50].std(0)

    def kernel(first, second):
        return np.array([[np.exp(-gamma * np.mean((a - b) ** 2)) for b in second] for a in first])

    known = standard[:50]
    offset = scores[:50].mean()
    inverse = np.linalg.inv(kernel(known, known) + ridge * np.eye(50))
    expected = kernel(standard[50:], known) @ inverse @ (scores[:50] - offset) + offset
    np.testing.assert_allclose(model.predict(features[50:]), expected, atol=5e-3)  # 16-bit support


def test_little_ridge_remembers_and_much_ridge_is_the_mean(points):
    features, scores = points
    near = fit_regression(features, scores, 2.0, 1e-3).predict(features)
    assert np.abs(near - scores).max() < 0.05
    far = fit_regression(features, scores, 2.0, 1e6).predict(features)
    np.testing.assert_allclose(far, scores.mean(), atol=1e-3)


def test_colour_statistics_see_saturation(clean):
    grey = clean.mean(1, keepdim=True).expand_as(clean)
    half = (clean + grey) / 2
    found = [scene_features(x)[:, -2:].mean().item() for x in (half, clean)]  # opponent deviations
    assert found[1] == pytest.approx(2 * found[0], rel=1e-4)


def test_flat_pictures_score_lowest(clean):
    model = load_regression()
    with torch.no_grad():
        scores = model(torch.cat([clean, torch.full((1, 3, 224, 224), 0.5)]))
    assert scores[-1] == 0
    assert (scores[:-1] > 0.2).all()


def test_a_model_is_the_same_after_it_was_saved(points, tmp_path):
    model = fit_regression(*points, gamma=0.5, ridge=0.1)
    save_regression(tmp_path / "model.safetensors", model)
    loaded = load_regression(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(points[0]), model.predict(points[0]))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "broken").write_bytes(b"no model at all")
    for name in ("broken", "missing"):
        with pytest.raises(CheckpointError, match="cannot be read as a regression"):
            load_regression(tmp_path / name)


@pytest.mark.data
@pytest.mark.slow
def test_agreement_with_people_on_photographs_kept_aside(data):
    card = json.loads(EMBEDDED.with_suffix(".json").read_text())
    photos = read_biq2021(data / "biq2021")
    split = random_split(len(photos.paths), 0, 300, 0)
    assert split_hash(photos.names, split) == card["split_sha256"]
    model, part = load_regression(), split.test[:100]
    images = [resize_short_side(to_tensor(photos.paths[i])[None], 224).clamp(0, 1) for i in part]
    scores = torch.cat([model(image) for image in images]).numpy()
    claimed = card["metrics"]["test, 300 photographs"]["srocc"]
    assert srocc(scores, photos.mos[part]) == pytest.approx(claimed, abs=0.12)
