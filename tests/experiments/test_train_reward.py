"""The embedded model's recipe, whole, on a miniature of BIQ2021 and a tiny network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as samples

from attiqa.checkpoints import Protocol, load_checkpoint
from attiqa.datasets.crops import CropSettings
from attiqa.finetuning import FinetuneSettings
from attiqa.models import Architecture, QualityNet
from attiqa.pretraining import PretrainSettings
from attiqa.training import Schedule
from experiments import train_reward
from experiments.regressor_refit import RefitSettings

SCHEDULE = Schedule(1, 6, crops=CropSettings(32, (32, 48)), workers=0)
STAGE = FinetuneSettings(
    SCHEDULE,
    attribute_weight=0.03,
    ladder_weight=0.03,
    ranked_distortions_weight=0.2,
    distorted_photos=2,
)
SMALL = train_reward.Settings(
    Path(),
    name="mini",
    test=6,
    architecture=Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8),
    protocol=Protocol(72, 64),
    pretraining=PretrainSettings(SCHEDULE, ladder_weight=1.0),
    whole=STAGE,
    fine=STAGE,
    touch=STAGE,
    refit=RefitSettings(steps=5, batch_size=4, preview=64),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> train_reward.Settings:
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
    train_reward.main(settings)
    return settings


def load(folder: Path) -> tuple[QualityNet, dict[str, torch.Tensor]]:
    net, _ = load_checkpoint(folder / "mini.safetensors")
    assert isinstance(net, QualityNet)
    return net, {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.slow
def test_all_stages_and_the_card(trained):
    net, card = load_checkpoint(trained.weights / "mini.safetensors")
    assert card.training["split"]["train"] == 14
    assert card.training["init"] == "random"
    assert {"five crops", "centre crop alone", "previews of 224 pixels"} <= set(
        card.metrics["test, 6 photographs"]
    )
    assert {path.stem for path in trained.out.glob("*.ckpt")} == {
        *("pretraining", "whole", "fine", "touch")
    }
    # attribute scores have unit deviation over the previews of the training part, and zero mean
    # but for the 16 bits of the file: this network hardly tells photographs apart
    photos = train_reward.read_biq2021(trained.data)
    pixels = train_reward.cache_photos(photos.paths, 512, trained.cache)
    split = train_reward.random_split(20, 0, 6, 0)
    with torch.no_grad():
        attributes = net.eval()(train_reward.previews(pixels, split.train)).attributes
    assert attributes.mean(0).abs().max() < 0.5
    assert attributes.std(0).numpy() == pytest.approx(np.ones(5), abs=0.1)


@pytest.mark.slow
def test_the_last_stage_alone_moves_the_regressor_and_nothing_else(trained, tmp_path):
    start = str(trained.weights / "mini.safetensors")
    again = replace(trained, start=start, out=tmp_path, weights=tmp_path / "weights")
    train_reward.main(again)
    _, before = load(trained.weights)
    _, after = load(again.weights)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("regressor.") for name in moved)  # nor the attributes' scale
    _, card = load_checkpoint(again.weights / "mini.safetensors")
    assert card.training["start"].startswith("mini ")
    assert card.training["init"] == "random"
