"""How near a rendering is to a known truth, by skimage's metrics on encoded sRGB."""

import numpy as np
from jaxtyping import Float
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor


def fidelity(image: Float[Tensor, "3 h w"], truth: Float[Tensor, "3 h w"]) -> dict[str, float]:
    """PSNR in dB, SSIM (Wang et al. 2004, Gaussian window), and mean CIEDE2000 (CIE 142-2001).

    The PSNR of equal pictures is infinite.
    """
    first, second = (
        np.clip(x.permute(1, 2, 0).cpu().double().numpy(), 0, 1) for x in (image, truth)
    )
    ssim = structural_similarity(
        second,
        first,
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    with np.errstate(divide="ignore"):
        psnr = peak_signal_noise_ratio(second, first, data_range=1.0)
    return {
        "psnr": float(psnr),
        "ssim": float(np.mean(ssim)),  # type: ignore[arg-type]  (skimage types its options badly)
        "ciede2000": float(deltaE_ciede2000(rgb2lab(second), rgb2lab(first)).mean()),
    }
