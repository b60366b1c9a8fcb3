"""The calibration, whole, on a miniature of BIQ2021 and a tiny network."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.rated_photos import random_split, split_hash
from attiqa.errors import DatasetLayoutError
from attiqa.evaluation.calibration import CalibrationError
from attiqa.model.architecture import Architecture
from attiqa.model.cards import Scale, read_card
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from experiments.iqa.calibrate_uncertainty import Settings, main

TINY = Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Forty photographs, of which the card keeps thirty aside."""
    random = np.random.default_rng(0)
    (tmp_path / "Images").mkdir()
    rows = ["Image Name,MOS,,"]
    for index in range(40):
        pixels = random.uniform(0, 60 + 4 * index, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "Images" / f"{index}.png")
        rows.append(f"{index}.png,{random.uniform():.4f},,")
    (tmp_path / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    names = read_biq2021(tmp_path, subset=True).names
    split = split_hash(names, random_split(40, 0, 30, 3))
    torch.manual_seed(0)
    card = replace(
        load_model().card,
        name="tiny",
        architecture=TINY,
        protocol=CropProtocol(40, 32),
        training={"data": "made up", "split": {"sha256": split}},
        settings={"validation": 0, "test": 30, "split_seed": 3},
        uncertainty=None,
    )
    model = save_checkpoint(tmp_path / "model", QualityNet(AttributeNet(TINY)), card)
    out = tmp_path / "out"
    return Settings(tmp_path, model=str(model), divisions=10, write=True, out=out)


def changed(settings: Settings, /, **fields) -> None:
    """Rewrite fields of the card."""
    path = Path(settings.model).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_card_gets_the_constants_and_the_model_its_intervals(settings):
    before = read_card(Path(settings.model).with_suffix(".json"))
    main(settings)
    results = json.loads((settings.out / "results.json").read_text())
    card = read_card(Path(settings.model).with_suffix(".json"))
    assert card.uncertainty is not None
    assert replace(card, uncertainty=None) == before
    assert card.uncertainty.calibration["photographs"] == 30
    assert card.uncertainty.base == results["uncertainty"]["base"]
    kept = random_split(40, 0, 30, 3).test
    photos = read_biq2021(settings.data, subset=True)
    assert results["photographs"] == [photos.names[row] for row in kept]
    assert results["mos"] == photos.mos[kept].tolist()
    found = load_model(settings.model).score_with_interval([photos.paths[row] for row in kept])
    np.testing.assert_allclose(results["scores"], found.score, atol=1e-5)
    held = (found.low.numpy() <= results["mos"]) & (results["mos"] <= found.high.numpy())
    assert held.sum() >= 27  # the quantile's rank among thirty is 28


def test_other_photographs_than_those_kept_aside_are_refused(settings):
    changed(settings, training={"data": "made up", "split": {"sha256": "0" * 64}})
    with pytest.raises(DatasetLayoutError, match="not those that tiny was trained on"):
        main(settings)
    changed(settings, settings={})
    with pytest.raises(DatasetLayoutError, match="does not say which photographs"):
        main(settings)
    main(replace(settings, part="all", write=False))
    found = json.loads((settings.out / "results.json").read_text())
    assert len(found["photographs"]) == 40
    with pytest.raises(DatasetLayoutError, match="no official test part"):
        main(replace(settings, part="test"))


def test_opinions_on_another_scale_are_refused(settings):
    changed(settings, scale=asdict(Scale(1.0, 5.0, "made up")))
    with pytest.raises(DatasetLayoutError, match=r"opinions from 0 to 1; tiny scores from 1 to 5"):
        main(settings)


def test_too_few_photographs_for_the_level(settings):
    with pytest.raises(CalibrationError, match="needs 99 photographs or more; found 30"):
        main(replace(settings, level=0.99))
