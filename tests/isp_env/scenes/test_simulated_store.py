"""A store of simulated shots holds what `random_shots` makes, scene by scene."""

from collections import Counter

import numpy as np
import pytest
import torch

from isp_env.scenes import simulated_store
from isp_env.scenes.preview_store import PreviewStore, PreviewStoreError
from isp_env.scenes.random_shots import ShotSettings, random_shots
from isp_env.scenes.simulated_store import AT_ONCE, write_simulated_store
from isp_env.scenes.truths import random_crops

SIZE = (16, 24)
SETTINGS = ShotSettings()


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    sizes = {"a.jpg": (40, 60), "b.jpg": (60, 40), "c.jpg": (33, 77)}
    return {
        name: random.integers(0, 256, (*size, 3)).astype(np.uint8) for name, size in sizes.items()
    }


def test_the_first_shots_are_those_of_the_seed(photos, tmp_path):
    write_simulated_store(tmp_path, photos, 5, SIZE, SETTINGS, seed=7)
    scenes = PreviewStore.open(tmp_path).previews()
    random = np.random.default_rng((7, 0))
    crops = [photos[name] for name in ("a.jpg", "b.jpg", "c.jpg", "a.jpg", "b.jpg")]
    truth = random_crops(crops, SIZE, random)
    numbers = torch.Generator().manual_seed(int(random.integers(2**62)))
    expected = random_shots(truth, numbers, SETTINGS)
    linear, noise = scenes.images(np.arange(5), "cpu")
    assert torch.equal(linear, expected.linear.half().float())
    assert torch.equal(scenes.truths(np.arange(5)), truth.half().float())
    assert torch.equal(noise, expected.noise)
    assert np.array_equal(scenes.as_shot_neutral, expected.as_shot_neutral.numpy())
    assert np.array_equal(scenes.iso, expected.iso.numpy())


def test_each_photograph_is_shot_about_as_often(photos, tmp_path):
    count = AT_ONCE + 6
    store = write_simulated_store(tmp_path, photos, count, SIZE, SETTINGS, seed=0)
    names = PreviewStore.open(tmp_path).names()
    assert names == store.names()
    assert names[:2] == ("a.jpg, shot 0", "b.jpg, shot 1")
    shots = Counter(name.split(",")[0] for name in names)
    assert shots == {"a.jpg": 13, "b.jpg": 13, "c.jpg": 12}
    linear = store.previews().linear
    assert linear.shape == (count, 3, *SIZE)
    assert len(np.unique(linear.reshape(count, -1), axis=0)) == count
    assert store.settings.truth
    assert not store.settings.square
    assert store.settings.side == 24


def test_a_larger_store_begins_with_the_same_scenes(photos, tmp_path):
    small, large, other = (
        write_simulated_store(tmp_path / name, photos, count, SIZE, SETTINGS, seed).previews()
        for name, count, seed in (("a", AT_ONCE, 3), ("b", AT_ONCE + 3, 3), ("c", AT_ONCE, 4))
    )
    assert np.array_equal(large.linear[:AT_ONCE], small.linear)
    assert np.array_equal(large.noise[:AT_ONCE], small.noise)
    assert not np.array_equal(other.linear, small.linear)


def test_an_interrupted_store_is_none_yet(photos, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulated_store.PreviewStore, "write_index", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_simulated_store(tmp_path, photos, 2, SIZE, SETTINGS, seed=0)
    with pytest.raises(PreviewStoreError):
        PreviewStore.open(tmp_path)
