"""What is labelled of photographs: the squares that are cut from them, and by which teacher."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from skimage import data as samples

from attiqa.attributes import ATTRIBUTES
from attiqa.cli import label as command
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.data.photo_folder import read_photo
from attiqa.errors import LabelStoreError
from attiqa.labels.loading import Loading
from attiqa.labels.photo_batches import Cut
from attiqa.labels.store import read_labels
from attiqa.teachers.teacher import ClipTeacher, MeasuredTeacher

SMALL = Loading(batch_size=3, workers=0, shard_rows=7)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory) -> str:
    vision = {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    path = tmp_path_factory.mktemp("clip") / "tiny-clip-labels.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return path.stem


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (70, 70), (40, 90)])
def test_the_central_square_is_that_of_clips_own_preprocessing(size):
    photo = np.asarray(Image.fromarray(samples.astronaut()).resize(size))
    preprocess: Any = open_clip.image_transform(64, is_train=False, mean=(0,) * 3, std=(1,) * 3)
    reference = preprocess(Image.fromarray(photo)) * 255
    (square,) = Cut("center", 64)(photo)
    assert square.dtype == torch.uint8
    assert (square.float() - reference).abs().max() <= 1.01


def test_native_squares_are_the_photographs_own_pixels():
    photo = samples.coffee()
    squares = Cut("native5", 64)(photo).permute(0, 2, 3, 1).numpy()
    height, width = photo.shape[:2]
    places = [(0, 0), (0, width - 64), (height - 64, 0), (height - 64, width - 64)]
    places.append(((height - 64) // 2, (width - 64) // 2))
    for square, (top, left) in zip(squares, places, strict=True):
        assert np.array_equal(square, photo[top : top + 64, left : left + 64])


@pytest.mark.parametrize("view", ["center", "native5"])
@pytest.mark.parametrize("size", [(1, 1), (1, 60000), (60000, 2), (31, 33)])
def test_photographs_of_any_shape_make_squares_of_one_size(view, size):
    photo = np.full((*size, 3), 77, np.uint8)
    squares = Cut(view, 32)(photo)
    assert squares.shape == ({"center": 1, "native5": 5}[view], 3, 32, 32)
    assert (squares == 77).all()


@pytest.mark.parametrize("view", ["center", "native5"])
def test_clip_labels_in_batches_are_those_of_whole_photographs(view, tmp_path, tiny_clip):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("astronaut", "coffee", "rocket"):
        Image.fromarray(getattr(samples, name)()).save(photos / f"{name}.png")
    store = tmp_path / "store"
    settings = command.Settings(
        photos, store, encoder=ClipEncoder(tiny_clip, None), view=view, loading=SMALL
    )
    command.main(settings)
    labels = read_labels(store)
    assert labels.paths == ("astronaut.png", "coffee.png", "rocket.png")
    teacher = ClipTeacher(tiny_clip, None, view=view)
    for path, deltas in zip(labels.paths, labels.deltas, strict=True):
        photo = torch.from_numpy(read_photo(photos / path).copy()).permute(2, 0, 1)[None] / 255
        reference = teacher(photo)[0].numpy()
        # the centre was resized in floating point here, and rounded to 8 bits there
        assert deltas == pytest.approx(reference, abs=1e-3 if view == "center" else 1e-5)
    manifest = labels.manifest
    assert manifest["teacher"]["prompts"]["noisiness"] == ["Peerless image", "Grainy image"]
    assert manifest["teacher"]["weights"] == "random, seed 0"
    assert manifest["cut"]["view"] == view
    assert manifest["attributes"] == list(ATTRIBUTES)


def test_the_magnitude_is_one_more_label(tmp_path, tiny_clip, photo):
    photos, store = tmp_path / "photos", tmp_path / "store"
    photos.mkdir()
    Image.fromarray(photo[:64, :64]).save(photos / "a.png")
    encoder = ClipEncoder(tiny_clip, None)
    settings = command.Settings(photos, store, encoder=encoder, magnitude=True, loading=SMALL)
    command.main(settings)
    labels = read_labels(store)
    assert labels.attributes == (*ATTRIBUTES, "magnitude")
    pixels = torch.from_numpy(photo[:64, :64].copy()).permute(2, 0, 1)[None] / 255
    reference = ClipTeacher(tiny_clip, None, magnitude=True)(pixels).numpy()
    assert labels.deltas == pytest.approx(reference, abs=1e-5)
    with pytest.raises(LabelStoreError, match=r"teacher\.magnitude was 'mean"):
        command.main(replace(settings, magnitude=False))


def test_measured_labels_are_the_teachers(tmp_path, photo):
    photos, store = tmp_path / "photos", tmp_path / "store"
    photos.mkdir()
    Image.fromarray(photo).save(photos / "a.png")  # 512 x 512: nothing is resized
    command.main(command.Settings(photos, store, "measured", loading=SMALL))
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    reference = MeasuredTeacher()(pixels).numpy()
    assert read_labels(store).deltas == pytest.approx(reference, abs=1e-5)
