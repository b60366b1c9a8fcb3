import gzip
import hashlib
import json
import math
import sys
from collections.abc import Callable
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
from attiqa.attributes import ATTRIBUTES, CANDIDATES, PROMPTS, QUALITY_PROMPT, PromptPair
from attiqa.errors import CheckpointError, TeacherError
from attiqa.teachers.clip_model import load_tokenizer, resize_positions
from attiqa.teachers.teacher import AttributeTeacher, ClipTeacher, MeasuredTeacher, antonym_score

TEXT = {"vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
TINY = {
    "tiny-clip": {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": TEXT | {"context_length": 77},
    },
    "tiny-resnet": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        "text_cfg": TEXT | {"context_length": 77},
    },
    "tiny-timm": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": TEXT | {"context_length": 64, "no_causal_mask": True, "pool_type": "last"},
    },
}


TOWERS = {
    "convnext": ("test_convnext", 160),
    "hybrid": ("vit_tiny_r_s16_p8_224", 224),
    "windows": ("swin_tiny_patch4_window7_224", 224),
    "rotary": ("eva02_tiny_patch14_224", 224),
    "relative": ("test_vit_relpos", 160),
}
"""Image towers of timm that are no plain ViT, and their sides."""
TINY |= {
    name: {
        "embed_dim": 16,
        "vision_cfg": {"image_size": side, "timm_model_name": tower, "timm_proj": "linear"},
        "text_cfg": TEXT | {"context_length": 77},
    }
    for name, (tower, side) in TOWERS.items()
}


@pytest.fixture(scope="module", autouse=True)
def configs(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("clip")
    for name, config in TINY.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def clip(configs) -> ClipTeacher:
    return ClipTeacher("tiny-clip", pretrained=None)


@pytest.fixture(scope="module")
def weights(clip, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(clip.model, path)
    return path


def test_the_prompts_are_those_of_table_1():
    assert ATTRIBUTES == ("sharpness", "contrast", "brightness", "colorfulness", "noisiness")
    assert [tuple(pair) for pair in PROMPTS.values()] == [
        ("Splendid image", "Blurry image"),
        ("Distinct image", "Vague image"),
        ("Sunny image", "Darkened image"),
        ("Vibrant image", "Colorless image"),
        ("Peerless image", "Grainy image"),
    ]


def test_equation_2_by_hand():
    positive, negative = torch.tensor([0.26]), torch.tensor([0.24])
    # exp(.26) / (exp(.26) + exp(.24)) and the same of 26 and 24
    assert antonym_score(positive, negative, 1.0).item() == pytest.approx(0.5049998, abs=1e-6)
    assert antonym_score(positive, negative).item() == pytest.approx(0.8807971, abs=1e-5)


def test_clip_similarities_are_equation_1_on_open_clips_own_features(clip, photo):
    transform = cast(Callable, open_clip.image_transform(64, is_train=False))
    view = transform(Image.fromarray(photo))
    tokens = open_clip.get_tokenizer("tiny-clip")(["Sunny image", "Darkened image"])
    with torch.no_grad():
        x = clip.model.encode_image(view[None])[0].double().numpy()
        text = clip.model.encode_text(tokens).double().numpy()
    expected = [x @ t / math.sqrt((x @ x) * (t @ t)) for t in text]
    tensor = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    found = clip.similarities(tensor)[0, ATTRIBUTES.index("brightness")]
    assert found.numpy() == pytest.approx(np.array(expected), abs=2e-3)


def test_clip_labels_are_differences_that_rank_as_equation_2(clip, clean):
    labels, scores = clip(clean), clip.scores(clean)
    assert labels.dtype == torch.float32
    assert scores == pytest.approx(1 / (1 + np.exp(-100 * labels.numpy())), abs=1e-4)
    assert torch.equal(labels.argsort(0), clip.scores(clean, logit_scale=1.0).argsort(0))


def test_prompts_are_the_tokens_of_clips_vocabulary(clip):
    # the vocabulary has 256 bytes, 256 bytes that end a word, then one token per line of merges
    file = Path(cast(str, open_clip.tokenizer.default_bpe()))
    merges = gzip.decompress(file.read_bytes()).decode().split("\n")[1:]
    for prompt in [prompt for pair in PROMPTS.values() for prompt in pair]:
        start, *word, image, end = [
            token for token in clip.tokenizer([prompt])[0].tolist() if token
        ]
        text = "".join(merges[token - 512].replace(" ", "") for token in word)
        assert text == prompt.split()[0].lower() + "</w>"
        assert (start, image, end) == (49406, 2867, 49407)  # as in OpenAI's release


def test_text_is_encoded_once(clip, clean, monkeypatch):
    monkeypatch.setattr(clip.model, "encode_text", None)
    assert clip(clean).shape == (4, 5)


def test_other_prompts_have_their_own_columns(clip, clean):
    swapped = {
        "dullness": PromptPair(*reversed(PROMPTS["colorfulness"])),
        "brightness": PROMPTS["brightness"],
    }
    teacher = ClipTeacher("tiny-clip", None, prompts=swapped)
    expected = clip(clean)[:, [3, 2]] * torch.tensor([-1.0, 1.0])
    assert torch.allclose(teacher(clean), expected, atol=1e-7)
    assert teacher.describe()["prompts"]["dullness"] == ["Colorless image", "Vibrant image"]
    assert ClipTeacher("tiny-clip", None, prompts=QUALITY_PROMPT)(clean).shape == (4, 1)


def test_candidates_are_fifty_different_antonyms_with_table_1_among_them():
    assert tuple(CANDIDATES) == ATTRIBUTES
    for attribute, (positive, negative) in CANDIDATES.items():
        assert len(positive) == len(negative) == 50
        assert len({prompt.lower() for prompt in positive + negative}) == 100
        assert all(prompt.count(" ") == 1 and prompt.endswith(" image") for prompt in positive)
        assert PROMPTS[attribute].positive in positive
        assert PROMPTS[attribute].negative in negative


def test_five_native_crops_average_their_labels(clip, clean):
    teacher = ClipTeacher("tiny-clip", None, view="native5")
    photo = clean[:2, :, :100, :150]
    corners = [(0, 0), (0, 86), (36, 0), (36, 86), (18, 43)]
    crops = [photo[:, :, y : y + 64, x : x + 64] for y, x in corners]
    expected = torch.stack([clip(crop) for crop in crops]).mean(0)
    assert torch.allclose(teacher(photo), expected, atol=1e-6)


@pytest.mark.parametrize("view", ["center", "native5", "whole"])
def test_small_photographs_are_enlarged_to_one_square(view, clip, clean):
    small = clean[:, :, :20, :20]
    enlarged = resize(small, [64, 64], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    found = ClipTeacher("tiny-clip", None, view=view)(small)
    assert torch.allclose(found, clip(enlarged), atol=1e-6)


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

    for module in (attiqa.teachers.clip_model, open_clip.factory):
        monkeypatch.setattr(module, "download_pretrained_from_hf", fetched)
    with pytest.raises(TeacherError, match=r"hf-hub:someone/none: .*no connection"):
        ClipTeacher("hf-hub:someone/none")


def test_whole_photographs_keep_their_proportions(clip, clean):
    whole = ClipTeacher("tiny-clip", None, view="whole")
    assert torch.equal(whole(clean), clip(clean))  # square: the native view
    oblong = clean[:, :, :64, :120]
    assert torch.allclose(
        whole(oblong),
        whole(resize(oblong, [64, 128], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)),
        atol=1e-6,
    )
    changed = oblong.clone()
    changed[..., 110:] = 0
    assert torch.equal(clip(changed), clip(oblong))
    assert not torch.allclose(whole(changed), whole(oblong), atol=1e-4)


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


def test_what_cannot_be_a_teacher_is_said(weights, tmp_path):
    with pytest.raises(TeacherError, match="no-such-model"):
        ClipTeacher("no-such-model", None)
    with pytest.raises(TeacherError, match="no-such-tag"):
        ClipTeacher("ViT-B-16-quickgelu", "no-such-tag")
    with pytest.raises(TeacherError, match="multiple of the patch, 16; got 100"):
        ClipTeacher("tiny-clip", None, side=100)
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors"):
        ClipTeacher("tiny-resnet", weights)
    (broken := tmp_path / "broken.pt").write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"broken\.pt"):
        ClipTeacher("tiny-clip", broken)


def test_the_description_holds_all_that_a_label_depends_on(clip):
    description = json.loads(json.dumps(clip.describe()))
    assert description == {
        "teacher": "CLIP tiny-clip/None",
        "architecture": "tiny-clip",
        "quick_gelu": True,
        "weights": "random, seed 0",
        "mean": [0.48145466, 0.4578275, 0.40821073],  # of OpenAI's release
        "std": [0.26862954, 0.26130258, 0.27577711],
        "open_clip": open_clip.__version__,
        "view": "center",
        "side": 64,
        "resize": "bicubic",
        "prompts": {name: list(pair) for name, pair in PROMPTS.items()},
        "logit_scale": 100.0,
    }


def test_both_teachers_fit_the_protocol(clip, clean):
    teachers: list[AttributeTeacher] = [clip, MeasuredTeacher()]
    for teacher in teachers:
        assert teacher.name
        assert teacher(clean).shape == (4, 5)
        assert not teacher(clean.clone().requires_grad_()).requires_grad
