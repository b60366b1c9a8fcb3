import json
import math
from collections.abc import Callable
from typing import cast

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from attiqa.attributes import ATTRIBUTES, PROMPTS
from attiqa.distortions import LADDERS, distort
from attiqa.measurements import colorfulness, lightness, noise_deviation
from attiqa.teachers import AttributeTeacher, ClipTeacher, MeasuredTeacher, antonym_score

by_name = {ladder.name: ladder for ladder in LADDERS}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> ClipTeacher:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    path = tmp_path_factory.mktemp("clip") / "tiny-clip.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    return ClipTeacher("tiny-clip", pretrained=None)


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


def test_both_teachers_fit_the_protocol(clip, clean):
    teachers: list[AttributeTeacher] = [clip, MeasuredTeacher()]
    for teacher in teachers:
        assert teacher.name
        assert teacher(clean).shape == (4, 5)
        assert not teacher(clean.clone().requires_grad_()).requires_grad


@pytest.mark.parametrize(
    ("attribute", "ladder", "sign"),
    [
        ("sharpness", "blur", -1),
        ("contrast", "contrast", 1),
        ("brightness", "exposure", 1),
        ("brightness", "gamma", 1),
        ("colorfulness", "saturation", 1),
        ("noisiness", "noise", -1),
    ],
)
def test_measurements_follow_their_ladder(attribute, ladder, sign, clean):
    teacher, column = MeasuredTeacher(), ATTRIBUTES.index(attribute)
    levels = by_name[ladder].levels
    labels = [teacher(distort(clean, by_name[ladder], v))[:, column] for v in levels]
    steps = sign * torch.stack(labels).diff(dim=0)
    assert (steps > 0).all(), steps


def test_noise_does_not_pass_for_sharpness(clean):
    teacher = MeasuredTeacher()
    sharp = teacher(clean)[:, 0]
    blurred = distort(clean, by_name["blur"], 1.4)
    noisy_and_blurred = teacher(distort(blurred, by_name["noise"], 0.025))[:, 0]
    assert (noisy_and_blurred < sharp).all()
    assert torch.allclose(noisy_and_blurred, teacher(blurred)[:, 0], atol=0.02)


def test_lightness_against_scikit_image(clean):
    expected = rgb2lab(clean.permute(0, 2, 3, 1).numpy())[..., 0] / 100
    assert lightness(clean)[:, 0].numpy() == pytest.approx(expected, abs=1e-3)


def test_noise_deviation_finds_the_deviation():
    ramp = torch.linspace(0.3, 0.7, 256).expand(1, 1, 256, 256)
    noise = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    assert noise_deviation(ramp + 0.02 * noise).item() == pytest.approx(0.02, rel=0.15)
    assert noise_deviation(ramp).item() == pytest.approx(0.1 / 255, rel=0.01)
    assert noise_deviation(torch.ones(1, 1, 64, 64)).item() == pytest.approx(0.1 / 255)


def test_colorfulness_by_hand():
    # red and blue halves: rg = 1 | 0, yb = .5 | -1; deviations .5 and .75, means .5 and -.25
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0, :, 0] = 1
    image[0, 2, :, 1] = 1
    expected = math.hypot(0.5, 0.75) + 0.3 * math.hypot(0.5, 0.25)
    assert colorfulness(image).item() == pytest.approx(expected, rel=1e-5)
