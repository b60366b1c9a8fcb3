"""A tiny model and a folder of photographs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from attiqa.data.crop_protocol import CropProtocol
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.quality_model import QualityModel, load_model


@pytest.fixture
def model(tiny, tiny_net, small) -> QualityModel:
    with torch.no_grad():
        for _ in range(20):
            tiny_net(small)  # statistics of batch normalisation that spread the scores
    card = load_model().card
    protocol = CropProtocol(short_side=72, crop=64)
    card = replace(card, name="tiny", architecture=tiny, protocol=protocol)
    return QualityModel(tiny_net, card)


@pytest.fixture
def weights(model, tmp_path) -> Path:
    return save_checkpoint(tmp_path / "model", model.net, model.card)


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    """Twelve photographs of several sizes, one of which is broken and one too small."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for index in range(10):
        crop = photo[17 * index : 200 + 13 * index, 11 * index : 300 - 10 * index]
        Image.fromarray(crop).save(root / ("more" if index % 2 else ".") / f"{index}.png")
    (root / "broken.jpg").write_bytes(b"\xff\xd8 no photograph")
    Image.new("RGB", (1, 1)).save(root / "dot.png")
    (root / "notes.txt").write_text("not an image")
    return root
