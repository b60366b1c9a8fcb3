"""Photographs decoded once: the same pixels as from the files, whatever was interrupted."""

import os
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from attiqa.data import pixel_cache
from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.data.crops import Photos, RandomCrops
from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.pixel_cache import cache_pixels
from attiqa.data.views import views
from attiqa.errors import AttiqaError

SIDE = 40


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = []
    for number, (height, width) in enumerate([(80, 120), (120, 80), (64, 64), (90, 200), (40, 50)]):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(pixel_cache, "PART", 2)


def tensor(photos: Photos, index: int):
    import torch

    return torch.from_numpy(np.array(photos[index])).permute(2, 0, 1)[None]


def test_the_protocol_sees_the_same_crops(paths, tmp_path):
    photos, protocol = cache_pixels(paths, SIDE, tmp_path / "cache"), CropProtocol(SIDE, 32)
    assert isinstance(photos, Photos)
    assert len(photos) == 5
    assert min(photos[1].shape[:2]) == SIDE
    for index in range(5):
        expected = views(tensor(PhotoFiles(paths), index), protocol)
        found = views(tensor(photos, index), protocol)
        assert found.shape == expected.shape
        assert abs(found - expected).max() <= 0.5 / 255 + 1e-6  # rounding to 8 bits alone
    with pytest.raises(IndexError):
        photos[5]


def test_training_crops_are_pixels_of_the_cache(paths, tmp_path):
    photos = cache_pixels(paths, SIDE, tmp_path / "cache")
    crops = RandomCrops(photos, CropSettings(32, (SIDE, SIDE)), seed=0)
    _, crop = crops[3]
    pixels = crop.permute(1, 2, 0).numpy()
    photo = photos[3]
    windows = np.lib.stride_tricks.sliding_window_view(photo, (32, 32, 3))[:, :, 0]
    mirrored = windows[..., ::-1, :]
    assert any((w == pixels).all((2, 3, 4)).any() for w in (windows, mirrored))


def test_nothing_is_decoded_twice(paths, tmp_path, monkeypatch):
    first = cache_pixels(paths, SIDE, tmp_path / "cache", threads=2)
    monkeypatch.setattr(pixel_cache, "read_photo", lambda path: pytest.fail(f"decoded {path}"))
    again = cache_pixels(paths, SIDE, tmp_path / "cache")
    assert all(np.array_equal(first[i], again[i]) for i in range(5))
    chosen = again.choose(np.array([4, 1])).choose(np.array([1]))
    assert np.array_equal(chosen[0], first[1])


def test_an_interrupted_cache_goes_on(paths, tmp_path, monkeypatch):
    read, seen = pixel_cache.read_photo, []

    def stopping(path):
        seen.append(path)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(pixel_cache, "read_photo", stopping)
    with pytest.raises(KeyboardInterrupt):
        cache_pixels(paths, SIDE, tmp_path / "cache")
    seen[:] = [None] * 5  # never stops again
    photos = cache_pixels(paths, SIDE, tmp_path / "cache")
    assert seen[5:] == paths[2:]  # the first part was done
    monkeypatch.setattr(pixel_cache, "read_photo", read)
    whole = cache_pixels(paths, SIDE, tmp_path / "other")
    assert all(np.array_equal(photos[i], whole[i]) for i in range(5))


def test_a_part_that_another_process_makes_is_waited_for(paths, tmp_path, monkeypatch):
    cache_pixels(paths, SIDE, tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    (cache / "00000.sizes.npy").unlink()
    lock, order, fill = FileLock(cache / "00000.lock"), [], pixel_cache._fill
    lock.acquire()

    def watched(cache, part, *rest, wait):
        order.append((part, wait))
        if wait:
            lock.release()  # the other process ends before it is done
        return fill(cache, part, *rest, wait=wait)

    monkeypatch.setattr(pixel_cache, "_fill", watched)
    assert len(cache_pixels(paths, SIDE, tmp_path / "cache")[0]) > 0
    assert order == [(0, False), (0, True)]


def test_other_photographs_have_another_cache(paths, tmp_path):
    cache_pixels(paths, SIDE, tmp_path / "cache")
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(paths[0])
    os.utime(paths[0], ns=(0, 0))
    assert not cache_pixels(paths, SIDE, tmp_path / "cache")[0].any()
    assert cache_pixels(paths, 20, tmp_path / "cache")[1].shape[1] == 20
    for grey in (40, 90):  # files of one name and one size
        Image.fromarray(np.full((50, 60, 3), grey, np.uint8)).save(paths[0], "BMP")
        os.utime(paths[0], ns=(grey, grey))
        assert (cache_pixels(paths, SIDE, tmp_path / "cache")[0] == grey).all()


def test_a_broken_file_is_named(paths, tmp_path):
    paths[2].write_bytes(b"nothing")
    with pytest.raises(AttiqaError, match=r"2\.png"):
        cache_pixels(paths, SIDE, tmp_path / "cache")
