import numpy as np
import pytest
import torch
from skimage.color import lab2xyz, xyz2lab

from isp_env.color import rgb

ZERO = torch.tensor(0.0)
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


def test_white_balance_is_identity_at_zero_and_signed():
    zero = torch.zeros(1)
    assert torch.equal(rgb.white_balance_matrix(zero, zero)[0], torch.eye(3))
    grey = torch.ones(3)
    warm = rgb.white_balance_matrix(torch.tensor([40.0]), zero)[0] @ grey
    assert warm[0] > 1.05
    assert warm[2] < 0.9
    magenta = rgb.white_balance_matrix(zero, torch.tensor([15.0]))[0] @ grey
    assert magenta[1] < magenta[0]
    assert magenta[1] < magenta[2]
    for white in (warm, magenta):
        luminance = torch.tensor(rgb.REC709_LUMINANCE) @ white
        assert luminance.item() == pytest.approx(1.0, abs=1e-5)


def xyz2linear(xyz: np.ndarray) -> np.ndarray:
    return xyz @ np.linalg.inv(rgb.XYZ_FROM_REC709).T


def test_saturation_scales_chroma_and_keeps_lightness():
    lab = np.broadcast_to([60.0, 20.0, -15.0], (1, 4, 4, 3))
    image = torch.from_numpy(xyz2linear(lab2xyz(lab))).permute(0, 3, 1, 2).float()
    more = torch.stack(rgb.scale_chroma(image.unbind(1), torch.tensor(0.4), ZERO), dim=1)
    after = xyz2lab(more.permute(0, 2, 3, 1).double().numpy() @ rgb.XYZ_FROM_REC709.T)[0, 0, 0]
    assert after[0] == pytest.approx(60, abs=1.5)
    assert np.hypot(after[1], after[2]) / 25 == pytest.approx(1.4, rel=0.1)
    same = torch.stack(rgb.scale_chroma(image.unbind(1), ZERO, ZERO), dim=1)
    assert torch.equal(same, image)


def test_vibrance_moves_muted_colours_more_than_vivid_ones():
    muted, vivid = torch.tensor([0.55, 0.5, 0.45]), torch.tensor([0.9, 0.2, 0.1])
    image = torch.stack([muted, vivid], dim=1)
    change = torch.stack(rgb.scale_chroma(image.unbind(0), ZERO, torch.tensor(0.5))) - image
    relative = change.abs().sum(0) / (image - image.mean(0)).abs().sum(0)
    assert relative[0] > 2 * relative[1]


def compress(image: torch.Tensor) -> torch.Tensor:
    return torch.stack(rgb.compress_gamut(image.unbind(0)))


def test_gamut_compression_keeps_hue_and_inside_colours():
    inside = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(compress(inside), inside, atol=1e-6)
    outside = torch.tensor([1.4, 0.6, 0.5])[:, None]
    result = compress(outside)
    assert result.max() <= 1
    offset, before = (x - rgb.luminance(x.unbind(0)) for x in (result, outside))
    ratio = offset / before  # one factor for the three channels: the hue stays
    assert ratio.max() - ratio.min() < 1e-5
    luminances = [rgb.luminance(x.unbind(0)).item() for x in (result, outside)]
    assert luminances[0] == pytest.approx(luminances[1], abs=1e-5)
    assert compress(torch.full((3, 1), 2.0)).unique().tolist() == [1.0]


def test_transfer_function_against_the_standard_and_its_inverse():
    # IEC 61966-2-1: 0.0031308 -> 0.04045, 0.18 -> 0.4614, straight below
    linear = torch.tensor([-0.1, 0.0, 0.0031308, 0.18, 1.0, 1.5], dtype=torch.float64)
    encoded = rgb.srgb_encode(linear)
    assert encoded[1:5].tolist() == pytest.approx([0, 0.04045, 0.46136, 1.0], abs=1e-5)
    assert encoded[0].item() == pytest.approx(-1.292)
    assert torch.allclose(rgb.srgb_decode(encoded), linear, atol=1e-6)
