from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from isp_env.develop.downsized import preview
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulated_raw import random_capture, simulated_previews
from isp_env.scenes.simulation import Capture, simulate

PHOTOS = [data.astronaut()[:128, :128], data.astronaut()[128:256, 128:256]]


def test_scenes_depend_on_seed_and_number_alone():
    both = simulated_previews(PHOTOS, 48, seed=0)
    again = simulated_previews(PHOTOS[:1], 48, seed=0)
    assert np.array_equal(both.linear[:1], again.linear)
    assert not np.array_equal(both.linear, simulated_previews(PHOTOS, 48, seed=1).linear)


def test_a_set_holds_the_preview_of_the_raw_image():
    photo = np.moveaxis(PHOTOS[0] / 255, 2, 0)
    raw, _ = simulate(photo, NIKON_D750, Capture(iso=400), np.random.default_rng(0))
    linear, noise = PreviewSet.of([raw], 32).images(np.array([0]), "cpu")
    expected = preview(raw, 32)
    assert torch.allclose(linear[0], expected.rgb, atol=1e-3)
    assert torch.allclose(noise[0], expected.noise)


def test_mixed_shapes_are_refused():
    photos = [PHOTOS[0], PHOTOS[1][:64]]
    with pytest.raises(ValueError, match="one shape"):
        simulated_previews(photos, 48, seed=0)


def test_scenes_without_truths_come_after_others():
    known = simulated_previews(PHOTOS, 48, seed=0)
    unknown = replace(simulated_previews(PHOTOS, 48, seed=1), truth=None)
    both = known.joined_with(unknown)
    assert len(both) == 4
    for name in ("linear", "noise", "as_shot_neutral", "iso"):
        parts = [getattr(each, name) for each in (known, unknown)]
        assert np.array_equal(getattr(both, name), np.concatenate(parts))
    assert both.truth is not None
    assert known.truth is not None
    assert np.array_equal(both.truth[:2], known.truth)
    assert np.isnan(both.truth[2:]).all()
    assert unknown.joined_with(unknown).truth is None
    with pytest.raises(ValueError, match="one shape"):
        known.joined_with(simulated_previews(PHOTOS, 64, seed=0))


def test_random_captures_cover_the_mishaps():
    rng = np.random.default_rng(0)
    captures = [random_capture(rng) for _ in range(300)]
    exposures = [c.exposure_error for c in captures]
    assert min(exposures) < -1.5
    assert max(exposures) > 0.8
    assert 100 <= min(c.iso for c in captures) < 200
    assert 6400 < max(c.iso for c in captures) <= 12800
    assert 0.2 < np.mean([c.veil > 0 for c in captures]) < 0.4
