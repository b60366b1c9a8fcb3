"""Intervals around scores: their arithmetic, and the cards that hold their constants."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from attiqa.data.views import views
from attiqa.errors import CheckpointError
from attiqa.model.cards import read_card
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.model.uncertainty import Uncertainty

UNCERTAINTY = Uncertainty(0.9, 0.05, 2.0, 0.25, {"data": "made up"})


@pytest.fixture
def model(tiny, tiny_net, small) -> QualityModel:
    with torch.no_grad():
        for _ in range(20):
            tiny_net(small)
    card = replace(load_model().card, architecture=tiny, uncertainty=UNCERTAINTY)
    return QualityModel(tiny_net, card)


def test_by_hand():
    # .05 + 2 * .02 + .25 * (1 - .6) = .19
    assert UNCERTAINTY.interval(0.6, 0.02, 0.0, 1.0) == pytest.approx((0.41, 0.79))
    # on a scale of 1 to 100: .05 + 2 * 3 + .25 * 40 = 16.05
    assert UNCERTAINTY.interval(60.0, 3.0, 1.0, 100.0) == pytest.approx((43.95, 76.05))


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.98, (0.925, 1.0)), (0.02, (0.0, 0.315)), (1.3, (1.0, 1.0)), (-0.5, (0.0, 0.0))],
)
def test_no_opinion_is_beyond_the_scale(score, expected):
    if score == 1.3:  # 1.3 - .05 is above the scale, as is the other end
        assert 1.3 - UNCERTAINTY.base > 1
    assert UNCERTAINTY.interval(score, 0.0, 0.0, 1.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    "changes",
    [{"level": 1.0}, {"level": 0.0}, {"base": -0.1}, {"spread_weight": float("nan")}],
)
def test_impossible_constants_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(UNCERTAINTY, **changes)


def test_the_api_against_numpy(model, clean):
    found = model.score_with_interval(clean)
    plain = model.score(clean)
    assert torch.equal(found.score, plain.score)
    assert torch.equal(found.attributes, plain.attributes)
    for row, photo in enumerate(clean):
        crops = model.predict(views(photo[None], model.card.protocol)[0]).score.numpy()
        assert found.spread[row].item() == pytest.approx(np.std(crops), abs=1e-6)
        half = 0.05 + 2 * np.std(crops) + 0.25 * (1 - np.mean(crops))
        low, high = np.clip([np.mean(crops) - half, np.mean(crops) + half], 0, 1)
        assert found.low[row].item() == pytest.approx(low, abs=1e-5)
        assert found.high[row].item() == pytest.approx(high, abs=1e-5)


def test_no_photographs_have_no_intervals(model):
    found = model.score_with_interval([])
    assert [len(part) for part in found] == [0, 0, 0, 0, 0]
    assert found.attributes.shape == (0, 5)


def test_without_calibration_there_are_none(model, clean):
    bare = QualityModel(model.net, replace(model.card, uncertainty=None))
    with pytest.raises(CheckpointError, match=r"no calibrated uncertainty.*calibrate_uncertainty"):
        bare.score_with_interval(clean)


def test_cards_keep_it_and_older_ones_have_none(model, tmp_path):
    path = save_checkpoint(tmp_path, model.net, model.card).with_suffix(".json")
    assert read_card(path).uncertainty == UNCERTAINTY
    fields = json.loads(path.read_text())
    del fields["uncertainty"]
    path.write_text(json.dumps(fields))
    assert read_card(path).uncertainty is None
    path.write_text(json.dumps(fields | {"uncertainty": {"level": 2.0}}))
    with pytest.raises(CheckpointError, match="cannot be read as a card"):
        read_card(path)


@pytest.mark.parametrize("name", ["attiqa-mini", "attiqa-referee"])
def test_the_embedded_models_are_calibrated(name):
    card = load_model(name).card
    uncertainty, _ = card.calibrated()
    calibration = uncertainty.calibration
    assert calibration["photographs"] == card.training["split"]["test"] == 300
    assert abs(calibration["coverage"] - uncertainty.level) < 0.02
    assert calibration["mean width"] < calibration["one width for all"]["mean width"]
