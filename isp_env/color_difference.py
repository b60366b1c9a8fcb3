"""Colour difference of pictures, differentiable: CIE94, whose reference is the truth."""

import kornia
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
