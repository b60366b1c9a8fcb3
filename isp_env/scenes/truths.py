"""Good photographs as truths: which are trained on, and random crops of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

Part = Literal["training", "referee", "held out"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
ASPECTS = ((3, 2), (4, 3), (2, 3), (3, 4), (16, 9), (1, 1))
"""Width to height of photographs, from the most frequent on."""
ASPECT_SHARES = (0.35, 0.25, 0.15, 0.1, 0.05, 0.1)


def part_of(name: str) -> Part:
    """Return the part that a photograph belongs to by its file name, in every training alike.

    A fifth is held out from everything; a fifth is for referees, and unknown to rewards; the others
    teach rewards and policies.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % 10
    return "held out" if number < 2 else "referee" if number < 4 else "training"


def photographs_in(folder: Path) -> list[Path]:
    """Return the image files in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def read_truths(paths: Sequence[Path], short_side: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Read photographs upright as sRGB, reduced to at most `short_side` pixels."""
    pictures = []
    for path in paths:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
        scale = short_side / min(picture.size)
        if scale < 1:
            size = (round(picture.width * scale), round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        pictures.append(np.asarray(picture))
    return pictures


def random_size(random: np.random.Generator, long_side: int) -> tuple[int, int]:
    """Draw height and width of a picture as photographs have them; both are even."""
    width, height = ASPECTS[random.choice(len(ASPECTS), p=ASPECT_SHARES)]
    scale = long_side / max(width, height) / 2
    return 2 * round(height * scale), 2 * round(width * scale)


def random_crops(
    photos: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    size: tuple[int, int],
    random: np.random.Generator,
    least: float = 0.75,
) -> Float[Tensor, "b 3 rows columns"]:
    """Cut a crop of one shape out of each photograph, flipped or not.

    Args:
        photos: 8-bit sRGB.
        size: Height and width of the result.
        random: Source of place, size and flip.
        least: Smallest crop, as a share of the largest of this shape that fits.

    Returns:
        Encoded sRGB in [0, 1].
    """
    crops = []
    for photo in photos:
        height, width = photo.shape[:2]
        scale = min(height / size[0], width / size[1]) * random.uniform(least, 1)
        rows, columns = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
        top = random.integers(height - rows + 1)
        left = random.integers(width - columns + 1)
        crop = photo[top : top + rows, left : left + columns]
        if random.random() < 0.5:
            crop = crop[:, ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / 255
        crops.append(functional.interpolate(pixels, size, mode="bilinear", antialias=True))
    return torch.cat(crops).clamp(0, 1)
