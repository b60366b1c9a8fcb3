"""What optimisers of a picture overdo: saturation, exposure, and sharpening of a large radius.

Edits of encoded sRGB, on purpose for the worse: by them referees are tried
(`agents.evaluation.referees`) and judges are taught.
"""

import torch
from jaxtyping import Float
from kornia.filters import gaussian_blur2d
from torch import Tensor

from isp_env.color.rgb import luminance, srgb_decode, srgb_encode
from isp_env.isp.stages.color import scale_chroma
from isp_env.isp.stages.output import compress_gamut

Images = Float[Tensor, "b 3 h w"]


def saturated(images: Images, amount: float) -> Images:
    """Multiply Oklab chroma by 1 + `amount`; colours beyond the gamut are moved towards grey."""
    linear = srgb_decode(images)
    vivid = scale_chroma(linear.unbind(1), linear.new_tensor(amount), linear.new_tensor(0.0))
    return srgb_encode(torch.stack(compress_gamut(vivid), dim=1))


def overexposed(images: Images, gain: float | Float[Tensor, "b 1 1 1"]) -> Images:
    """Multiply light by `gain`, clipped channel by channel."""
    return srgb_encode((srgb_decode(images) * gain).clamp(0, 1))


def haloed(images: Images, amount: float, radius: float) -> Images:
    """Apply an unsharp mask on luma with a Gaussian of `radius` times the long side, clipped."""
    sigma = radius * max(images.shape[-2:])
    size = 2 * round(3 * sigma) + 1
    luma = luminance(images.unbind(1))[:, None]
    smooth = gaussian_blur2d(luma, (size, size), (sigma, sigma))
    return (images + amount * (luma - smooth)).clamp(0, 1)
