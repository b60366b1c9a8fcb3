"""The attack table and the trial of quality maps, whole, on a miniature of BIQ2021."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as samples

from attiqa.data.crop_protocol import CropProtocol
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_map import WindowGrid
from attiqa.model.quality_model import load_model
from experiments.iqa import evaluate_attacks, evaluate_quality_maps

TINY = Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Images").mkdir()
    rows = ["Image Name,MOS,,"]
    for index in range(4):
        sample = (samples.astronaut, samples.coffee, samples.chelsea, samples.rocket)[index]()
        Image.fromarray(sample).resize((64, 64)).save(tmp_path / "Images" / f"{index}.png")
        rows.append(f"{index}.png,{0.1 + 0.2 * index},,")
    (tmp_path / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def model(tmp_path) -> str:
    torch.manual_seed(0)
    net = QualityNet(AttributeNet(TINY))
    with torch.no_grad():
        for _ in range(10):
            net(torch.rand(4, 3, 48, 48))
    card = replace(load_model().card, name="tiny", architecture=TINY, protocol=CropProtocol(48, 40))
    return str(save_checkpoint(tmp_path / "model", net, card))


@pytest.mark.parametrize("view", ["preview", "whole"])
def test_attacks_move_the_score_their_way(folder, model, view):
    settings = evaluate_attacks.Settings(
        folder,
        part="all",
        count=3,
        model=model,
        view=view,
        preview=48,
        levels=(2,),
        out=folder / "out",
    )
    evaluate_attacks.main(settings)
    results = json.loads((settings.out / "attacks.json").read_text())
    assert [found["attack"] for found in results["attacks"]] == ["FGSM", "I-FGSM", "PGD"]
    clean = np.array(results["scores"])
    for found in results["attacks"]:
        for direction, sign in (("raised", 1), ("lowered", -1)):
            entry = found[direction]
            change = np.array(entry["scores"]) - clean
            assert entry["change"] == pytest.approx(change.mean())
            assert sign * entry["change"] > 0
            # no sample moves by more than 2/255: 20 log10(255 / 2) = 42.1 dB at the least
            assert entry["psnr"] >= 42.1
            assert 0 < entry["ssim"] < 1
        assert found["against"]["srocc"] <= found["raised"]["srocc"] + 1e-9
    iterated, once = results["attacks"][1], results["attacks"][0]
    assert iterated["raised"]["change"] > 0.9 * once["raised"]["change"]
    table = (settings.out / "attacks.md").read_text().splitlines()
    assert len(table) == 2 + 1 + 3
    assert "2/255" in table[-1]


def test_regions_by_hand():
    found = evaluate_quality_maps.inside((4, 6), (1, 0), 2)
    assert found.tolist() == [[False] * 6] * 2 + [[True] * 3 + [False] * 3] * 2
    whole = sum(
        evaluate_quality_maps.inside((31, 50), (row, column), 3).astype(int)
        for row in range(3)
        for column in range(3)
    )
    assert np.all(whole == 1)


def test_auc_by_hand():
    values = np.array([[1.0, 2.0, 3.0, 2.0]])
    region = np.array([[True, True, False, False]])
    # 1 < 3, 1 < 2, 2 < 3 and one tie: 3.5 of 4
    assert evaluate_quality_maps.auc(values, region) == pytest.approx(3.5 / 4)


def test_a_model_is_tried(folder, model):
    settings = evaluate_quality_maps.Settings(
        folder / "Images",
        count=2,
        model=model,
        grid=WindowGrid(64, 32, 16),
        parts=(2,),
        out=folder / "out",
    )
    evaluate_quality_maps.main(settings)
    results = json.loads((settings.out / "quality_maps.json").read_text())
    assert set(results["auc"]) == {"blur, 1/2", "noise, 1/2", "exposure, 1/2"}
    assert results["photos"]["count"] == 2
    for entry in results["auc"].values():
        for found in entry.values():
            assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1
