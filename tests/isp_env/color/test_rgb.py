import numpy as np
import pytest
import torch

from isp_env.color import rgb

NIKON = np.array([[0.9020, -0.2890, -0.0715], [-0.4535, 1.2436, 0.2348], [-0.0934, 0.1919, 0.7086]])


def test_camera_matrix_keeps_white_and_inverts_the_camera():
    matrix = rgb.camera_to_rec709(NIKON)
    assert matrix @ np.ones(3) == pytest.approx(np.ones(3))
    # a camera that is Rec. 709 itself needs no matrix
    own = rgb.camera_to_rec709(np.linalg.inv(rgb.XYZ_FROM_REC709))
    assert own == pytest.approx(np.eye(3), abs=1e-9)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), -NIKON])
def test_unusable_camera_matrix(matrix):
    with pytest.raises(ValueError, match="not a usable colour matrix"):
        rgb.camera_to_rec709(matrix)


def test_planckian_locus_against_published_points():
    # CIE 15: illuminant A is the black body at 2,856 K, (u, v) = (0.2560, 0.3495)
    uv = rgb.planckian_uv(torch.tensor([1e6 / 2856]))
    assert uv[0].tolist() == pytest.approx([0.2560, 0.3495], abs=5e-4)


def test_transfer_function_against_the_standard_and_its_inverse():
    # IEC 61966-2-1: 0.0031308 -> 0.04045, 0.18 -> 0.4614, straight below
    linear = torch.tensor([-0.1, 0.0, 0.0031308, 0.18, 1.0, 1.5], dtype=torch.float64)
    encoded = rgb.srgb_encode(linear)
    assert encoded[1:5].tolist() == pytest.approx([0, 0.04045, 0.46136, 1.0], abs=1e-5)
    assert encoded[0].item() == pytest.approx(-1.292)
    assert torch.allclose(rgb.srgb_decode(encoded), linear, atol=1e-6)
