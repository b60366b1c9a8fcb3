"""Low-rank additions to a tiny transformer: before, during and after fine-tuning."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from lightning_fabric import Fabric
from torch import nn

from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.model.architecture import Architecture
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import load_checkpoint, save_checkpoint
from attiqa.model.lora import add_lora, merge_lora
from attiqa.model.networks import AttributeNet, BackboneError, QualityNet
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.finetuning import finetune
from attiqa.training.loop import _optimizer
from attiqa.training.settings import FinetuneSettings, Schedule

GREY = (0.5, 0.5, 0.5)
VIT = Architecture("test_vit", GREY, GREY, 8, 8, regressor_activation="sigmoid")
SCHEDULE = Schedule(
    epochs=2, batch_size=4, backbone_lr=1e-2, crops=CropSettings(32, (32, 48)), workers=0
)
SETTINGS = FinetuneSettings(SCHEDULE, lora_rank=2, lora_alpha=6.0)
MOS = np.linspace(0.1, 0.9, 8)
LINEAR = 6 * 4  # layers of test_vit: in each of six blocks, two of attention, two of the MLP


@pytest.fixture(scope="module")
def photos(small) -> list[np.ndarray]:
    pixels = (small * 255).byte().permute(0, 2, 3, 1).numpy()
    return [np.ascontiguousarray(view) for p in pixels for view in (p, p // 2)]


def fresh() -> QualityNet:
    torch.manual_seed(0)
    return QualityNet(AttributeNet(VIT))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def tuned(net: QualityNet, photos, state, settings=SETTINGS, teacher=None, **more):
    return finetune(Fabric(accelerator="cpu"), net, photos, MOS, teacher, settings, state, **more)


def copied(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_at_the_start_the_network_computes_what_it_did():
    net, images = fresh().eval(), torch.rand(2, 3, 32, 32)
    before = net(images)
    add_lora(net.attribute_net.backbone, 2, 6.0, draws())
    assert torch.equal(net(images).score, before.score)
    qkv = net.attribute_net.backbone.get_submodule("blocks.0.attn.qkv.parametrizations.weight.0")
    a, b = (qkv.get_parameter(name) for name in "ab")
    assert (a.shape, b.shape) == ((2, 64), (192, 2))
    assert not b.any()
    assert a.std().item() == pytest.approx(1 / 8, rel=0.2)  # 1 / sqrt(64)


def test_merged_weights_are_equation_3():
    net, images = fresh().eval(), torch.rand(2, 3, 32, 32)
    backbone, plain = net.attribute_net.backbone, copied(net.attribute_net.backbone)
    add_lora(backbone, 2, 6.0, draws())
    learning = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, 10.0)
    for _ in range(2):  # in the first step A has no gradient: B is zero
        optimizer.zero_grad()
        backbone(images).square().sum().backward()
        optimizer.step()
    learnt, trained = copied(backbone), backbone(images)
    merge_lora(backbone)
    assert torch.equal(backbone(images), trained)
    merged = backbone.state_dict()
    assert list(merged) == list(plain)  # names, and their order: an optimizer's state depends on it
    changed = 0
    for name, value in merged.items():
        parts = f"{name.removesuffix('.weight')}.parametrizations.weight.0"
        expected = plain[name].numpy()
        if f"{parts}.a" in learnt:
            a, b = (learnt[f"{parts}.{part}"].numpy() for part in "ab")
            assert np.abs(b).max() > 0
            expected = expected + 3.0 * np.einsum("mr,rn->mn", b, a)
            changed += 1
        assert np.allclose(value.numpy(), expected, rtol=0, atol=1e-6), name
    assert changed == LINEAR
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_a_copy_is_merged_without_its_original():
    net, images = fresh().eval(), torch.rand(2, 3, 32, 32)
    backbone = net.attribute_net.backbone
    add_lora(backbone, 2, 6.0, draws())
    twin = copy.deepcopy(backbone)
    merge_lora(twin)
    assert torch.equal(twin(images), backbone(images))
    assert list(twin.state_dict()) != list(backbone.state_dict())


def test_only_the_additions_and_what_is_not_the_backbone_learn(photos, tmp_path):
    net = fresh()
    before = copied(net)
    tuned(net, photos, tmp_path / "state")
    changed = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    blocks = {
        f"attribute_net.backbone.blocks.{block}.{layer}.weight"
        for block in range(6)
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    heads = {n for n in before if n.startswith(("attribute_net.hidden.", "regressor."))}
    assert changed == blocks | heads
    layer = "attribute_net.backbone.blocks.3.attn.qkv"
    learnt = torch.load(tmp_path / "state")["net"]
    a, b = (learnt[f"{layer}.parametrizations.weight.0.{part}"].numpy() for part in "ab")
    expected = before[f"{layer}.weight"].numpy() + 6.0 / 2 * (b @ a)
    assert np.allclose(net.state_dict()[f"{layer}.weight"].numpy(), expected, rtol=0, atol=1e-6)
    assert len(a) == 2


def test_the_number_of_trained_parameters():
    backbone = fresh().attribute_net.backbone
    add_lora(backbone, 2, 6.0, draws())
    trained = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    sides = (64 + 192) + (64 + 64) + (64 + 192) + (192 + 64)  # qkv, proj, fc1, fc2
    assert trained == 6 * 2 * sides


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_maxvit"])
def test_additions_have_the_rate_of_their_layer(name):
    """With a decay from layer to layer, and so without: that is a decay of 1."""
    schedule = replace(SCHEDULE, layer_decay=0.5)

    def rates(net: nn.Module) -> dict[str, float]:
        groups = _optimizer(Fabric(accelerator="cpu").setup(net), schedule).param_groups
        found = {parameter: group["lr"] for group in groups for parameter in group["params"]}
        return {name: found[p] for name, p in net.named_parameters() if p in found}

    net = AttributeNet(replace(VIT, backbone=name))
    plain = rates(net)
    add_lora(net.backbone, 2, 6.0, draws())
    adapted = rates(net)
    additions = [name for name in adapted if name.endswith((".0.a", ".0.b"))]
    assert len({adapted[name] for name in additions}) > 1
    for name in additions:
        assert adapted[name] == plain[name.replace("parametrizations.", "")[:-4]]


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_loaded_checkpoint_predicts_as_the_trained_network(photos, tmp_path, ema_decay):
    net, images, seen = fresh(), torch.rand(2, 3, 32, 32), []

    def evaluate(net: nn.Module, epoch: int) -> dict[str, float]:
        seen.append(net)
        return {"score": net(images).score.mean().item()}

    settings = replace(SETTINGS, schedule=replace(SCHEDULE, ema_decay=ema_decay))
    scale = (-1.0, 3.0)
    history = tuned(net, photos, tmp_path / "state", settings, evaluate=evaluate, scale=scale)
    card = Card(
        "tuned", "QualityNet", VIT, CropProtocol(48, 32), Scale(*scale, ""), "", {}, {}, {}, {}, ""
    )
    loaded, _ = load_checkpoint(save_checkpoint(tmp_path, net, card))
    score = loaded.eval()(images).score
    assert torch.equal(score, net.eval()(images).score)
    assert score.mean().item() == history[-1]["score"]
    assert torch.equal(seen[-1](images).score, score)  # what an evaluation kept stays usable
    assert list(seen[-1].state_dict()) == list(loaded.state_dict())


def test_a_run_that_stops_continues_as_if_it_had_not(photos, tmp_path, interrupted_teacher):
    schedule = replace(SCHEDULE, ema_decay=0.9, checkpoint_steps=1)
    settings = replace(SETTINGS, schedule=schedule, attribute_weight=0.1)
    whole, resumed = fresh(), fresh()
    history = tuned(whole, photos, tmp_path / "whole", settings, MeasuredTeacher())
    with pytest.raises(KeyboardInterrupt):
        tuned(fresh(), photos, tmp_path / "part", settings, interrupted_teacher(4))
    torch.manual_seed(5)  # whatever was drawn in between
    assert tuned(resumed, photos, tmp_path / "part", settings, MeasuredTeacher()) == history
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_convolutional_backbone_is_refused(tiny, photos, tmp_path):
    net = QualityNet(AttributeNet(tiny))
    with pytest.raises(BackboneError, match="test_efficientnet: lora_rank 2 needs linear layers"):
        tuned(net, photos, tmp_path / "state")
    assert all(parameter.requires_grad for parameter in net.attribute_net.backbone.parameters())


def test_a_siglip_tower_learns_in_its_pooling_too():
    with torch.device("meta"):
        backbone = timm.create_model("vit_base_patch32_siglip_256", num_classes=0)
    add_lora(backbone, 2, 6.0, draws())
    learning = [name for name, p in backbone.named_parameters() if p.requires_grad]
    assert all(name.endswith((".0.a", ".0.b")) for name in learning)
    assert len(learning) == 2 * (12 * 4 + 5)  # blocks; q, kv, proj and the MLP of the pooling
    assert sum(name.startswith("attn_pool.") for name in learning) == 2 * 5
