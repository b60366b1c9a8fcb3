"""ImageNet weights under other names than timm's."""

from collections import OrderedDict

import pytest
import timm
import torch
from safetensors.torch import load_file

from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_backbone
from attiqa.model.networks import AttributeNet
from experiments.iqa import imagenet_weights

BACKBONE = "test_efficientnet"


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.create_model(BACKBONE, pretrained=False).eval()


def test_a_renamed_file_becomes_the_backbone(network, tmp_path):
    state = OrderedDict((f"_layer{n}", v) for n, v in enumerate(network.state_dict().values()))
    torch.save(state, tmp_path / "lite.pth")
    out = tmp_path / "lite.safetensors"
    imagenet_weights.main(imagenet_weights.Settings(tmp_path / "lite.pth", out, BACKBONE))
    assert not any(name.startswith("classifier") for name in load_file(out))
    net = AttributeNet(Architecture(BACKBONE)).eval()
    load_backbone(net, out)
    images = torch.rand(2, 3, 64, 64)
    wanted = network.forward_head(network.forward_features(images), pre_logits=True)
    assert torch.equal(net.backbone(images), wanted)


def test_weights_of_another_network_are_refused(network, tmp_path):
    state = network.state_dict()
    with pytest.raises(ValueError, match=r"conv_stem.weight: .*, conv_stem.weight is"):
        imagenet_weights.convert(state | {"conv_stem.weight": torch.zeros(1)}, BACKBONE)
    del state["conv_stem.weight"]
    with pytest.raises(ValueError, match=f"tensors, {BACKBONE} has"):
        imagenet_weights.convert(state, BACKBONE)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save(print, tmp_path / "evil.pth")
    settings = imagenet_weights.Settings(tmp_path / "evil.pth", tmp_path / "out", BACKBONE)
    with pytest.raises(SystemExit, match=r"evil\.pth: not a file of tensors"):
        imagenet_weights.main(settings)
    assert not settings.out.exists()
