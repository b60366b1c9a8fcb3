"""From a photograph of any size to the crops that a model sees: pure and differentiable."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import five_crop

from attiqa.checkpoints import Protocol

STRIP = 2**18
"""Pixels that are floating-point numbers at a time while a photograph is resized."""

Pixels = Float[Tensor, "b 3 h w"] | UInt8[Tensor, "b 3 h w"]


def views(photos: Pixels, protocol: Protocol) -> Float[Tensor, "b k 3 c c"]:
    """Look at photographs as a protocol says: resized, then the four corners and the centre.

    Args:
        photos: Display RGB: floating point in [0, 1], or 8 bits.
        protocol: The card's.
    """
    resized = resize_short_side(photos, protocol.short_side).clamp(0, 1)
    return torch.stack(five_crop(resized, [protocol.crop, protocol.crop]), dim=1)


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


def _resize(photos: Float[Tensor, "b 3 h w"], height: int, width: int) -> Tensor:
    """Resize, or return the very tensor where the size is right."""
    if photos.shape[-2:] == (height, width):
        return photos
    return interpolate(photos, (height, width), mode="bicubic", antialias=True)


def _unit(photos: Pixels) -> Float[Tensor, "b 3 h w"]:
    """Convert 8 bits to [0, 1]; floating point stays as it is."""
    return photos if photos.is_floating_point() else photos.float() / 255
