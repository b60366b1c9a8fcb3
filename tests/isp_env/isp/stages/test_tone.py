import numpy as np
import pytest
import torch

from isp_env.isp.stages import tone

WEIGHTS = (0.2126729, 0.7151522, 0.0721750)  # of Rec. 709 luminance

RAMP = torch.linspace(0, 1, 1001, dtype=torch.float64)
CURVES = {
    "shadows": (tone.shadows_gain, (-1.0, 1.0), 0.0),
    "highlights": (tone.highlights_gain, (-1.0, 1.0), 0.0),
    "contrast": (tone.contrast_gain, (-0.6, 1.0), 0.0),
    "gamma": (tone.gamma_gain, (1 / 1.5, 1.5), 1.0),
}


def controls(**values: float) -> dict[str, torch.Tensor]:
    neutral = {"whites": 0.0, "blacks": 0.0, "shadows": 0.0, "highlights": 0.0, "gamma": 1.0}
    k = {n: torch.tensor(v).double() for n, v in {**neutral, "contrast": 0.0, **values}.items()}
    return k | {"floor": tone.tone_curve(torch.zeros(()).double(), k)}


def encode(x: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(x > 0.0031308, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * x)


def test_neutral_curve_is_monotone_fixes_the_ends_and_lifts_the_midtones():
    curve = tone.neutral_curve(RAMP)
    assert curve[0] == 0
    assert curve[-1].item() == pytest.approx(1)
    assert curve.diff().min() > 0
    assert 0.55 < curve[180].item() < 0.68  # 18 % of sensor white; 0.46 by the sRGB curve alone


def test_neutral_curve_rolls_off_above_white():
    values = tone.neutral_curve(torch.tensor([1.0, 2.0, 4.0]))
    assert values.diff().min() > 0
    assert values[-1] < 1.4


def test_inverses():
    assert torch.allclose(tone.inverse_neutral_curve(tone.neutral_curve(RAMP)), RAMP, atol=1e-6)
    photo = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0)).double()
    linear = tone.inverse_neutral_tone(photo)
    again = torch.stack(tone.apply(linear.unbind(1), {}, controls()), dim=1)
    assert np.allclose(encode(again.numpy()), photo, atol=1e-5)


def test_tone_changes_the_luminance_by_the_curve_and_keeps_the_ratios_of_the_channels():
    linear = torch.rand(3, 50, 50, generator=torch.Generator().manual_seed(0)).double()
    k = controls(shadows=0.6, highlights=-0.5, gamma=1.2, contrast=0.4, whites=0.3)
    toned = np.stack(tone.apply(tuple(linear), {}, k))
    light = np.einsum("c,chw->hw", WEIGHTS, linear.numpy())
    luma = encode(2.2 * light / (1 + 1.2 * light))
    luma = (0.65 * luma + 0.35 * luma**2 * (3 - 2 * luma)) / 0.925
    inside = luma.clip(0, 1)
    luma *= 1 + 0.6 * (1 - inside) ** 3 - 0.5 * inside**2 * (1 - inside)
    m, y = 0.5**1.2, inside * (1 + 0.6 * (1 - inside) ** 3 - 0.5 * inside**2 * (1 - inside))
    luma *= (m - 1) / ((2 * m - 1) * y - m)
    y = (y * (m - 1) / ((2 * m - 1) * y - m)).clip(0, 1)
    luma *= 1 + 0.4 * (y * (3 - 2 * y) - 1)
    assert np.allclose(encode(np.einsum("c,chw->hw", WEIGHTS, toned)), luma, atol=1e-9)
    assert np.allclose(toned / toned.sum(0), linear.numpy() / linear.numpy().sum(0), atol=1e-9)


def test_lifted_blacks_are_grey_and_deep_blacks_black():
    dark = torch.tensor([0.0, 2e-3, 0.0]).double()
    lifted = torch.stack(tone.apply(tuple(dark), {}, controls(blacks=1.0)))
    assert encode(lifted[0].numpy()) == pytest.approx(0.12 / 1.12)
    assert lifted[2] == lifted[0] < lifted[1]
    deep = torch.stack(tone.apply(tuple(dark), {}, controls(blacks=-1.0)))
    assert (deep < 0).all()


@pytest.mark.parametrize("name", CURVES)
def test_controls_are_monotone_fix_the_ends_and_do_nothing_when_neutral(name):
    gain, bounds, neutral = CURVES[name]
    exactly = gain(RAMP, torch.tensor(neutral, dtype=torch.float64))
    assert torch.equal(exactly, torch.ones_like(RAMP))
    for bound in bounds:
        curve = RAMP * gain(RAMP, torch.tensor(bound, dtype=torch.float64))
        assert curve[0] == 0
        assert curve[-1].item() == pytest.approx(1)
        assert curve.diff().min() > -1e-12


def test_controls_act_where_they_say():
    amount = torch.tensor(1.0)
    dark, bright = torch.tensor(0.2), torch.tensor(0.8)
    assert tone.shadows_gain(dark, amount) - 1 > 5 * (tone.shadows_gain(bright, amount) - 1)
    lift = [tone.highlights_gain(y, amount) * y - y for y in (dark, bright)]
    assert lift[1] > 5 * lift[0]
    assert tone.contrast_gain(dark, amount) < 1 < tone.contrast_gain(bright, amount)


def test_gamma_passes_where_the_power_passes():
    gamma = torch.tensor(1.3)
    middle = 0.5**gamma
    assert (middle * tone.gamma_gain(middle, gamma)).item() == pytest.approx(0.5)


def test_levels_move_the_end_points():
    image = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    assert torch.equal(tone.levels(image, zero, zero), image)
    assert tone.levels(image, one, zero)[0, 2, 0, 0].item() == pytest.approx(1 / 0.75)
    assert tone.levels(image, zero, one)[0, 0, 0, 0].item() == pytest.approx(0.12 / 1.12)
    assert tone.levels(image, zero, -one)[0, 0, 0, 0] < 0
