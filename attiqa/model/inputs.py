"""Photographs as a model takes them: pixels of any kind, checked."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from attiqa.data.photos.decoding import read_photo, rgb_pixels
from attiqa.errors import ImageFormatError
from attiqa.model.sizes import MIN_SIDE, check_size

BEYOND_DISPLAY = 2.0
"""No step of an optimiser goes so far beyond white: images above it are on another scale."""

Photo = str | Path | Image.Image | np.ndarray | Tensor
"""A file; a PIL image; (h, w, 3) uint8 or float in [0, 1]; a (3, h, w) tensor of the same."""


def to_pixels(photo: Photo) -> UInt8[Tensor, "3 h w"] | Float[Tensor, "3 h w"]:
    """Convert a photograph in any accepted form to display RGB: 8 bits, or float in [0, 1].

    Raises:
        ImageFileError: A file cannot be read.
        ImageFormatError: Another type, shape, size or range.
    """
    if isinstance(photo, str | Path):
        pixels = torch.from_numpy(read_photo(Path(photo))).movedim(-1, 0)
        check_size(pixels.shape[1:], name=f"{photo}")
        return pixels
    if isinstance(photo, Image.Image):
        photo = rgb_pixels(photo)
    if isinstance(photo, np.ndarray):
        photo = torch.from_numpy(np.array(photo)).movedim(-1, 0)
    if not isinstance(photo, Tensor) or photo.ndim != 3 or photo.shape[0] != 3:
        found = getattr(photo, "shape", type(photo).__name__)
        raise ImageFormatError(f"a photograph must be an RGB image; got {found}")
    check_size(photo.shape[1:])
    if photo.dtype == torch.uint8:
        return photo
    check_range(photo)
    return photo.float()


def to_tensor(photo: Photo) -> Float[Tensor, "3 h w"]:
    """Convert a photograph in any accepted form to display RGB in [0, 1].

    Raises:
        ImageFileError: A file cannot be read.
        ImageFormatError: Another type, shape, size or range.
    """
    pixels = to_pixels(photo)
    return pixels if pixels.is_floating_point() else pixels.float() / 255


def checked(images: Float[Tensor, "b 3 h w"], dtype: torch.dtype) -> Float[Tensor, "b 3 h w"]:
    """Raise an `ImageFormatError` as `predict` says; give the layout that is fast on a CPU."""
    check_shape(images)
    if min(images.shape[2:]) < MIN_SIDE:
        raise ImageFormatError(
            f"images must be (b, 3, h, w) with h, w >= {MIN_SIDE}; got {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise ImageFormatError(f"images must be floating point in [0, 1]; got {images.dtype}")
    images = images.to(dtype)
    if images.device.type == "cpu" and len(images):
        highest = images.detach().amax()  # NaN where there is one: it passes
        if BEYOND_DISPLAY < highest < torch.inf:
            raise ImageFormatError(f"images must be in [0, 1]; got values up to {highest:g}")
    return images.contiguous(memory_format=torch.channels_last)


def check_shape(images: object) -> None:
    """Raise an `ImageFormatError` for what is no batch of RGB images."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ImageFormatError(f"images must be (b, 3, h, w); got {found}")


def check_range(pixels: Tensor) -> None:
    """Raise an `ImageFormatError` for what is not floating point in [0, 1]; NaN is not."""
    if not pixels.is_floating_point():
        raise ImageFormatError(
            f"pixels must be uint8 or finite float in [0, 1]; got {pixels.dtype}"
        )
    low, high = pixels.min().item(), pixels.max().item()
    if not (low >= 0 and high <= 1):
        raise ImageFormatError(
            f"pixels must be uint8 or finite float in [0, 1]; got {pixels.dtype} in "
            f"[{low:g}, {high:g}]"
        )
