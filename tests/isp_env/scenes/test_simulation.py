"""The simulated sensor against hand-made expectations, and the sample files."""

import dataclasses
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from isp_env.color.rgb import XYZ_FROM_REC709
from isp_env.develop.reference import develop
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.isp.stages.tone import inverse_neutral_curve, inverse_neutral_tone
from isp_env.raw import RawImage, read_raw
from isp_env.scenes import samples
from isp_env.scenes.samples import SAMPLES, sample_files, simulated_sample, truth_of
from isp_env.scenes.simulated_raw import random_camera
from isp_env.scenes.simulation import (
    BGGR,
    GBRG,
    GRBG,
    RGGB,
    X_TRANS,
    CameraModel,
    Capture,
    noise_at,
    simulate,
)

CAMERA = CameraModel(
    name="Test camera",
    xyz_to_camera=((0.9, -0.29, -0.07), (-0.45, 1.24, 0.23), (-0.09, 0.19, 0.71)),
    neutral=(0.5, 1.0, 0.7),
    black=(500, 600, 700),
    white=15000,
    shot_noise=0.0,
)


def flat(rgb: tuple[float, float, float], size: int = 12) -> np.ndarray:
    """(3, size, size) of one colour."""
    return np.tile(np.array(rgb)[:, None, None], (1, size, size))


def take(photo: np.ndarray, camera: CameraModel = CAMERA, **capture) -> RawImage:
    return simulate(photo, camera, Capture(**capture), np.random.default_rng(0))[0]


def signal_of(raw: RawImage) -> np.ndarray:
    """Mean of R, G, B between black (0) and white (1)."""
    assert raw.mosaic is not None
    assert raw.cfa is not None
    size = len(raw.cfa)
    height, width = raw.mosaic.shape
    color = np.tile(raw.cfa, (height // size + 1, width // size + 1))[:height, :width]
    black = np.array([raw.black[raw.cfa == c][0] for c in range(3)])
    means = np.array([raw.mosaic[color == c].mean() for c in range(3)])
    return (means - black) / (raw.white - black)


def linear(value: float) -> float:
    return inverse_neutral_curve(torch.tensor([value], dtype=torch.float64)).item()


STEP = 1 / 14000  # one raw unit of the test camera


@pytest.mark.parametrize("cfa", [RGGB, GRBG, GBRG, BGGR, X_TRANS])
def test_grey_is_recorded_as_the_neutral_of_the_light(cfa):
    raw = take(flat((0.5, 0.5, 0.5)), dataclasses.replace(CAMERA, cfa=cfa))
    np.testing.assert_allclose(signal_of(raw), linear(0.5) * np.array(CAMERA.neutral), atol=STEP)
    np.testing.assert_array_equal(raw.cfa, cfa)
    np.testing.assert_array_equal(raw.as_shot_neutral, CAMERA.neutral)


@pytest.mark.parametrize("neutral", [(0.5, 1.0, 0.7), (1.6, 1.0, 0.4)])
def test_white_saturates_the_strongest_channel_exactly(neutral):
    raw = take(flat((1.0, 1.0, 1.0)), dataclasses.replace(CAMERA, neutral=neutral))
    np.testing.assert_allclose(signal_of(raw), np.array(neutral) / max(neutral), atol=STEP)


def test_colors_pass_the_camera_matrix():
    """Ratios to the response to white, as dcraw's cam_xyz has them."""
    camera_from_rgb = np.array(CAMERA.xyz_to_camera) @ XYZ_FROM_REC709
    photo = torch.tensor([0.8, 0.4, 0.2], dtype=torch.float64).view(3, 1, 1)
    rgb = inverse_neutral_tone(photo).flatten().numpy()
    expected = camera_from_rgb @ rgb / camera_from_rgb.sum(axis=1) * np.array(CAMERA.neutral)
    np.testing.assert_allclose(signal_of(take(flat((0.8, 0.4, 0.2)))), expected, atol=STEP)


def test_exposure_error_scales_light_before_saturation():
    neutral = np.array(CAMERA.neutral)
    under = signal_of(take(flat((0.5, 0.5, 0.5)), exposure_error=-2.0))
    np.testing.assert_allclose(under, linear(0.5) * neutral / 4, atol=STEP)
    over = signal_of(take(flat((0.9, 0.9, 0.9)), exposure_error=1.5))
    np.testing.assert_allclose(over, (linear(0.9) * neutral * 2**1.5).clip(max=1), atol=STEP)
    assert over[1] == 1


def test_white_balance_error_is_in_the_metadata_alone():
    right = take(flat((0.5, 0.4, 0.3)))
    wrong = take(flat((0.5, 0.4, 0.3)), white_balance_error=(1.0, -1.0))
    np.testing.assert_array_equal(right.mosaic, wrong.mosaic)
    np.testing.assert_allclose(wrong.as_shot_neutral, [1.0, 1.0, 0.35])


def test_veil_is_added_in_linear_light():
    signal = signal_of(take(flat((0.5, 0.5, 0.5)), veil=0.2))
    expected = (0.8 * linear(0.5) + 0.2) * np.array(CAMERA.neutral)
    np.testing.assert_allclose(signal, expected, atol=STEP)


@pytest.mark.parametrize("iso", [100, 800, 6400])
def test_noise_has_the_stated_variance(iso):
    """Mean x and variance S x + O at each level, within five standard errors."""
    camera = dataclasses.replace(CAMERA, shot_noise=1.5e-4, black=(2000, 2000, 2000))
    shot, read = noise_at(camera, iso)
    assert shot == pytest.approx(1.5e-4 * iso / 100)
    assert math.log(read) == pytest.approx(2.18 * math.log(shot) + 1.20)  # Brooks, equation 2
    for grey in (0.2, 0.5, 0.8):
        raw = take(flat((grey, grey, grey), 400), camera, iso=iso)
        assert raw.mosaic is not None
        assert raw.noise_profile == (shot, read)
        for (row, col), color in np.ndenumerate(np.array(RGGB)):
            samples = (raw.mosaic[row::2, col::2] - 2000.0) / (camera.white - 2000)
            level = linear(grey) * CAMERA.neutral[color]
            variance = shot * level + read + STEP**2 / 12
            assert samples.mean() == pytest.approx(level, abs=5 * math.sqrt(variance / 40_000))
            assert samples.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / 40_000))


def test_same_seed_same_noise():
    camera = dataclasses.replace(CAMERA, shot_noise=1e-3)
    first, second = (take(flat((0.5, 0.5, 0.5)), camera) for _ in range(2))
    np.testing.assert_array_equal(first.mosaic, second.mosaic)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_is_held_as_the_orientation_says(orientation):
    """Pillow turns the sensor's picture upright again."""
    ramp = np.linspace(0.1, 0.9, 12 * 18).reshape(12, 18)
    camera = dataclasses.replace(CAMERA, neutral=(1.0, 1.0, 1.0), black=(0, 0, 0))
    photo = np.broadcast_to(ramp, (3, 12, 18)).copy()
    raw = take(photo, camera, orientation=orientation)
    assert raw.mosaic is not None
    seen = Image.fromarray(raw.mosaic)
    seen.getexif()[274] = orientation
    upright = np.asarray(ImageOps.exif_transpose(seen))
    assert raw.orientation == orientation
    np.testing.assert_array_equal(upright, take(photo, camera).mosaic)


def test_development_of_a_clean_picture_returns_the_truth():
    rows, cols = np.mgrid[:80, :120] / 25
    photo = 0.5 + 0.3 * np.stack([np.sin(rows), np.sin(cols), np.sin(rows + cols)])
    raw, truth = simulate(photo, CAMERA, Capture(orientation=6), np.random.default_rng(0))
    assert truth.dtype == np.float32
    np.testing.assert_array_equal(truth, photo.astype(np.float32))
    theta = to_theta(DEFAULT_PIPELINE.parameters, {"sharpen": 0.0, "denoise": 0.0})
    developed = DEFAULT_PIPELINE(develop(raw).rgb[None], theta)[0].numpy()
    assert np.abs(developed - truth)[:, 4:-4, 4:-4].max() < 0.01


# -- the sample files --


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def files(folder):
    return sample_files(folder)


def test_samples_cover_the_defects_and_the_mosaics():
    captures = [sample.capture for sample in SAMPLES.values()]
    assert len(SAMPLES) >= 10
    assert {sample.camera.cfa for sample in SAMPLES.values()} == {RGGB, GRBG, GBRG, BGGR, X_TRANS}
    assert (
        min(c.exposure_error for c in captures) <= -2 < 1 <= max(c.exposure_error for c in captures)
    )
    assert any(c.white_balance_error != (0.0, 0.0) for c in captures)
    assert max(c.iso for c in captures) >= 6400
    assert any(c.veil > 0 for c in captures)
    assert any(c.orientation in (6, 8) for c in captures)
    assert Capture() in captures  # nothing wrong


def test_samples_read_back(files):
    for path in files:
        raw, sample = read_raw(path), SAMPLES[path.stem]
        truth = truth_of(path)
        assert truth is not None
        with Image.open(truth) as picture:
            upright = picture.size[::-1]
        pixels = raw.mosaic if raw.mosaic is not None else raw.linear
        assert pixels is not None
        held = upright[::-1] if sample.capture.orientation >= 5 else upright
        assert pixels.shape[-2:] == held
        assert raw.simulated
        assert raw.orientation == sample.capture.orientation
        np.testing.assert_array_equal(raw.cfa, sample.camera.cfa)
        assert raw.iso == sample.capture.iso
        assert raw.fallbacks == ()


def test_samples_tell_exiftool_that_they_are_simulated(files):
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not on the PATH")
    done = subprocess.run(
        ["exiftool", "-j", "-validate", "-all", *files], capture_output=True, check=True
    )
    for said in json.loads(done.stdout):
        assert said["ImageDescription"].startswith("Simulated RAW")
        assert said["Make"] == "Simulated"
        assert said["Validate"] == "OK"


def test_samples_are_made_once(folder, files):
    before = [path.stat().st_mtime_ns for path in files]
    again = sample_files(folder)
    assert again == files
    assert [path.stat().st_mtime_ns for path in again] == before


def test_interrupted_creation_is_continued(tmp_path, monkeypatch):
    def interrupt(raw, path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(samples, "write_dng", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sample_files(tmp_path)
    assert not [*tmp_path.rglob("*.dng")]
    monkeypatch.setattr(samples, "SAMPLES", dict([*SAMPLES.items()][:1]))
    (path,) = sample_files(tmp_path)
    assert read_raw(path).simulated
    assert not [*tmp_path.rglob(".*")]


def test_other_files_have_no_truth(tmp_path):
    assert truth_of(tmp_path / "camera.nef") is None


def test_an_enlarged_sample_is_the_same_scene_with_the_same_noise_in_each_pixel(monkeypatch):
    name = "10_coffee_high_iso"
    raw, _ = simulated_sample(name)
    large, truth = simulated_sample(name, 2)
    assert raw.mosaic is not None
    assert large.mosaic is not None
    assert large.mosaic.shape == (2 * raw.mosaic.shape[0], 2 * raw.mosaic.shape[1])
    assert truth.shape == (3, *large.mosaic.shape)
    assert large.noise_profile == raw.noise_profile

    def reds(mosaic, step):  # means over the same areas
        red = mosaic[::2, ::2].astype(float)
        height, width = (side // (10 * step) * 10 * step for side in red.shape)
        return (
            red[:height, :width]
            .reshape(height // (10 * step), 10 * step, -1, 10 * step)
            .mean((1, 3))
        )

    assert np.corrcoef(reds(raw.mosaic, 1).ravel(), reds(large.mosaic, 2).ravel())[0, 1] > 0.99
    sample = SAMPLES[name]
    quiet = dataclasses.replace(sample.camera, shot_noise=0.0)
    monkeypatch.setitem(SAMPLES, name, dataclasses.replace(sample, camera=quiet))
    for times, noisy in ((1, raw), (2, large)):
        clean = simulated_sample(name, times)[0].mosaic
        assert clean is not None
        assert noisy.mosaic is not None
        assert noisy.noise_profile is not None
        scale = float(sample.camera.white - sample.camera.black[0])
        off = (noisy.mosaic.astype(float) - clean) / scale
        shot, read = noisy.noise_profile
        light = (clean.astype(float) - sample.camera.black[0]) / scale
        inner = (light > 0.02) & (light < 0.8)  # nothing clipped
        assert (off / np.sqrt(shot * light + read))[inner].std() == pytest.approx(1, rel=0.02)


def test_training_scenes_are_noisier_than_the_samples_cameras():
    rng = np.random.default_rng(0)
    training = [random_camera(rng) for _ in range(20)]
    phone = {camera.name: camera.shot_noise for camera in training}
    assert phone == {"after Nikon D750": 1e-4, "after Canon EOS 350D": 1.5e-4}
    for sample in SAMPLES.values():
        assert 1 / 100_000 < sample.camera.shot_noise < 1 / 25_000  # full wells of large pixels
