import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import Parameter, to_theta, to_values

GAMMA = Parameter("gamma", "", 0.5, 1.0, 4.0, "log")
DENOISE = Parameter("denoise", "", 0.0, 0.25, 1.0)


def test_ends_and_neutral():
    theta = torch.tensor([-1.0, 0.0, 1.0])
    assert DENOISE.to_value(theta).tolist() == [0.0, 0.25, 1.0]
    assert GAMMA.to_value(theta).tolist() == pytest.approx([0.5, 1.0, 4.0])
    assert GAMMA.to_value(torch.tensor([0.5])).item() == pytest.approx(2.0)  # halfway in octaves


def test_neutral_is_exact_for_every_knob():
    zero = torch.zeros(1)
    for parameter in DEFAULT_PIPELINE.parameters:
        assert torch.equal(parameter.to_value(zero), torch.tensor([parameter.neutral]))


def test_every_knob_has_a_slope_at_neutral():
    for parameter in DEFAULT_PIPELINE.parameters:
        theta = torch.zeros(1, requires_grad=True)
        parameter.to_value(theta).sum().backward()
        assert theta.grad is not None
        assert theta.grad.item() > 0


@given(st.floats(-1, 1), st.sampled_from(DEFAULT_PIPELINE.parameters))
def test_round_trip(theta, parameter):
    value = parameter.to_value(torch.tensor([theta], dtype=torch.float64))
    assert parameter.low - 1e-9 <= value.item() <= parameter.high + 1e-9
    assert parameter.to_theta(value).item() == pytest.approx(theta, abs=1e-9)


def test_theta_by_name():
    theta = to_theta(DEFAULT_PIPELINE.parameters, {"exposure": 1.0})
    values = to_values(DEFAULT_PIPELINE.parameters, theta)
    assert values["exposure"].item() == pytest.approx(1.0)
    assert values["gamma"].item() == 1.0


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="unknown parameter blur; known: denoise"):
        to_theta(DEFAULT_PIPELINE.parameters, {"blur": 1.0})
    with pytest.raises(ValueError, match=r"exposure: expected -2\.\.2 EV, got 5"):
        to_theta(DEFAULT_PIPELINE.parameters, {"exposure": 5.0})
    with pytest.raises(ValueError, match="low <= neutral <= high"):
        Parameter("x", "", 1.0, 0.0, 2.0)
    with pytest.raises(ValueError, match="log scale"):
        Parameter("x", "", 0.0, 1.0, 2.0, "log")
    with pytest.raises(ValueError, match="theta has 2 columns"):
        to_values(DEFAULT_PIPELINE.parameters, torch.zeros(1, 2))


def test_there_are_at_least_twelve_distinct_knobs():
    names = [p.name for p in DEFAULT_PIPELINE.parameters]
    assert len(names) == len(set(names)) >= 12
