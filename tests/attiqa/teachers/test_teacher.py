"""Teachers: Equations 1 and 2, prompts, views and descriptions."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from scipy.special import boxcox
from torchvision.transforms.functional import InterpolationMode, resize

from attiqa.attributes import ATTRIBUTES, CANDIDATES, PROMPTS, QUALITY_PROMPT, PromptPair
from attiqa.errors import CheckpointError, TeacherError
from attiqa.teachers.teacher import (
    AttributeTeacher,
    ClipTeacher,
    MeasuredTeacher,
    antonym_score,
    normalised_magnitude,
)


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


def test_the_magnitude_of_a_feature_against_scipy(clip, clean):
    teacher = ClipTeacher("tiny-clip", None, view="native5", magnitude=True)
    with torch.no_grad():
        labels = teacher(clean)
    assert teacher.attributes == (*ATTRIBUTES, "magnitude")
    assert teacher.describe()["magnitude"]
    plain = ClipTeacher("tiny-clip", None, view="native5")
    assert torch.equal(labels[:, :5], plain(clean))
    assert "magnitude" not in plain.describe()
    transform = cast(Callable, open_clip.image_transform(64, is_train=False))
    for label, image in zip(labels[:, 5], clean, strict=True):
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        corners = [(0, 0), (0, 160), (160, 0), (160, 160), (80, 80)]  # of 224 pixels
        views = [Image.fromarray(pixels[y : y + 64, x : x + 64]) for y, x in corners]
        features = clip.model.encode_image(torch.stack([transform(view) for view in views]))
        x = features.abs().double().numpy()
        x /= x.std(axis=1, ddof=1, keepdims=True)
        expected = np.mean([boxcox(row + 1, 0.5).mean() for row in x])
        assert label.item() == pytest.approx(expected, abs=2e-3)
    assert labels[:, 5].std() > 4e-3  # more than the tolerance: it tells photographs apart


def test_evenly_shared_magnitudes_are_higher_whatever_the_length():
    peaked = torch.tensor([9.0, 0.1, -0.1, 0.2])
    even = torch.tensor([1.0, -2.0, 2.0, -1.0])
    low, high = normalised_magnitude(torch.stack([peaked, even])).tolist()
    assert low < high
    assert normalised_magnitude(100 * even).item() == pytest.approx(high, rel=1e-4)
    with pytest.raises(TeacherError, match="prompts: expected none of 'magnitude'"):
        ClipTeacher("tiny-clip", None, prompts={"magnitude": PROMPTS["contrast"]}, magnitude=True)


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
