import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from attiqa.cli import export
from attiqa.distortions.ladders import LADDERS, distort
from attiqa.model.adapters.onnx_export import ExportError, export_onnx
from attiqa.model.cards import read_card
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import QualityModel, load_model


@pytest.fixture
def model(tiny, tiny_net, small) -> QualityModel:
    with torch.no_grad():
        for _ in range(20):
            tiny_net(small)  # statistics of batch normalisation that spread the scores
        tiny_net.regressor[-1].weight *= 10
    card = replace(load_model().card, name="tiny", architecture=tiny)
    return QualityModel(tiny_net, card)


@pytest.mark.slow
def test_onnx_gives_the_same_scores_for_any_batch_and_size(model, clean, tmp_path):
    weights = save_checkpoint(tmp_path, model.net, model.card)
    out = tmp_path / "exported" / "model.onnx"
    export.main(export.Settings(str(weights), out))
    assert sorted(path.name for path in out.parent.iterdir()) == ["model.json", "model.onnx"]
    card = load_model(weights).card
    assert read_card(out.with_suffix(".json")) == card
    (property,) = onnx.load(out).metadata_props
    assert property.key == "card"
    assert json.loads(property.value)["sha256"] == card.sha256
    session = onnxruntime.InferenceSession(out)
    for images in (clean, clean[:1, :, :150, :97], clean[1:3, :, :32, :32], clean[:3, :, :200]):
        score, attributes = session.run(["score", "attributes"], {"images": images.numpy()})
        expected = model.predict(images)
        assert np.abs(score - expected.score.numpy()).max() < 1e-4
        assert np.abs(attributes - expected.attributes.numpy()).max() < 1e-4
        assert len(images) == 1 or np.ptp(np.asarray(score)) > 1e-3


@pytest.mark.slow
def test_a_learnable_activation_is_stored_and_exported(tiny, clean, tmp_path):
    torch.manual_seed(0)
    architecture = replace(tiny, regressor_activation="gated")
    net = QualityNet(AttributeNet(architecture))
    for parameter in net.regressor[1].parameters():
        torch.nn.init.normal_(parameter)
    card = replace(load_model().card, name="gated", architecture=architecture)
    model = load_model(save_checkpoint(tmp_path, net, card))
    assert model.card.architecture == architecture
    expected = model.predict(clean).score.numpy()
    assert torch.allclose(net.eval()(clean).score.detach(), torch.from_numpy(expected), atol=1e-6)
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "gated.onnx"))
    (score,) = session.run(["score"], {"images": clean.numpy()})
    assert np.abs(np.asarray(score) - expected).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attiqa-mini", "attiqa-referee"])
def test_the_embedded_models_score_in_onnxruntime_as_here(name, clean, tmp_path):
    model = load_model(name)
    out = export_onnx(model, tmp_path / "model.onnx")
    assert read_card(out.with_suffix(".json")) == model.card
    session = onnxruntime.InferenceSession(out)
    dark = distort(clean, next(x for x in LADDERS if x.name == "exposure"), -2.0)
    for images in (clean, dark, clean[:1, :, :150, :97], torch.zeros(2, 3, 320, 320)):
        score, attributes = session.run(["score", "attributes"], {"images": images.numpy()})
        expected = model.predict(images)
        assert np.abs(score - expected.score.numpy()).max() < 1e-4
        assert np.abs(attributes - expected.attributes.numpy()).max() < 1e-4
        assert len(images) != 4 or np.ptp(np.asarray(score)) > 0.01


def test_another_suffix_is_refused(model, tmp_path):
    with pytest.raises(ExportError, match=r"model\.pt: expected the suffix \.onnx"):
        export_onnx(model, tmp_path / "model.pt")
