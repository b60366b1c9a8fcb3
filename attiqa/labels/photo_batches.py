"""What the workers of labelling do: read, hash and cut photographs, batch by batch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import center_crop, five_crop

from attiqa.data.photo_folder import read_photo
from attiqa.errors import AttiqaError

LONGEST = 4
"""Aspect ratio beyond which the ends of a photograph are cut off before it is resized."""


@dataclass(frozen=True)
class Cut:
    """What the teacher sees of a photograph: squares of one size, 8 bits, cut by the workers.

    Resizing is bicubic with antialiasing and rounds to 8 bits, as CLIP's own preprocessing does.

    Attributes:
        view: `center`: short side resized to the side, square in the centre. `native5`: corners and
            centre at the native scale, whose labels are averaged; a photograph smaller than the
            side is enlarged to it.
        side: Of the squares in pixels.
    """

    view: Literal["center", "native5"]
    side: int

    def __call__(self, photo: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "v 3 s s"]:
        """Cut one photograph of any size."""
        pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
        square = [self.side, self.side]
        if self.view == "native5":
            enlarged = pixels if min(pixels.shape[1:]) >= self.side else self._resize(pixels)
            return torch.stack(five_crop(enlarged, square))
        return center_crop(self._resize(pixels), square)[None].contiguous()

    def _resize(self, pixels: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h2 w2"]:
        height, width = (min(n, LONGEST * min(pixels.shape[1:])) for n in pixels.shape[1:])
        pixels = center_crop(pixels, [height, width])
        size = [self.side * n // min(height, width) for n in (height, width)]
        return F.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0]


class PhotoRow(NamedTuple):
    """The columns of a label that the file itself gives."""

    path: str
    width: int
    height: int
    bytes: int
    sha256: str


class Reject(NamedTuple):
    """The columns of an image without a label."""

    path: str
    reason: str


class PhotoBatch(NamedTuple):
    """What a worker hands over; no squares where nothing of the photographs is to be seen."""

    rows: list[PhotoRow]
    squares: UInt8[Tensor, "b v 3 s s"] | None
    rejects: list[Reject]


class PhotoBatches(Dataset[PhotoBatch]):
    """Batches of photographs by their paths; this is what runs in the workers."""

    def __init__(self, folder: Path, cut: Cut | None) -> None:
        self.folder = folder
        self.cut = cut

    def __getitem__(self, paths: Sequence[str]) -> PhotoBatch:
        """Read those that can be read; say why the others cannot."""
        rows, squares, rejects = [], [], []
        for path in paths:
            try:
                with (self.folder / path).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    size = file.tell()
                photo = read_photo(self.folder / path)
            except (AttiqaError, OSError) as error:
                rejects.append(Reject(path, str(error)))
                continue
            rows.append(PhotoRow(path, photo.shape[1], photo.shape[0], size, digest))
            if self.cut:
                squares.append(self.cut(photo))
        return PhotoBatch(rows, torch.stack(squares) if squares else None, rejects)
