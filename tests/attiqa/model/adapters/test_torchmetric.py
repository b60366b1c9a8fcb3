import sys
from dataclasses import replace

import pytest
import torch

from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import ImageFormatError
from attiqa.model.adapters.torchmetric import AttiqaScore
from attiqa.model.quality_model import QualityModel, load_model


@pytest.fixture
def model(tiny, tiny_net) -> QualityModel:
    protocol = CropProtocol(short_side=72, crop=64)
    card = replace(load_model().card, name="tiny", architecture=tiny, protocol=protocol)
    return QualityModel(tiny_net, card)


def test_the_mean_of_all_images_in_any_batches(model, small):
    metric = AttiqaScore(model)
    metric.update(small[:3])
    metric.update((small[3:] * 255).round().byte())
    expected = model.score(small).score.mean().item()
    assert metric.compute().item() == pytest.approx(expected, abs=1e-4)
    metric.reset()
    metric.update(small[1:2])
    assert metric.compute().item() == pytest.approx(model.score(small[1]).score.item(), abs=1e-5)


def test_what_it_says_of_itself(model, small):
    metric = AttiqaScore(model)
    assert metric.higher_is_better
    assert metric.is_differentiable
    images = small.clone().requires_grad_()
    metric(images).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_bad_images_are_refused(model):
    with pytest.raises(ImageFormatError, match="nan"):
        AttiqaScore(model).update(torch.full((1, 3, 64, 64), float("nan")))


def test_over_processes_it_is_the_mean_of_all_images(model, small):
    """Uneven shares: the mean of the processes' means would be another number."""
    other = AttiqaScore(model)
    other.update(small[:1])

    def gather(state, group):
        return [state, other.total if state.is_floating_point() else other.count]

    metric = AttiqaScore(model, dist_sync_fn=gather, distributed_available_fn=lambda: True)
    metric.update(small[1:])
    expected = model.score(small).score.mean().item()
    assert metric.compute().item() == pytest.approx(expected, abs=1e-5)


def test_without_torchmetrics_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "attiqa.model.adapters.torchmetric")
    with pytest.raises(ImportError, match=r"attiqa\[metrics\]"):
        __import__("attiqa.model.adapters.torchmetric")
