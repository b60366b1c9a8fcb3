import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import CheckpointError
from attiqa.model.cards import Card, Scale, read_card
from attiqa.model.checkpoints import load_backbone, load_checkpoint, save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet


@pytest.fixture
def card(tiny) -> Card:
    return Card(
        name="tiny",
        kind="QualityNet",
        architecture=tiny,
        protocol=CropProtocol(64, 48),
        scale=Scale(0.0, 1.0, "nobody's opinion"),
        teacher="none",
        training={"data": "none"},
        settings={"seed": 0},
        metrics={"test": {"srocc": 0.5}},
        versions={"torch": torch.__version__},
        limits="a test",
    )


@pytest.fixture
def saved(tmp_path, tiny_net, card):
    return save_checkpoint(tmp_path, tiny_net, card)


def test_round_trip(saved, tiny_net, card):
    net, read = load_checkpoint(saved)
    assert replace(read, sha256="") == card
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(net.eval()(images).score, tiny_net.eval()(images).score)
    assert [path.suffix for path in sorted(saved.parent.iterdir())] == [".json", ".safetensors"]


def test_the_regressors_activation_is_on_the_card(tmp_path, tiny, card):
    architecture = replace(tiny, regressor_activation="sigmoid")
    net = QualityNet(AttributeNet(architecture)).eval()
    path = save_checkpoint(tmp_path, net, replace(card, architecture=architecture))
    read, _ = load_checkpoint(path)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(read.eval()(images).score, net(images).score)
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(text.replace('"sigmoid"', '"tanh"'))
    with pytest.raises(CheckpointError, match=r"tiny\.json: .*regressor_activation"):
        load_checkpoint(path)


def test_a_card_from_before_activations_could_be_chosen(saved, tiny_net):
    path = saved.with_suffix(".json")
    fields = json.loads(path.read_text())
    del fields["architecture"]["regressor_activation"]
    path.write_text(json.dumps(fields))
    net, _ = load_checkpoint(saved)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(net.eval()(images).score, tiny_net.eval()(images).score)


def test_further_scales_are_on_the_card_and_old_cards_have_none(tmp_path, tiny_net, card):
    protocol = CropProtocol(64, 48, further=(96, 0))
    path = save_checkpoint(tmp_path, tiny_net, replace(card, protocol=protocol))
    assert read_card(path.with_suffix(".json")).protocol == protocol
    written = json.loads(path.with_suffix(".json").read_text())
    assert written["protocol"].pop("further") == [96, 0]
    path.with_suffix(".json").write_text(json.dumps(written))
    assert read_card(path.with_suffix(".json")).protocol == CropProtocol(64, 48)
    written["protocol"]["further"] = [96, 47]
    path.with_suffix(".json").write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=r"tiny\.json: .*further.*48; found \(96, 47\)"):
        read_card(path.with_suffix(".json"))


def test_scales_that_are_smaller_than_the_crop_are_refused():
    assert CropProtocol(48, 48, further=(0, 48)).short_sides == (48, 0, 48)
    for further in ((47,), (0, 1), (-1,)):
        with pytest.raises(ValueError, match="further: expected 0 or at least the crop's 48"):
            CropProtocol(64, 48, further)
    with pytest.raises(ValueError, match="short_side: expected at least the crop's 48; found 47"):
        CropProtocol(47, 48)


def test_half_precision_is_stored_and_float32_is_loaded(tmp_path, tiny_net, card):
    path = save_checkpoint(tmp_path, tiny_net, card, torch.float16)
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    net, _ = load_checkpoint(path)
    assert {value.dtype for value in net.parameters()} == {torch.float32}


def test_a_pretrained_network(tmp_path, tiny, card):
    net = AttributeNet(tiny)
    path = save_checkpoint(tmp_path, net, replace(card, kind="AttributeNet", scale=None))
    read, read_card = load_checkpoint(path)
    assert isinstance(read, AttributeNet)
    assert read_card.scale is None


def test_missing_files_are_named(saved):
    with pytest.raises(CheckpointError, match=r"none\.json"):
        load_checkpoint(saved.parent / "none.safetensors")
    saved.unlink()
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors"):
        load_checkpoint(saved)


def test_changed_weights_do_not_pass(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(saved)


def test_a_card_for_another_architecture_names_the_weight(saved):
    path = saved.with_suffix(".json")
    card = json.loads(path.read_text())
    card["architecture"]["head_features"] = 9
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors: attribute_net\.hidden\.0"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    "change", [lambda c: c.pop("protocol"), lambda c: c.update(extra=1), lambda c: c.clear()]
)
def test_broken_cards_are_named(saved, change):
    path = saved.with_suffix(".json")
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"tiny\.json"):
        load_checkpoint(saved)


def test_other_attributes_do_not_pass(saved):
    path = saved.with_suffix(".json")
    path.write_text(path.read_text().replace('"brightness"', '"beauty"', 1))
    with pytest.raises(CheckpointError, match="attributes"):
        load_checkpoint(saved)


def test_an_interrupted_write_leaves_the_old_file(saved, tiny_net, card, monkeypatch):
    before = saved.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(saved.parent, tiny_net, replace(card, limits="new"), torch.float16)
    assert saved.read_bytes() == before
    load_checkpoint(saved)


def test_load_backbone(tmp_path, tiny):
    source, net = AttributeNet(tiny), AttributeNet(tiny)
    state = {k: v for k, v in source.backbone.state_dict().items() if "num_batches" not in k}
    save_file(state, tmp_path / "backbone.safetensors")
    load_backbone(net, tmp_path / "backbone.safetensors")
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(net.eval().backbone(images), source.eval().backbone(images))

    name = next(iter(state))
    save_file({name: state[name]}, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match=r"part\.safetensors"):
        load_backbone(net, tmp_path / "part.safetensors")
    (tmp_path / "text.safetensors").write_text("weights")
    with pytest.raises(CheckpointError, match=r"text\.safetensors"):
        load_backbone(net, tmp_path / "text.safetensors")
