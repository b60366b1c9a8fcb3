import numpy as np
import pytest
import torch
from skimage.color import lab2xyz, xyz2lab

from isp_env.color import rgb
from isp_env.isp.stages.color import scale_chroma

ZERO = torch.tensor(0.0)


def xyz2linear(xyz: np.ndarray) -> np.ndarray:
    return xyz @ np.linalg.inv(rgb.XYZ_FROM_REC709).T


def test_saturation_scales_chroma_and_keeps_lightness():
    lab = np.broadcast_to([60.0, 20.0, -15.0], (1, 4, 4, 3))
    image = torch.from_numpy(xyz2linear(lab2xyz(lab))).permute(0, 3, 1, 2).float()
    more = torch.stack(scale_chroma(image.unbind(1), torch.tensor(0.4), ZERO), dim=1)
    after = xyz2lab(more.permute(0, 2, 3, 1).double().numpy() @ rgb.XYZ_FROM_REC709.T)[0, 0, 0]
    assert after[0] == pytest.approx(60, abs=1.5)
    assert np.hypot(after[1], after[2]) / 25 == pytest.approx(1.4, rel=0.1)
    same = torch.stack(scale_chroma(image.unbind(1), ZERO, ZERO), dim=1)
    assert torch.equal(same, image)


def test_vibrance_moves_muted_colours_more_than_vivid_ones():
    muted, vivid = torch.tensor([0.55, 0.5, 0.45]), torch.tensor([0.9, 0.2, 0.1])
    image = torch.stack([muted, vivid], dim=1)
    change = torch.stack(scale_chroma(image.unbind(0), ZERO, torch.tensor(0.5))) - image
    relative = change.abs().sum(0) / (image - image.mean(0)).abs().sum(0)
    assert relative[0] > 2 * relative[1]
