import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.crops import CropSettings, RandomCrops
from attiqa.datasets.folder import PhotoFiles, cache_photos, content_hash, list_photos
from attiqa.datasets.rated import random_split, split_hash
from attiqa.errors import DatasetLayoutError, ImageFileError
from attiqa.image_files import read_photo

LABELS = "Train (Images and MOS).csv"


@pytest.fixture
def biq(tmp_path, photo):
    """Three photographs in the official layout; the case of extensions differs both ways."""
    (tmp_path / "Images").mkdir()
    for name in ("ss01 (1).jpg", "ss01 (2).JPG", "ss01 (3).jpg"):
        Image.fromarray(photo).save(tmp_path / "Images" / name)
    rows = ["Image Name,MOS,,", "ss01 (1).jpg,0.25,,", "ss01 (3).JPG,1,,", "ss01 (2).jpg,0.5,,"]
    (tmp_path / LABELS).write_text("\n".join(rows) + "\n")
    return tmp_path


def test_biq2021(biq):
    photos = read_biq2021(biq)
    assert photos.mos.tolist() == [0.25, 1.0, 0.5]
    assert [path.name for path in photos.paths] == ["ss01 (1).jpg", "ss01 (3).jpg", "ss01 (2).JPG"]
    assert photos.scale == (0.0, 1.0)


@pytest.mark.data
def test_biq2021_as_published(data):
    photos = read_biq2021(data / "biq2021")
    assert len(photos.paths) == 3000
    assert photos.mos.mean() == pytest.approx(0.641, abs=1e-3)
    assert read_photo(photos.paths[0]).shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["Image Name,Score", "a.jpg,0.5"], "MOS"),
        (["Image Name,MOS", "absent.jpg,0.5"], "absent.jpg"),
        (["Image Name,MOS", "ss01 (1).jpg,62.0"], r"\[0, 1\]"),
        (["Image Name,MOS", "ss01 (1).jpg,"], r"\[0, 1\]"),
    ],
)
def test_biq2021_with_wrong_labels(biq, rows, message):
    (biq / LABELS).write_text("\n".join(rows) + "\n")
    with pytest.raises(DatasetLayoutError, match=message):
        read_biq2021(biq)


def test_a_folder_that_is_not_biq2021(tmp_path):
    with pytest.raises(DatasetLayoutError, match="Images/"):
        read_biq2021(tmp_path)


def test_list_photos(biq):
    assert len(list_photos(biq)) == 3
    (biq / "empty").mkdir()
    with pytest.raises(DatasetLayoutError, match="no image files"):
        list_photos(biq / "empty")


def test_cache_holds_the_photographs_of_the_files_it_is_asked_for(tmp_path, photo):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    Image.fromarray(photo).save(paths[0])
    Image.fromarray(photo[:, ::-1]).save(paths[1])
    pixels = cache_photos(paths, 512, tmp_path / "cache")
    assert np.array_equal(pixels[0], photo)
    assert np.array_equal(cache_photos(paths, 512, tmp_path / "cache"), pixels)
    swapped = cache_photos(paths[::-1], 512, tmp_path / "cache")
    assert np.array_equal(swapped[1], photo)
    assert cache_photos(paths, 64, tmp_path / "cache").shape == (2, 64, 64, 3)


def test_content_hash_is_sha256_of_the_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    expected = hashlib.sha256(hashlib.sha256(b"one").digest()).hexdigest()
    assert content_hash([tmp_path / "a"]) == expected


def test_split_is_a_seeded_partition():
    split = random_split(100, validation=20, test=30, seed=1)
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [50, 20, 30]
    assert sorted(np.concatenate(parts)) == list(range(100))
    names = [f"{index}.jpg" for index in range(100)]
    same, other = random_split(100, 20, 30, seed=1), random_split(100, 20, 30, seed=2)
    assert split_hash(names, split) == split_hash(names, same) != split_hash(names, other)


def test_split_without_training_photographs():
    with pytest.raises(ValueError, match="for training"):
        random_split(50, 20, 30)


def test_crops_depend_on_seed_epoch_and_index_alone(photo):
    crops = RandomCrops([photo, photo], CropSettings(64, (64, 256)), seed=3)
    index, first = crops[1]
    assert index == 1
    assert first.shape == (3, 64, 64)
    assert first.dtype == torch.uint8
    assert torch.equal(first, crops[1][1])
    assert not torch.equal(first, crops[0][1])
    crops.epoch = 1
    assert not torch.equal(first, crops[1][1])


def test_a_crop_at_full_scale_is_a_part_of_the_photograph(photo):
    crops = RandomCrops([photo], CropSettings(500, (512, 512)), seed=0)
    crop = crops[0][1].permute(1, 2, 0).numpy()
    windows = [
        side[top : top + 500, left : left + 500]
        for side in (photo, photo[:, ::-1])
        for top in range(13)
        for left in range(13)
    ]
    assert any(np.array_equal(crop, window) for window in windows)


def test_crops_of_a_small_photograph_fill_the_size(photo):
    crops = RandomCrops([photo[:50, :80]], CropSettings(64, (40, 60)), seed=0)
    assert crops[0][1].shape == (3, 64, 64)


def test_photo_files_decode_when_asked(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    files = PhotoFiles([tmp_path / "a.png", tmp_path / "missing.png"])
    assert len(files) == 2
    assert np.array_equal(files[0], photo)
    with pytest.raises(ImageFileError, match="missing"):
        files[1]
