"""Tiny CLIP models."""

import json
from pathlib import Path

import open_clip
import pytest
from safetensors.torch import save_model

from attiqa.teachers.teacher import ClipTeacher
from tests.attiqa.teachers.towers import TINY


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
