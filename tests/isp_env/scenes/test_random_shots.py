"""Simulated shots: each mishap alone, measured; and `isp_env.scenes.simulation` as another path."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.isp.stages.tone import inverse_neutral_curve, inverse_neutral_tone
from isp_env.scenes import random_shots as module
from isp_env.scenes.cameras import COLOR_MATRICES, camera_neutral
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.random_shots import Shots, ShotSettings, random_shots
from isp_env.scenes.simulation import CameraModel, Capture, simulate

FINE = ShotSettings(
    fine_share=0.0,
    exposure_mean=0.0,
    exposure_spread=0.0,
    balance_share=0.0,
    veil_share=0.0,
    flare_share=0.0,
    mixed_share=0.0,
    contrast_spread=0.0,
    gamma_spread=0.0,
    saturation_spread=0.0,
    iso=(100.0, 100.0),
    full_well=(80_000.0, 80_000.0),
    averaged=(1e8, 1e8),  # no noise to speak of
)
NOTHING = to_theta(DEFAULT_PIPELINE.parameters, {"sharpen": 0.0, "denoise": 0.0})


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """Photographs without pure black."""
    crops = [data.astronaut()[0:96, 150:294], data.coffee()[100:196, 100:244]]
    return torch.stack([torch.from_numpy(x / 255).permute(2, 0, 1).float() for x in crops])


def grey(level: float, count: int, side: int = 8) -> torch.Tensor:
    return torch.full((count, 3, side, side), level)


def shots(truth: torch.Tensor, settings: ShotSettings, seed: int = 0) -> Shots:
    return random_shots(truth, torch.Generator().manual_seed(seed), settings)


def light_of(level: float) -> float:
    return inverse_neutral_curve(torch.tensor([level], dtype=torch.float64)).item()


def stops_of(shot: Shots) -> torch.Tensor:
    """Exposure of shots of grey of level 0.4, in EV."""
    return (shot.linear.mean((1, 2, 3)) / light_of(0.4)).log2()


def difference(images: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    labs = [rgb2lab(x.permute(0, 2, 3, 1).double().numpy()) for x in (truth, images)]
    return deltaE_ciede2000(*labs)


def test_the_neutral_rendering_of_a_fine_shot_is_its_truth(truth):
    for seed in range(5):  # of cameras and lights
        shot = shots(truth, FINE, seed)
        rendered = DEFAULT_PIPELINE(shot.linear, NOTHING.expand(2, -1), shot.noise)
        apart = difference(rendered, shot.truth)
        assert apart.mean() < 0.3
        assert np.quantile(apart, 0.99) < 2
        assert torch.equal(shot.truth, truth)


def test_a_stop_more_doubles_the_light_below_clipping():
    fine = shots(grey(0.4, 6), FINE)
    assert fine.linear.numpy() == pytest.approx(light_of(0.4), rel=1e-3)
    for stops in (1.0, -2.0):
        moved = shots(grey(0.4, 6), replace(FINE, exposure_mean=stops))
        assert moved.linear.numpy() == pytest.approx(2**stops * light_of(0.4), rel=1e-3)
    over = shots(grey(0.9, 6), replace(FINE, exposure_mean=1.5)).linear
    assert over.min() > 1 - 1e-3
    assert (over.amax(1) - over.amin(1)).max() < 1e-3  # white, not coloured
    assert over.max() < 0.95 * 2**1.5 * light_of(0.9)  # the sensor was full


def test_exposure_stays_in_its_range_and_has_its_spread():
    settings = replace(FINE, exposure_mean=-0.5, exposure_spread=1.0, exposure_range=(-2.0, 0.5))
    stops = stops_of(shots(grey(0.4, 2000, 1), settings))
    assert stops.min() == pytest.approx(-2, abs=1e-2)
    assert stops.max() == pytest.approx(0.5, abs=1e-2)
    inside = (stops > -1.9) & (stops < 0.4)
    assert inside.float().mean() == pytest.approx(0.747, abs=0.04)  # normal(-1.4) to normal(0.9)


def test_fine_shots_have_a_part_of_the_mishap():
    settings = replace(FINE, exposure_mean=-1.0, fine_share=0.4, fine_part=0.25)
    stops = stops_of(shots(grey(0.4, 1000, 1), settings))
    fine = (stops + 0.25).abs() < 0.01
    assert (fine | ((stops + 1).abs() < 0.01)).all()
    assert fine.float().mean() == pytest.approx(0.4, abs=0.06)


def test_the_same_seed_takes_the_same_shots(truth):
    once, again, other = (shots(truth, ShotSettings(), seed) for seed in (1, 1, 2))
    for name, value in once._asdict().items():
        assert torch.equal(value, getattr(again, name))
    for name in ("linear", "noise", "as_shot_neutral", "iso"):
        assert not torch.allclose(getattr(once, name), getattr(other, name))


@pytest.mark.parametrize("iso", [100.0, 3200.0])
@pytest.mark.parametrize("level", [0.25, 0.6])
def test_the_noise_profile_of_a_flat_grey_is_that_of_its_pixels(iso, level):
    """Within five standard errors of a variance, and a little for clipping."""
    settings = replace(FINE, iso=(iso, iso), full_well=(30_000.0, 30_000.0), averaged=(4.0, 4.0))
    side = 200
    shot = shots(grey(level, 6, side), settings)
    pixels = shot.linear.flatten(2)
    mean, variance = pixels.mean(2), pixels.var(2)
    stated = shot.noise[..., 0] * mean + shot.noise[..., 1]
    assert (variance / stated).numpy() == pytest.approx(1, abs=5 * np.sqrt(2) / side + 0.01)
    assert variance.min() > 1e-7
    assert (shot.iso == iso).all()


def test_noise_is_that_of_electrons(monkeypatch):
    """Full well 20,000 at ISO 100, ISO 400, 9 samples a pixel: 5,000 electrons are white."""
    monkeypatch.setattr(module, "rec709_from_camera", identities)
    settings = replace(FINE, iso=(400.0, 400.0), full_well=(20_000.0,) * 2, averaged=(9.0,) * 2)
    shot = shots(grey(0.5, 40, 100), settings)
    gains = shot.as_shot_neutral.amax(1, keepdim=True) / shot.as_shot_neutral
    electrons, read = 5_000.0, 5.0
    counted = electrons * light_of(0.5) / gains
    expected = (counted + read**2) / 9 * (gains / electrons) ** 2
    found = shot.linear.flatten(2).var(2)
    assert found.numpy() == pytest.approx(expected.numpy(), rel=5 * np.sqrt(2) / 100)


def identities(matrices: torch.Tensor) -> torch.Tensor:
    """Leave pictures in camera RGB, so that no matrix mixes the channels."""
    return torch.eye(3).expand(len(matrices), 3, 3)


def test_a_wrong_balance_tilts_greys_by_its_size(monkeypatch):
    """Where white is taken to be r EV redder than it is, red is developed r EV too weak."""
    monkeypatch.setattr(module, "rec709_from_camera", identities)
    settings = replace(FINE, balance_share=1.0, balance_spread=0.3)
    right, wrong = shots(grey(0.3, 200, 2), FINE), shots(grey(0.3, 200, 2), settings)
    error = (wrong.as_shot_neutral / right.as_shot_neutral).log2()
    assert (error[:, 1].abs() < 1e-5).all()
    assert error[:, ::2].std(0).numpy() == pytest.approx(0.3, abs=0.05)
    means = wrong.linear.mean((2, 3))
    tilt = (means / means[:, 1:2]).log2()
    assert tilt.numpy() == pytest.approx(-error.numpy(), abs=5e-3)


def test_a_red_cast_is_where_the_camera_took_red_for_too_weak():
    right = shots(grey(0.3, 200, 2), FINE)
    wrong = shots(grey(0.3, 200, 2), replace(FINE, balance_share=1.0, balance_spread=0.3))
    error = (wrong.as_shot_neutral / right.as_shot_neutral).log2()
    red, green, blue = wrong.linear.mean((2, 3)).unbind(1)
    warm = (red / blue).log2()
    believed = error[:, 2] - error[:, 0]  # more blue and less red in what was taken for grey
    assert np.corrcoef(warm, believed)[0, 1] > 0.97
    assert (green > 0).all()


def test_some_shots_have_a_wrong_balance():
    settings = replace(FINE, balance_share=0.3)
    right, some = shots(grey(0.3, 1000, 1), FINE), shots(grey(0.3, 1000, 1), settings)
    wrong = (some.as_shot_neutral / right.as_shot_neutral).log2().abs().amax(1) > 1e-3
    assert wrong.float().mean() == pytest.approx(0.3, abs=0.05)


def test_as_shot_neutral_is_what_the_light_makes_of_grey(monkeypatch):
    seen = []

    def noted(*arguments):
        seen.append((arguments, camera_neutral(*arguments)))
        return seen[-1][1]

    monkeypatch.setattr(module, "camera_neutral", noted)
    shot = shots(grey(0.3, 300, 1), FINE)
    ((matrices, kelvin, duv), neutral) = seen[0]
    assert torch.allclose(shot.as_shot_neutral, neutral)
    assert len(matrices.flatten(1).unique(dim=0)) == len(COLOR_MATRICES)
    low, high = 1e6 / 9000, 1e6 / 2600
    mired = (1e6 / kelvin - low) / (high - low)
    assert (mired.min(), mired.max()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))
    assert mired.mean() == pytest.approx(0.5, abs=0.05)
    assert duv.std() == pytest.approx(0.004, rel=0.15)


def test_a_veil_is_added_in_linear_light():
    settings = replace(FINE, veil_share=1.0, veil_most=0.2)
    shot = shots(grey(0.4, 500, 2), settings)
    light = light_of(0.4)
    share = (shot.linear.mean((1, 2, 3)) - light) / (1 - light)
    assert share.min() > -1e-4
    assert share.max() == pytest.approx(0.2, abs=0.01)
    assert share.mean() == pytest.approx(0.1, abs=0.01)
    assert shot.linear.std((1, 2, 3)).max() < 1e-3  # even over the picture


def test_flare_comes_from_a_side():
    settings = replace(FINE, flare_share=1.0, flare_most=0.15)
    shot = shots(grey(0.3, 200, 32), settings)
    light = light_of(0.3)
    share = (shot.linear.mean(1) - light) / (1 - light)
    assert share.min() > -1e-4
    assert share.max() <= 0.15 + 1e-4
    strongest = share.flatten(1).amax(1)
    assert (share.flatten(1).amin(1) < 0.1 * strongest + 1e-4).all()


def test_two_lights_tint_the_ends_of_the_picture(monkeypatch):
    monkeypatch.setattr(module, "rec709_from_camera", identities)
    settings = replace(FINE, mixed_share=1.0, mixed_spread=0.3)
    pictures = shots(grey(0.3, 300, 24), settings).linear
    tilt = (pictures / pictures[:, 1:2]).log2()
    across = tilt.amax((2, 3)) - tilt.amin((2, 3))
    assert across[:, ::2].mean() > 0.15
    centre = tilt[:, :, 11:13, 11:13].mean((2, 3))
    assert centre.abs().max() < 0.02  # balanced for the middle
    alone = shots(grey(0.3, 4, 24), FINE).linear
    assert (alone / alone[:, 1:2]).log2().abs().max() < 1e-3


def test_an_unknown_camera_had_another_curve_and_other_colours(truth):
    plain = shots(truth, FINE)
    for changed in ({"contrast_spread": 0.3}, {"gamma_spread": 0.3}, {"saturation_spread": 0.2}):
        shot = shots(truth, replace(FINE, **changed))
        assert (shot.linear - plain.linear).abs().mean() > 3e-3
        assert torch.equal(shot.truth, truth)
    ends = torch.stack([grey(1.0, 1)[0], grey(0.0, 1)[0]])
    curved = shots(ends, replace(FINE, contrast_spread=0.3, gamma_spread=0.3))
    assert curved.linear[0].numpy() == pytest.approx(1.0, abs=1e-3)
    assert curved.linear[1].numpy() == pytest.approx(0.0, abs=1e-3)


def test_without_noise_a_shot_is_what_the_simulated_sensor_gives(monkeypatch):
    """`isp_env.scenes.simulation` makes a mosaic of a flat colour; development reads it back."""
    name = "Nikon D750"
    rows = np.reshape(COLOR_MATRICES[name], (3, 3)) / 10_000
    matrix = torch.from_numpy(rows).float()[None]
    monkeypatch.setattr(module, "color_matrices", lambda: matrix)
    for seed, rgb in enumerate([(0.5, 0.5, 0.5), (0.7, 0.4, 0.3), (0.3, 0.5, 0.8)]):
        flat = torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 48, 48)
        settings = replace(FINE, exposure_mean=-0.7, balance_share=1.0)
        shot = shots(flat, settings, seed)
        light = shots(flat, replace(settings, balance_share=0.0), seed).as_shot_neutral[0]
        error = (shot.as_shot_neutral[0] / light).log2()
        camera = CameraModel(
            name,
            tuple(tuple(row) for row in rows.tolist()),  # type: ignore[arg-type]
            neutral=tuple(light.tolist()),  # type: ignore[arg-type]
            shot_noise=0.0,
        )
        capture = Capture(
            exposure_error=-0.7, white_balance_error=(error[0].item(), error[2].item())
        )
        raw, _ = simulate(flat[0].numpy(), camera, capture, np.random.default_rng(0))
        scene = PreviewSet.of([raw], 12)
        found, expected = shot.linear.mean((2, 3)), scene.linear[..., 2:-2, 2:-2].mean((2, 3))
        assert found.numpy() == pytest.approx(expected, rel=3e-3, abs=5e-4)
        assert shot.as_shot_neutral.numpy() == pytest.approx(scene.as_shot_neutral, rel=1e-4)
        assert shot.iso.numpy() == pytest.approx(scene.iso)
        assert np.ptp(found.numpy()) > 0.01  # not grey: the balance is wrong


def test_the_scene_is_what_simulation_takes_it_for(truth):
    shot = shots(truth, FINE)
    expected = inverse_neutral_tone(truth)
    inner = (shot.linear.amax(1, keepdim=True) < 0.9) & (expected > 1e-3).all(1, keepdim=True)
    apart = (shot.linear - expected).abs() * inner
    assert inner.float().mean() > 0.6
    assert apart.quantile(0.99) < 4e-3
