"""Prompts for the ablations: one pair for quality, worst and median pairs, pairs of one's own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import tyro
from PIL import Image

from attiqa.attributes import ATTRIBUTES
from attiqa.cli import label, pretrain
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.cli.settings.machine import Machine
from attiqa.cli.settings.prompting import Prompting
from attiqa.data.crop_protocol import CropSettings
from attiqa.data.photo_folder import read_photo
from attiqa.errors import CheckpointError, LabelStoreError
from attiqa.labels.store import read_labels
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_checkpoint
from attiqa.teachers.teacher import ClipTeacher
from attiqa.training.settings import PretrainSettings, Schedule


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory) -> str:
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    path = tmp_path_factory.mktemp("clip") / "tiny-clip-prompting.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture
def photos(tmp_path, small) -> Path:
    (tmp_path / "photos").mkdir()
    for index in range(8):
        pixels = (small[index % 4] * (0.5 + 0.06 * index) * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def selection(tmp_path) -> Path:
    def pairs(task: str) -> dict:
        return {
            place: {"positive": f"{place} image", "negative": f"not {place} by {task} image"}
            for place in ("best", "median", "worst")
        }

    selected = {task: pairs(task) for task in ("sum", "distortion")}
    path = tmp_path / "prompts.json"
    content = {"attributes": {name: {"selected": selected} for name in ATTRIBUTES}}
    path.write_text(json.dumps(content))
    return path


def label_with(photos: Path, store: Path, tiny_clip: str, *arguments: str) -> None:
    command = [str(photos), "--out", str(store), "--clip", tiny_clip]
    command += ["--clip-weights", "None", "--loading.workers", "0", *arguments]
    label.main(tyro.cli(label.Settings, args=command))


def test_labels_and_pretraining_with_a_single_pair_for_quality(photos, tiny, tiny_clip, tmp_path):
    store, out = tmp_path / "labels", tmp_path / "out"
    label_with(photos, store, tiny_clip, "--prompts", "quality")
    found = read_labels(store)
    assert (found.attributes, found.deltas.shape) == (("quality",), (8, 1))
    assert found.manifest["attributes"] == ["quality"]
    assert found.manifest["teacher"]["prompts"] == {"quality": ["Good image", "Bad image"]}
    assert found.manifest["teacher"]["prompts_from"] == "quality"
    # cos+ - cos- of these two prompts, by another route
    teacher = ClipTeacher(tiny_clip, None)
    good, bad = teacher.encode_prompts(["Good image", "Bad image"])
    photo = torch.from_numpy(read_photo(photos / "3.png").copy()).permute(2, 0, 1)[None] / 255
    expected = (teacher.encode_images(photo) @ (good - bad)).item()
    assert found.deltas[3, 0] == pytest.approx(expected, abs=1e-3)  # cut in 8 bits
    with pytest.raises(LabelStoreError, match="another folder"):
        label_with(photos, store, tiny_clip)
    pretrain.main(pretraining(photos, tiny, tiny_clip, out, labels=(store,)))
    net, card = load_checkpoint(out / "pretrained.safetensors")
    assert net.architecture.attributes == card.attributes == ("quality",)
    assert card.training["labels"]["teacher"]["prompts_from"] == "quality"


def pretraining(photos, tiny: Architecture, clip: str, out: Path, **more) -> pretrain.Settings:
    schedule = Schedule(1, 4, crops=CropSettings(32, (40, 48)), workers=0)
    return pretrain.Settings(
        photos,
        encoder=ClipEncoder(clip, None),
        architecture=tiny,
        pretraining=PretrainSettings(schedule, distorted=0.0),
        machine=Machine("cpu"),
        out=out,
        **more,
    )


def test_pretraining_from_crops_with_the_worst_pairs(photos, tiny, tiny_clip, tmp_path, selection):
    plain = pretraining(photos, tiny, tiny_clip, tmp_path / "out")
    wanted = replace(plain, prompting=Prompting(str(selection), "worst", "distortion"))
    pretrain.main(wanted)
    _, card = load_checkpoint(tmp_path / "out" / "pretrained.safetensors")
    used = card.training["labels"]
    assert used["prompts_from"] == "prompts.json, worst by distortion"
    assert used["prompts"]["noisiness"] == ["worst image", "not worst by distortion image"]
    assert card.attributes == ATTRIBUTES
    with pytest.raises(CheckpointError, match=r"prompts\.contrast was .*now .'Distinct image'"):
        pretrain.main(plain)  # into the same folder


def test_labels_with_median_pairs_and_with_pairs_of_ones_own(
    photos, tiny_clip, tmp_path, selection
):
    label_with(photos, tmp_path / "a", tiny_clip, "--prompts", str(selection), "--place", "median")
    teacher = read_labels(tmp_path / "a").manifest["teacher"]
    assert teacher["prompts"]["contrast"] == ["median image", "not median by sum image"]
    assert teacher["prompts_from"] == "prompts.json, median by sum"
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"warmth": ["Warm image", "Cold image"], "a": ["Up", "Down"]}))
    label_with(photos, tmp_path / "b", tiny_clip, "--prompts", str(own))
    found = read_labels(tmp_path / "b")
    assert found.attributes == ("warmth", "a")
    assert np.ptp(found.deltas, axis=0).min() > 0
    assert found.manifest["teacher"]["prompts"]["warmth"] == ["Warm image", "Cold image"]
    assert found.manifest["teacher"]["prompts_from"] == "own.json"


@pytest.mark.parametrize(
    "content",
    ['{"path": ["Good", "Bad"]}', '{"a": ["Good"]}', '{"a": "Good"}', "[]", "{}", '{"a": [1, 2]}'],
)
def test_a_file_of_other_content_is_named(tmp_path, content):
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"own\.json: expected"):
        Prompting(str(tmp_path / "own.json")).read()


def test_what_cannot_be_chosen_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="expected paper, quality or a JSON file"):
        Prompting("beauty").read()
    with pytest.raises(CheckpointError, match="worst"):
        Prompting("quality", "worst").read()


def test_an_architecture_of_other_attributes_than_the_labels(photos, tiny, tmp_path):
    other = replace(tiny, attributes=("beauty",))
    wanted = replace(pretraining(photos, other, "", tmp_path / "out"), teacher="measured")
    with pytest.raises(ValueError, match="beauty"):
        pretrain.main(wanted)
