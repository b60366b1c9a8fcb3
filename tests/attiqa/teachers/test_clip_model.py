"""CLIP models: loaded from anywhere, at any size of pictures."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_model
from torchvision.transforms.functional import InterpolationMode, resize

import attiqa.teachers.clip_model
from attiqa.errors import TeacherError
from attiqa.teachers.clip_model import load_tokenizer, resize_positions
from attiqa.teachers.teacher import ClipTeacher
from tests.attiqa.teachers.towers import TINY, TOWERS


def test_positions_are_resized_as_a_picture_by_pillow():
    positions = torch.randn(1 + 4 * 4, 3, generator=torch.Generator().manual_seed(0))
    found = resize_positions(positions, 4, (5, 7))
    assert torch.equal(found[0], positions[0])
    for channel in range(3):
        picture = Image.fromarray(positions[1:, channel].reshape(4, 4).numpy())
        expected = np.asarray(picture.resize((7, 5), Image.Resampling.BICUBIC))
        assert found[1:, channel].reshape(5, 7).numpy() == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(resize_positions(positions, 4, (4, 4)), positions, atol=1e-6)
    without_class = resize_positions(positions[None, 1:], 4, (5, 7))
    assert torch.equal(without_class[0], found[1:])


def built_for(name: str, side: int, folder: Path) -> torch.nn.Module:
    """The same weights in a model of another size, resized by open_clip or timm."""
    source = ClipTeacher(name, None).model
    if name == "tiny-timm":
        cast(Any, source.visual).trunk.set_input_size((side, side))
        return source
    path = str(folder / "weights.safetensors")
    save_model(source, path)
    return open_clip.create_model(name, path, force_image_size=side).eval()


@pytest.mark.parametrize(
    ("name", "fixed"), [("tiny-clip", False), ("tiny-timm", False), ("tiny-timm", True)]
)
def test_another_side_is_what_a_model_built_for_it_computes(name, fixed, clean, tmp_path):
    teacher, native = ClipTeacher(name, None, side=96), ClipTeacher(name, None)
    if fixed:  # as SigLIP's towers are, which do not resize their positions themselves
        trunk = timm.create_model(
            "test_vit", num_classes=0, global_pool="map", dynamic_img_size=False
        )
        trunk.load_state_dict(cast(Any, teacher.model.visual).trunk.state_dict())
        cast(Any, teacher.model.visual).trunk = trunk.eval()
    before = {key: value.clone() for key, value in teacher.model.state_dict().items()}
    reference = cast(open_clip.CLIP, built_for(name, 96, tmp_path))
    view = resize(clean, [96], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(teacher.encoder[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = F.normalize(reference.encode_image((view - mean) / std), dim=-1)
    assert torch.allclose(teacher.encode_images(clean), expected, atol=1e-5)
    assert not torch.allclose(native.encode_images(clean), expected, atol=1e-3)
    assert all(torch.equal(before[key], value) for key, value in teacher.model.state_dict().items())


def test_another_side_of_a_resnet(clean):
    teacher = ClipTeacher("tiny-resnet", None, side=96)
    pool = cast(Any, teacher.model.visual).attnpool
    first, rest = pool.positional_embedding[:1], pool.positional_embedding[1:2]
    with torch.no_grad():  # equal everywhere: a grid of any size keeps the value
        pool.positional_embedding.copy_(torch.cat([first, rest.expand(4, -1)]))
    found = teacher.encode_images(clean)
    pool.positional_embedding = torch.nn.Parameter(torch.cat([first, rest.expand(9, -1)]))
    view = resize(clean, [96], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(teacher.encoder[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = F.normalize(teacher.model.encode_image((view - mean) / std), dim=-1)
    assert torch.allclose(found, expected, atol=1e-6)


def features_of(model: Any, teacher: ClipTeacher, images: torch.Tensor, side: int) -> torch.Tensor:
    """Features of square photographs by another model with the teacher's preprocessing."""
    view = resize(images, [side], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(teacher.encoder[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        return F.normalize(model.encode_image((view - mean) / std), dim=-1)


@pytest.mark.parametrize("name", TOWERS)
def test_any_tower_of_timm_computes_at_its_own_side(name, clean):
    teacher = ClipTeacher(name, None)
    side = TOWERS[name][1]
    assert teacher.side == side
    expected = features_of(teacher.model, teacher, clean, side)
    assert torch.allclose(teacher.encode_images(clean), expected, atol=1e-6)


def test_another_side_of_convolutions(clean):
    teacher = ClipTeacher("convnext", None, side=96)
    found = teacher.encode_images(clean)
    assert torch.allclose(found, features_of(teacher.model, teacher, clean, 96), atol=1e-6)
    whole = ClipTeacher("convnext", None, view="whole")
    oblong = clean[:, :, :160, :200]  # 6.25 steps of 32 pixels wide
    enlarged = resize(oblong, [160, 192], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    assert torch.allclose(whole(oblong), whole(enlarged), atol=1e-6)
    with pytest.raises(TeacherError, match="multiple of the patch, 32; got 100"):
        ClipTeacher("convnext", None, side=100)


def test_another_side_behind_a_convolutional_stem(clean):
    teacher = ClipTeacher("hybrid", None, side=160)
    reference = ClipTeacher("hybrid", None).model
    cast(Any, reference.visual).trunk.set_input_size((160, 160))
    expected = features_of(reference, teacher, clean, 160)
    assert torch.allclose(teacher.encode_images(clean), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "other"), [("windows", 96), ("rotary", 112), ("relative", 112)])
def test_another_side_of_a_tower_that_has_one_size_is_refused(name, other):
    side = TOWERS[name][1]
    with pytest.raises(TeacherError, match=f"only at its own, {side} x {side}; at {other} x "):
        ClipTeacher(name, None, side=other)
    with pytest.raises(TeacherError, match=f"only at its own, {side} x {side}; at {side} x "):
        ClipTeacher(name, None, view="whole")


def test_a_model_of_the_hub_brings_its_weights_and_normalisation(
    clip, clean, weights, tmp_path, monkeypatch
):
    shown = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    config = tmp_path / "open_clip_config.json"
    config.write_text(json.dumps({"model_cfg": TINY["tiny-clip"], "preprocess_cfg": shown}))
    asked = set()
    monkeypatch.setattr(attiqa.teachers.clip_model, "why_unreachable", lambda: "")

    def fetched(repository, filename=None, **options):
        asked.add(repository)
        return str(config if filename == config.name else weights)

    for module in (attiqa.teachers.clip_model, open_clip.factory):
        monkeypatch.setattr(module, "download_pretrained_from_hf", fetched)
    teacher = ClipTeacher("hf-hub:someone/tiny")
    assert asked == {"someone/tiny"}
    assert teacher.name == "CLIP hf-hub:someone/tiny"
    description = teacher.describe()
    assert description["weights"] == f"sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}"
    assert description["quick_gelu"]
    assert (description["mean"], description["std"]) == (shown["mean"], shown["std"])
    # the same weights see the picture that this normalisation makes of it
    mean, std = (torch.tensor(shown[key])[:, None, None] for key in ("mean", "std"))
    view = resize(clean, [64], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    with torch.no_grad():
        expected = F.normalize(clip.model.encode_image((view - mean) / std), dim=-1)
    assert torch.allclose(teacher.encode_images(clean), expected, atol=1e-6)


def test_a_model_of_the_hub_that_cannot_be_had_is_named(monkeypatch):
    def fetched(*args, **options):
        raise FileNotFoundError("no connection")

    monkeypatch.setattr(attiqa.teachers.clip_model, "why_unreachable", lambda: "")
    for module in (attiqa.teachers.clip_model, open_clip.factory):
        monkeypatch.setattr(module, "download_pretrained_from_hf", fetched)
    with pytest.raises(TeacherError, match=r"hf-hub:someone/none: .*no connection"):
        ClipTeacher("hf-hub:someone/none")


def test_siglip_brings_its_own_normalisation_and_context(clean, monkeypatch):
    published = {"webli": {"mean": (0.5,) * 3, "std": (0.25,) * 3}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-timm", published)
    teacher = ClipTeacher("tiny-timm", None)
    assert teacher.encoder["mean"] == [0.5] * 3
    assert teacher.encoder["std"] == [0.25] * 3
    assert teacher.tokenizer(["Sunny image"]).shape == (1, 64)
    view = resize(clean, [160], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    with torch.no_grad():
        expected = F.normalize(teacher.model.encode_image((view - 0.5) / 0.25), dim=-1)
    assert torch.allclose(teacher.encode_images(clean), expected, atol=1e-6)


def test_siglips_tokenizer_needs_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TeacherError, match="transformers"):
        load_tokenizer("ViT-B-16-SigLIP")


def test_weights_from_a_file(clip, weights, clean):
    teacher = ClipTeacher("tiny-clip", weights, seed=1)
    assert torch.equal(teacher(clean), clip(clean))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert teacher.describe()["weights"] == f"sha256 {digest}"


def test_random_weights_follow_their_seed_alone(clip, clean):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again, other = ClipTeacher("tiny-clip", None), ClipTeacher("tiny-clip", None, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again(clean), clip(clean))
    assert not torch.allclose(other(clean), clip(clean), atol=1e-3)


@pytest.mark.parametrize("architecture", ["ViT-B-16", "RN50"])
def test_openais_weights_without_quickgelu_are_refused(architecture):
    with pytest.raises(TeacherError, match=f"{architecture}-quickgelu"):
        ClipTeacher(architecture, "openai")
