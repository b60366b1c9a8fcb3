from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from torch import nn

from attiqa.model.activations import GatedActivation
from attiqa.model.architecture import Architecture
from attiqa.model.networks import AttributeNet, BackboneError, QualityNet


def test_the_network_has_the_papers_shape(tiny):
    net = AttributeNet(tiny)
    assert len(net.hidden) == len(net.last) == 5
    for head, last in zip(net.hidden, net.last, strict=True):
        assert [type(layer) for layer in head.children()] == [nn.Linear, nn.ReLU]
        assert type(last) is nn.Linear
    images = torch.rand(2, 3, 64, 64)
    assert net.features(images).shape == (2, 5, 8)
    assert net(images).shape == (2, 5)


def test_the_regressor_reads_the_concatenated_features_alone(tiny_net):
    images = torch.rand(2, 3, 64, 64)
    net = tiny_net.eval()
    before = net(images)
    features = net.attribute_net.features(images).reshape(2, 40)
    first, last = net.regressor[0], net.regressor[2]
    by_hand = (features @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    assert torch.allclose(before.score, by_hand[:, 0], atol=1e-6)
    with torch.no_grad():
        for layer in net.attribute_net.last:
            layer.bias += 1
    after = net(images)
    assert torch.equal(after.score, before.score)
    assert torch.allclose(after.attributes, before.attributes + 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("gelu", lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
    ],
)
def test_other_activations_of_the_regressor_change_no_weight(tiny, tiny_net, name, activation):
    net = QualityNet(AttributeNet(replace(tiny, regressor_activation=name))).eval()
    net.load_state_dict(tiny_net.state_dict())
    features, score = torch.randn(16, 40), tiny_net.regressor
    hidden = activation(features @ score[0].weight.T + score[0].bias)
    by_hand = hidden @ score[2].weight.T + score[2].bias
    assert torch.allclose(net.regressor(features), by_hand, atol=1e-6)
    assert not torch.allclose(score(features), by_hand, atol=1e-2)


def test_the_gated_activation_by_hand(tiny):
    """Learnable in each channel; half a sigmoid and half a leaky ReLU of slope 1/4 at first."""
    net = QualityNet(AttributeNet(replace(tiny, regressor_activation="gated"))).eval()
    features = torch.randn(16, 40)
    first = cast(nn.Linear, net.regressor[0])
    x = (features @ first.weight.T + first.bias).detach()
    gated = cast(GatedActivation, net.regressor[1])
    at_first = (1 / (1 + np.exp(-x.numpy())) + np.where(x > 0, x, x / 4)) / 2
    assert gated(x).detach().numpy() == pytest.approx(at_first, abs=1e-6)
    random = np.random.default_rng(0)
    g, alpha, beta, slope = random.normal(size=(4, 8)).astype(np.float32)
    columns = {"gate": g, "alpha": alpha, "beta": beta, "slope": slope}
    gated.load_state_dict({name: torch.from_numpy(value) for name, value in columns.items()})
    w, x = 1 / (1 + np.exp(-g)), x.numpy()
    expected = w / (1 + np.exp(-alpha * x - beta)) + (1 - w) * np.where(x > 0, x, slope * x)
    assert gated(torch.from_numpy(x)).detach().numpy() == pytest.approx(expected, abs=1e-5)
    net(torch.rand(2, 3, 64, 64)).score.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in gated.parameters())


def test_an_unknown_activation_is_named(tiny):
    object.__setattr__(tiny, "regressor_activation", "tanh")  # past the tests' own check of types
    with pytest.raises(ValueError, match=r"regressor_activation: .*sigmoid, gated; .*'tanh'"):
        tiny.__post_init__()


def test_images_are_normalised_inside(tiny):
    net = AttributeNet(tiny).eval()
    images = torch.rand(2, 3, 64, 64)
    shared = net.backbone((images - 0.5) / 0.5)
    assert torch.allclose(net.features(images)[:, 3], net.hidden[3](shared), atol=1e-6)


def test_standardised_attributes(tiny_net):
    images = torch.rand(16, 3, 64, 64)
    net = tiny_net.eval()
    with torch.no_grad():
        net.standardise(net(images).attributes)
        std, mean = torch.std_mean(net(images).attributes, dim=0)
    assert torch.allclose(mean, torch.zeros(5), atol=1e-4)
    assert torch.allclose(std, torch.ones(5), atol=1e-3)


def test_the_papers_network():
    with torch.device("meta"):
        net = QualityNet(AttributeNet(Architecture()))
        backbone = timm.create_model("resnet50", num_classes=0)
    heads = 5 * (2048 * 512 + 512 + 512 + 1)
    regressor = 2560 * 512 + 512 + 512 + 1
    parameters = sum(p.numel() for p in net.parameters())
    assert parameters == sum(p.numel() for p in backbone.parameters()) + heads + regressor


def plain_twin(net: AttributeNet) -> Any:
    """Timm's model of a fixed size with the weights of a network's backbone."""
    twin = timm.create_model(net.architecture.backbone, num_classes=0).eval()
    twin.load_state_dict(net.backbone.state_dict())
    return cast(Any, twin)


@pytest.mark.parametrize("size", [(224, 224), (320, 320), (224, 320)])
def test_a_vit_takes_another_size_as_if_made_over_for_it(size):
    name = "vit_tiny_patch16_224"
    net = AttributeNet(Architecture(name, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 8)).eval()
    twin = plain_twin(net)
    twin.set_input_size(img_size=size)
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        found, shared = net.features(images), twin(images)
        expected = torch.stack([hidden(shared) for hidden in net.hidden], dim=1)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.std() > 1e-2


def test_a_swin_takes_another_size():
    name = "swin_tiny_patch4_window7_224"
    net = AttributeNet(Architecture(name, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 8)).eval()
    images = torch.rand(1, 3, 320, 320)
    changed = images.clone()
    changed[..., -8:, -8:] = 0  # in the part that 224 pixels do not reach
    with torch.no_grad():
        assert torch.equal(
            net.backbone(images[..., :224, :224]), plain_twin(net)(images[..., :224, :224])
        )
        assert not torch.allclose(net.features(images), net.features(changed), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        ("test_vit_relpos", 224, "test_vit_relpos: made for 160 x 160 .* 224 x 224: .*"),
        ("test_coatnet", 128, "test_coatnet: made for 160 x 160 .* 128 x 128: .*"),
        ("vit_tiny_patch16_224", 330, ".* 330 x 330: .*divisible by patch size"),
    ],
)
def test_a_size_that_a_backbone_cannot_take_is_named(name, side, message):
    net = AttributeNet(Architecture(name, head_features=8)).eval()
    with pytest.raises(BackboneError, match=message):
        net(torch.rand(1, 3, side, side))


def test_a_network_of_a_single_attribute(tiny):
    net = QualityNet(AttributeNet(replace(tiny, attributes=("quality",))))
    score, attributes = net(torch.rand(3, 3, 64, 64))
    assert score.shape == (3,)
    assert attributes.shape == (3, 1)


def test_dropout_acts_in_training_and_has_no_weights(tiny_net):
    names, images = set(tiny_net.state_dict()), torch.rand(2, 3, 64, 64)
    before = tiny_net.eval()(images).score
    tiny_net.dropout.p = 0.5
    assert torch.equal(tiny_net(images).score, before)
    tiny_net.dropout.train()
    assert not torch.equal(tiny_net(images).score, before)
    assert set(tiny_net.state_dict()) == names


def test_perception_is_the_prediction_and_the_features_that_it_was_made_from():
    torch.manual_seed(0)
    net = QualityNet(AttributeNet(Architecture("mobilenetv2_050", head_features=8))).eval()
    images = torch.rand(2, 3, 64, 64)
    seen, told = net.perceive(images), net(images)
    assert torch.equal(seen.score, told.score)
    assert torch.equal(seen.attributes, told.attributes)
    assert seen.features.shape == (2, 5 * 8)
    assert torch.equal(net.regressor(seen.features).squeeze(1), told.score)
