import pytest
import torch

from isp_env.color.rgb import REC709_LUMINANCE
from isp_env.isp.stages.white_balance import white_balance_matrix


def test_white_balance_is_identity_at_zero_and_signed():
    zero = torch.zeros(1)
    assert torch.equal(white_balance_matrix(zero, zero)[0], torch.eye(3))
    grey = torch.ones(3)
    warm = white_balance_matrix(torch.tensor([40.0]), zero)[0] @ grey
    assert warm[0] > 1.05
    assert warm[2] < 0.9
    magenta = white_balance_matrix(zero, torch.tensor([15.0]))[0] @ grey
    assert magenta[1] < magenta[0]
    assert magenta[1] < magenta[2]
    for white in (warm, magenta):
        luminance = torch.tensor(REC709_LUMINANCE) @ white
        assert luminance.item() == pytest.approx(1.0, abs=1e-5)
