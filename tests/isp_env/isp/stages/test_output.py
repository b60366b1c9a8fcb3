import pytest
import torch

from isp_env.color import rgb
from isp_env.isp.stages.output import compress_gamut


def compress(image: torch.Tensor) -> torch.Tensor:
    return torch.stack(compress_gamut(image.unbind(0)))


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
