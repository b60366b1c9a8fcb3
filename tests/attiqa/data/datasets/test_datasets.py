import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from attiqa.data.crop_protocol import CropSettings
from attiqa.data.crops import RandomCrops
from attiqa.data.photo_folder import PhotoFiles, cache_photos, content_hash, list_photos
from attiqa.errors import DatasetLayoutError, ImageFileError


def test_list_photos(tmp_path):
    for name in ("b.JPG", "a/c.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_photos(tmp_path) == (tmp_path / "a" / "c.png", tmp_path / "b.JPG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetLayoutError, match="no image files"):
        list_photos(tmp_path / "empty")


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
    crops = RandomCrops([photo[:50, :80]], CropSettings(64, (64, 90)), seed=0)
    assert crops[0][1].shape == (3, 64, 64)


def test_photo_files_decode_when_asked(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.png")
    files = PhotoFiles([tmp_path / "a.png", tmp_path / "missing.png"])
    assert len(files) == 2
    assert np.array_equal(files[0], photo)
    with pytest.raises(ImageFileError, match="missing"):
        files[1]
