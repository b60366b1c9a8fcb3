"""From a photograph of any size to the crops that a model sees: pure and differentiable."""

from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import five_crop

from attiqa.data.crop_protocol import CropProtocol

STRIP = 2**18
"""Pixels that are floating-point numbers at a time while a photograph is resized."""

Pixels = Float[Tensor, "b 3 h w"] | UInt8[Tensor, "b 3 h w"]


def views(
    photos: Pixels, protocol: CropProtocol, crops: Literal[1, 5] = 5
) -> Float[Tensor, "b k 3 c c"]:
    """Look at photographs as a protocol says: at each scale, the four corners and the centre.

    Args:
        photos: Display RGB: floating point in [0, 1], or 8 bits.
        protocol: The card's.
        crops: Of each scale: 5, or the centre alone.

    Returns:
        Scale by scale in the order of `protocol.short_sides`, the centre last.
    """
    size = [protocol.crop, protocol.crop]
    seen = [  # the centre is torchvision's last one
        torch.stack(five_crop(_at_scale(photos, side, protocol.crop), size)[-crops:], dim=1)
        for side in protocol.short_sides
    ]
    return torch.cat([_unit(scale) for scale in seen], dim=1).clamp(0, 1)


def resize_short_side(photos: Pixels, side: int) -> Float[Tensor, "b 3 h2 w2"]:
    """Resize (bicubic, antialiased) so that the shorter side has `side` pixels.

    The filter is separable: strips of rows are narrowed one after the other, then the narrow
    photograph is shortened. So an 8-bit photograph is never a floating-point one at full size.
    """
    height, width = photos.shape[-2:]
    new_width = side * width // min(height, width)
    rows = max(1, STRIP // width)
    strips = (_resize(_unit(strip), strip.shape[-2], new_width) for strip in photos.split(rows, -2))
    if photos.is_floating_point():
        narrow = torch.cat(list(strips), dim=-2)
    else:  # strips kept among others that are freed would tear the memory: a gigabyte of holes
        shape = (*photos.shape[:-1], new_width)
        narrow = torch.empty(shape, dtype=torch.float32, device=photos.device)
        for part, strip in zip(narrow.split(rows, -2), strips, strict=True):
            part.copy_(strip)
    return _resize(narrow, side * height // min(height, width), new_width)


def _at_scale(
    photos: Pixels, side: int, crop: int
) -> Float[Tensor, "b 3 h2 w2"] | UInt8[Tensor, "b 3 h w"]:
    """Resize to a short side; 0 keeps the size, and 8 bits until the crops are cut."""
    if side or min(photos.shape[-2:]) < crop:
        return resize_short_side(photos, side or crop)
    return photos


def _resize(photos: Float[Tensor, "b 3 h w"], height: int, width: int) -> Tensor:
    """Resize, or return the very tensor where the size is right."""
    if photos.shape[-2:] == (height, width):
        return photos
    return interpolate(photos, (height, width), mode="bicubic", antialias=True)


def _unit(pixels: Float[Tensor, "..."] | UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Convert 8 bits to [0, 1]; floating point stays as it is."""
    return pixels if pixels.is_floating_point() else pixels.float() / 255
