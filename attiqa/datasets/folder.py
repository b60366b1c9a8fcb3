"""Photographs from files: listing a folder, and many in one memory-mapped array."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from attiqa.errors import DatasetLayoutError
from attiqa.image_files import read_photo

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def list_photos(folder: Path) -> tuple[Path, ...]:
    """List the image files below a folder in the order of their paths.

    Raises:
        DatasetLayoutError: There are none.
    """
    paths = tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES))
    if not paths:
        raise DatasetLayoutError(f"{folder}: no image files; looked for {sorted(SUFFIXES)}")
    return paths


class PhotoFiles:
    """Image files as a sequence that decodes a photograph when it is asked for."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "h w 3"]:
        """Read one photograph."""
        return read_photo(self.paths[index])


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def cache_photos(paths: Sequence[Path], side: int, folder: Path) -> UInt8[np.ndarray, "n s s 3"]:
    """Decode photographs once into a memory-mapped array, and map it again later.

    Each is resized to `side` at its short side and cropped to the central square.

    Args:
        paths: The image files.
        side: Pixels of the square.
        folder: Where the array is kept, under a name made of the files' contents and `side`.

    Raises:
        ImageFileError: A file cannot be read.
    """
    cache = folder / f"{content_hash(paths)[:16]}_{side}.npy"
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(".part")
        shape = (len(paths), side, side, 3)
        pixels = np.lib.format.open_memmap(part, "w+", dtype=np.uint8, shape=shape)
        for row, path in zip(pixels, paths, strict=True):
            photo = Image.fromarray(read_photo(path))
            row[:] = ImageOps.fit(photo, (side, side), Image.Resampling.BICUBIC)
        pixels.flush()
        part.replace(cache)
    return np.load(cache, mmap_mode="r")
