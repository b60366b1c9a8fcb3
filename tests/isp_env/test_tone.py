import pytest
import torch

from isp_env import tone

RAMP = torch.linspace(0, 1, 1001, dtype=torch.float64)
CURVES = {
    "shadows": (tone.shadows_gain, (-1.0, 1.0), 0.0),
    "highlights": (tone.highlights_gain, (-1.0, 1.0), 0.0),
    "contrast": (tone.contrast_gain, (-0.6, 1.0), 0.0),
    "gamma": (tone.gamma_gain, (1 / 1.5, 1.5), 1.0),
}


def test_neutral_curve_is_monotone_fixes_the_ends_and_lifts_the_midtones():
    curve = tone.neutral_curve(RAMP.expand(3, 1, -1))[0, 0]
    assert curve[0] == 0
    assert curve[-1].item() == pytest.approx(1)
    assert curve.diff().min() > 0
    assert 0.55 < curve[180].item() < 0.68  # 18 % of sensor white; 0.46 by the sRGB curve alone


def test_neutral_curve_rolls_off_above_white():
    values = tone.neutral_curve(torch.tensor([1.0, 2.0, 4.0]).expand(3, 1, -1))[0, 0]
    assert values.diff().min() > 0
    assert values[-1] < 1.4


def test_inverse():
    ramp = RAMP.expand(3, 1, -1)
    assert torch.allclose(tone.inverse_neutral_curve(tone.neutral_curve(ramp)), ramp, atol=1e-6)


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
