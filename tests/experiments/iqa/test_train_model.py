"""The embedded models' recipes, whole, on a miniature of BIQ2021 and a tiny network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as samples

from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.data.rated_photos import random_split
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.training.distillation import committee
from attiqa.training.regressor_refit import RefitSettings
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule
from experiments.iqa import train_model
from experiments.iqa.measures import previews, unchosen

SCHEDULE = Schedule(1, 6, crops=CropSettings(32, (32, 48)), workers=0)
LEASHED = FinetuneSettings(
    SCHEDULE,
    attribute_weight=0.03,
    ladder_weight=0.03,
    ranked_distortions_weight=0.2,
    distorted_photos=2,
)
TINY = Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8)
SMALL = train_model.Settings(
    Path(),
    name="mini",
    test=6,
    chosen_on=((0, 3), (1, 4)),
    architecture=TINY,
    expert=TINY,
    protocol=CropProtocol(72, 64),
    pretraining=PretrainSettings(SCHEDULE, ladder_weight=1.0),
    whole=LEASHED,
    fine=LEASHED,
    expert_whole=FinetuneSettings(SCHEDULE),
    touch=replace(LEASHED, distillation_weight=1.0),
    refit=RefitSettings(steps=5, batch_size=4, preview=64),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> train_model.Settings:
    """Twenty photographs in the layout of BIQ2021, and a run on fourteen of them."""
    folder = tmp_path_factory.mktemp("biq")
    (folder / "Images").mkdir()
    rows = ["Image Name,MOS,,"]
    for index in range(20):
        sample = (samples.astronaut, samples.coffee, samples.chelsea, samples.rocket)[index % 4]()
        pixels = np.asarray(Image.fromarray(sample).resize((64, 64)), float) * (0.4 + 0.03 * index)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "Images" / f"{index:02}.png")
        rows.append(f"{index:02}.png,{0.1 + 0.04 * index},,")
    (folder / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    settings = replace(
        SMALL,
        data=folder,
        out=folder / "out",
        weights=folder / "weights",
        cache=folder / "cache",
    )
    train_model.main(settings)
    return settings


def load(folder: Path) -> tuple[QualityNet, dict[str, torch.Tensor]]:
    net, _ = load_checkpoint(folder / "mini.safetensors")
    assert isinstance(net, QualityNet)
    return net, {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.slow
def test_all_stages_and_the_card(trained):
    net, card = load_checkpoint(trained.weights / "mini.safetensors")
    assert isinstance(net, QualityNet)
    assert card.training["split"]["train"] == 14
    assert card.training["init"] == "random"
    assert "test_efficientnet, trained from random weights" in card.training["committee"]
    assert {"five crops", "centre crop alone", "previews of 224 pixels"} <= set(
        card.metrics["test, 6 photographs"]
    )
    assert {path.stem for path in trained.out.glob("*.ckpt")} == {
        *("pretraining", "whole", "fine", "expert", "touch")
    }
    # attribute scores have zero mean and unit deviation over the previews of the training part,
    # but for the 16 bits of the file: this network hardly tells photographs apart
    photos = train_model.read_biq2021(trained.data)
    pixels = train_model.cache_photos(photos.paths, 512, trained.cache)
    split = random_split(20, 0, 6, 3)
    with torch.no_grad():
        raw = net.eval().attribute_net(previews(pixels, split.train))
    assert net.attribute_mean.numpy() == pytest.approx(raw.mean(0).numpy(), rel=5e-3, abs=1e-3)
    assert net.attribute_std.numpy() == pytest.approx(raw.std(0).numpy(), rel=0.1)


@pytest.mark.slow
def test_the_committee_speaks_in_the_last_stage_alone(trained):
    history = json.loads((trained.out / "results.json").read_text())["history"]
    told = {name for name, epochs in history.items() if "distillation" in epochs[0]}
    assert told == {"touch"}
    assert history["touch"][0]["distillation"] > 0


def test_photographs_that_no_choice_was_made_on():
    split = random_split(20, 0, 6, 3)
    looked_at = set(random_split(20, 0, 3, 0).test) | set(random_split(20, 0, 4, 1).test)
    fresh = unchosen(20, split, ((0, 3), (1, 4)))
    assert set(fresh) == set(split.test) - looked_at
    assert 0 < len(fresh) < 6
    assert set(unchosen(20, split, ())) == set(split.test)


def test_a_committee_says_the_mean_and_learns_no_more():
    torch.manual_seed(0)
    members = [QualityNet(AttributeNet(TINY)) for _ in range(2)]
    images = torch.rand(3, 3, 48, 48)
    scorer = committee(members, (0.0, 1.0), torch.device("cpu"), "photographs")
    first, second = (member(images).score for member in members)
    assert torch.allclose(scorer.score(images), (first + second) / 2)
    assert not first.requires_grad
    assert not members[1].training
    assert scorer.name != committee(members[:1], (0.0, 1.0), torch.device("cpu"), "").name


@pytest.mark.slow
def test_the_last_stage_alone_moves_the_regressor_and_nothing_else(trained, tmp_path):
    start = str(trained.weights / "mini.safetensors")
    again = replace(trained, start=start, out=tmp_path, weights=tmp_path / "weights")
    train_model.main(again)
    _, before = load(trained.weights)
    _, after = load(again.weights)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("regressor.") for name in moved)  # nor the attributes' scale
    _, card = load_checkpoint(again.weights / "mini.safetensors")
    assert card.training["start"].startswith("mini ")
    assert card.training["init"] == "random"
    assert "committee" not in card.training


def test_the_last_stage_alone_needs_its_settings():
    with pytest.raises(ValueError, match="only `refit` would be run, and its settings are None"):
        train_model.main(replace(SMALL, start="embedded", refit=None))
