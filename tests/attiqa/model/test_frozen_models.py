"""A model that is loaded to score gives one score, whatever surrounds it and comes in."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import nn

from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import ImageFormatError
from attiqa.model.adapters.hub_model import HubModel
from attiqa.model.adapters.torchmetric import AttiqaScore
from attiqa.model.architecture import Architecture
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import QualityModel, load_model

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture
def model(tiny, tiny_net, small) -> QualityModel:
    with torch.no_grad():
        for _ in range(20):
            tiny_net(small)  # statistics that spread the scores
    tiny_net.dropout.p = 0.5
    card = replace(
        load_model().card,
        name="tiny",
        architecture=tiny,
        protocol=CropProtocol(short_side=72, crop=64),
    )
    return QualityModel(tiny_net, card)


@pytest.fixture
def unchecked():
    """Leave types to the functions themselves, as they are for users."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


class Learner(nn.Module):
    """What a user trains, with the model inside as its loss or its validation metric."""

    def __init__(self, judge: nn.Module) -> None:
        super().__init__()
        self.judge = judge
        self.gain = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm2d(3)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


@pytest.mark.parametrize("switch", ["train", "eval"])
def test_the_mode_of_the_module_around_it_changes_nothing(model, small, switch):
    expected, before = model.predict(small), weights(model)
    learner = Learner(model)
    for _ in range(3):
        getattr(learner, switch)()
        assert learner.norm.training == (switch == "train")
        found = model.predict(small)
        assert torch.equal(found.score, expected.score)
        assert torch.equal(found.attributes, expected.attributes)
        assert torch.equal(model.perceive(small).score, expected.score)
    assert all(map(torch.equal, weights(model), before))
    assert not any(module.training for module in model.modules())


def test_training_around_it_moves_only_what_is_around_it(model, small):
    learner = Learner(model)
    before = weights(model)
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.1)
    learner.train()
    for _ in range(3):
        optimizer.zero_grad()
        (-learner.judge(small * learner.gain).score.mean()).backward()
        optimizer.step()
    assert learner.gain.item() != 1
    assert all(map(torch.equal, weights(model), before))


def test_every_part_set_by_itself_changes_nothing(model, small):
    expected, before = model.predict(small), weights(model)
    learner = Learner(model)
    for switch in (lambda module: module.train(), lambda module: setattr(module, "training", True)):
        for module in learner.modules():
            switch(module)
        assert torch.equal(model.predict(small).score, expected.score)
        assert torch.equal(model.perceive(small).score, expected.score)
    assert all(map(torch.equal, weights(model), before))


def test_gradients_asked_of_the_module_around_it_do_not_reach_the_weights(model, small):
    learner = Learner(model).requires_grad_(True)
    before = weights(model)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    (-learner.judge(small * learner.gain).score.mean()).backward()
    optimizer.step()
    assert learner.gain.item() != 1
    assert all(map(torch.equal, weights(model), before))
    assert not any(weight.requires_grad for weight in model.requires_grad_(True).parameters())


def test_autocast_changes_no_score(model, small):
    expected = model.predict(small)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.predict(small)
    assert torch.equal(found.score, expected.score)
    assert torch.equal(found.attributes, expected.attributes)


@pytest.mark.parametrize("shape", [(3, 64, 64), (64,), (1, 1, 3, 64, 64), (1, 4, 64, 64)])
def test_whole_photographs_of_another_shape_are_refused(model, shape, unchecked):
    with pytest.raises(ImageFormatError, match=r"\(b, 3, h, w\)"):
        model.score_whole(torch.rand(shape))


@pytest.mark.parametrize("nothing", [None, 5, 0.5])
def test_what_is_no_photograph_at_all_is_refused(model, nothing, unchecked):
    with pytest.raises(ImageFormatError, match=type(nothing).__name__):
        model.score(nothing)


def test_a_metric_in_a_module_that_trains(model, small):
    metric = AttiqaScore(model)
    learner = Learner(metric)
    found = []
    for mode in (False, True, True, False):
        learner.train(mode)
        metric.reset()
        metric.update(small)
        found.append(metric.compute().item())
    assert len(set(found)) == 1
    assert found[0] == pytest.approx(model.score(small).score.mean().item(), abs=1e-5)


def test_a_model_of_the_hub_is_frozen_too(model, small):
    hub = HubModel(model.net, model.card)
    expected = hub.predict(small).score
    assert hub.train() is hub
    assert torch.equal(hub.predict(small).score, expected)


def test_a_net_that_is_fine_tuned_by_itself_still_learns(model, small):
    net = model.net.requires_grad_(True).train()
    assert net.training
    assert net.dropout.training
    before = weights(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    (net(small).score - 1).square().mean().backward()
    optimizer.step()
    assert not all(map(torch.equal, weights(net), before))


@pytest.mark.parametrize(
    ("images_type", "weights_type"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float32, torch.float64),
    ],
)
def test_images_of_every_floating_point_type(small, weights_type, images_type):
    trained = load_model()
    card = replace(trained.card, protocol=CropProtocol(short_side=36, crop=32))
    model = QualityModel(trained.net, card)
    expected = model.score_whole(small[:2]).score
    model.to(weights_type)
    images = small[:2].to(images_type).requires_grad_()
    found = model.score_whole(images)
    assert found.score.dtype == found.attributes.dtype == weights_type
    (gradient,) = torch.autograd.grad(found.score.float().sum(), images)
    assert gradient.dtype == images_type
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    tolerance = 0.03 if torch.bfloat16 in (weights_type, images_type) else 5e-3
    assert (found.score - expected).abs().max() < tolerance
    crops = images.detach()[:, None, :, :32, :32]
    assert torch.allclose(model.score_views(crops).score, model.predict(crops[:, 0]).score)
    assert torch.equal(model.perceive(crops[:, 0]).score, model.predict(crops[:, 0]).score)


@pytest.mark.parametrize("images_type", FLOATS)
def test_a_metric_takes_every_floating_point_type(model, small, images_type):
    metric = AttiqaScore(model)
    metric.update(small.to(images_type))
    tolerance = 0.02 if images_type == torch.bfloat16 else 2e-3
    assert metric.compute().item() == pytest.approx(
        model.score(small).score.mean().item(), abs=tolerance
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint16])
def test_whole_numbers_are_refused_by_name(model, dtype):
    with pytest.raises(ImageFormatError, match=f"{dtype}"):
        model.score(torch.ones(3, 64, 64).to(dtype))


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit"])
@pytest.mark.parametrize("images_type", FLOATS)
def test_an_empty_batch_has_an_empty_prediction(model, tiny, backbone, images_type):
    architecture = replace(tiny, backbone=backbone)
    empty = QualityModel(QualityNet(AttributeNet(architecture)), model.card)
    images = torch.zeros(0, 3, 64, 64, dtype=images_type, requires_grad=True)
    for found in (empty.predict(images), empty.perceive(images), empty.score_whole(images)):
        assert found.score.shape == (0,)
        assert found.attributes.shape == (0, 5)
        found.score.sum().backward()
    assert empty.perceive(images).features.shape == (0, 5 * architecture.head_features)
    assert empty.score_views(images[:, None]).attributes.shape == (0, 5)


def test_an_empty_batch_of_another_shape_is_still_refused(model):
    for shape in ((0, 3, 8, 64), (0, 3, 64, 8)):
        with pytest.raises(ImageFormatError):
            model.predict(torch.zeros(shape))


def test_an_empty_batch_changes_no_metric(model, small):
    metric = AttiqaScore(model)
    metric.update(small[:0])
    metric.update(small)
    metric.update((small[:0] * 255).byte())
    assert metric.compute().item() == pytest.approx(
        model.score(small).score.mean().item(), abs=1e-5
    )


def test_one_attribute_and_no_photograph(tiny):
    architecture = Architecture(
        "test_efficientnet", tiny.mean, tiny.std, 8, 8, attributes=("quality",)
    )
    model = QualityModel(QualityNet(AttributeNet(architecture)), load_model().card)
    assert model.score([]).attributes.shape == (0, 1)
