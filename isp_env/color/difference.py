"""How far pictures are from their truth in CIELAB, differentiable: for losses and rewards."""

import kornia
import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 1e-4  # keeps slopes finite where two colours are equal, and of greys


def cie94(
    images: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b h w"]:
    """Return CIE94 of each pixel (CIE 116-1995, graphic arts: K1 = 0.045, K2 = 0.015, k = 1).

    About 0.01 too large where two colours are equal.

    Args:
        images: Encoded sRGB in [0, 1].
        truth: The same of the reference, whose chroma sets the tolerance.
    """
    lab, reference = kornia.color.rgb_to_lab(images), kornia.color.rgb_to_lab(truth)
    difference = lab - reference
    chroma = lab[:, 1:].square().sum(1).add(SMALL).sqrt()
    expected = reference[:, 1:].square().sum(1).add(SMALL).sqrt()
    of_chroma = (chroma - expected).square()
    of_hue = (difference[:, 1:].square().sum(1) - of_chroma).clamp(min=0)
    squared = (
        difference[:, 0].square()
        + of_chroma / (1 + 0.045 * expected).square()
        + of_hue / (1 + 0.015 * expected).square()
    )
    return (squared + SMALL).sqrt()


def chroma_and_contrast(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2"]:
    """Return the mean chroma C*ab of pictures, and the standard deviation of their L*.

    The latter is the RMS contrast (Peli 1990, Contrast in complex images) of lightness.

    Args:
        images: Encoded sRGB in [0, 1].
    """
    lab = kornia.color.rgb_to_lab(images)
    chroma = lab[:, 1:].square().sum(1).add(SMALL).sqrt().mean((1, 2))
    spread = (lab[:, 0].flatten(1).var(1, correction=0) + SMALL).sqrt()
    return torch.stack([chroma, spread], dim=1)


def dullness(
    images: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, " b"]:
    """Measure the distance of chroma and contrast from the truth's, in CIELAB units.

    The sum of the absolute differences of `chroma_and_contrast`. The nearest picture to all that a
    photograph may have been is greyer and flatter than each of them (Blau & Michaeli 2018, The
    perception-distortion tradeoff); a charge for this counts against it.

    Args:
        images: Encoded sRGB in [0, 1].
        truth: The same of the reference.
    """
    return (chroma_and_contrast(images) - chroma_and_contrast(truth)).abs().sum(1)
