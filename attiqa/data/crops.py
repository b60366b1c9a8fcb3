"""Random crops of photographs at random scales: what the networks are trained on."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import InterpolationMode, resized_crop

from attiqa.data.crop_protocol import CropSettings


@runtime_checkable
class Photos(Protocol):
    """Photographs by index, 8-bit RGB: a list, an array, or files that are decoded when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class RandomCrops(Dataset[tuple[int, UInt8[Tensor, "3 s s"]]]):
    """One random crop of each photograph per epoch; a mirror image every other time.

    A crop depends on (seed, epoch, index) alone: neither workers nor a resumed run change it.
    Nothing but scale, place and mirroring varies, since all else would change the attributes.
    """

    def __init__(self, photos: Photos, settings: CropSettings, seed: int) -> None:
        self.photos = photos
        self.settings = settings
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[int, UInt8[Tensor, "3 s s"]]:
        """Draw the crop of one photograph."""
        random = np.random.default_rng((self.seed, self.epoch, index))
        photo = self.photos[index]
        height, width = photo.shape[:2]
        size, (low, high) = self.settings.size, self.settings.short_side
        short_side = np.exp(random.uniform(np.log(low), np.log(high)))
        window = min(round(size * min(height, width) / short_side), height, width)
        top = int(random.integers(height - window + 1))
        left = int(random.integers(width - window + 1))
        pixels = np.ascontiguousarray(photo[top : top + window, left : left + window])
        if random.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        crop = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        return index, resized_crop(
            crop, 0, 0, window, window, [size, size], InterpolationMode.BICUBIC, antialias=True
        )
