"""Photographs that are decoded once, at the size that a protocol looks at, and mapped afterwards.

A photograph of 12 megapixels takes a hundred times as long to decode as a training step spends on
its crop; trained on for 100 epochs and ten splits, it would be decoded a thousand times. Resizing
to the protocol's short side before cropping is what ATTIQA (section 4.2) does, too; what the cache
adds is rounding to 8 bits.

A cache is a folder of parts of `PART` photographs, each an array of bytes and the sizes of its
photographs. A part appears whole or not at all, any number of processes fill a cache together, and
one that was interrupted goes on. The folder's name tells file names, their sizes and dates, and the
short side: other photographs get another cache.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Int, UInt8
from rich.progress import track

from attiqa.data.photos.decoding import read_photo
from attiqa.data.views import resize_short_side
from attiqa.files import companion

PART = 256
"""Photographs per file: 120 MB at a short side of 340."""


class CachedPhotos:
    """Photographs of a cache as a sequence, 8-bit RGB, mapped from the disk.

    Args:
        parts: Array of bytes and sizes (n, 2: height, width) of each part.
        rows: Which photographs of the cache, in this order.
    """

    def __init__(
        self,
        parts: Sequence[tuple[UInt8[np.ndarray, " _"], Int[np.ndarray, "_ 2"]]],
        rows: Int[np.ndarray, " m"],
    ) -> None:
        self._parts = parts
        self._starts = [np.cumsum(3 * sizes.prod(1)) - 3 * sizes.prod(1) for _, sizes in parts]
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "h w 3"]:
        """Map one photograph."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        part, place = divmod(int(self.rows[index]), PART)
        pixels, sizes = self._parts[part]
        height, width = (int(side) for side in sizes[place])
        start = int(self._starts[part][place])
        return pixels[start : start + 3 * height * width].reshape(height, width, 3)

    def choose(self, rows: Int[np.ndarray, " k"]) -> "CachedPhotos":
        """Return some of these photographs."""
        return CachedPhotos(self._parts, self.rows[rows])


def cache_pixels(
    paths: Sequence[Path], short_side: int, folder: Path, threads: int = 1
) -> CachedPhotos:
    """Decode what a cache lacks, with a progress bar, and map it.

    Args:
        paths: The image files.
        short_side: Pixels that the shorter side is resized to (bicubic, antialiased).
        folder: Holds caches; one is added to it.
        threads: Photographs that are decoded at once.

    Raises:
        ImageFileError: A file cannot be read.
    """
    cache = folder / _key(paths, short_side)
    cache.mkdir(parents=True, exist_ok=True)
    count = -(-len(paths) // PART)
    missing = [part for part in range(count) if not _sizes(cache, part).exists()]
    taken = []
    label = f"decoding {len(paths)} photographs at {short_side} pixels"
    for part in track(missing, label, disable=not missing, transient=True):
        if not _fill(cache, part, paths, short_side, threads, wait=False):
            taken.append(part)
    for part in taken:  # by another process: done by now, or left undone by one that was stopped
        _fill(cache, part, paths, short_side, threads, wait=True)
    parts = [
        (np.load(_pixels(cache, part), mmap_mode="r"), np.load(_sizes(cache, part)))
        for part in range(count)
    ]
    return CachedPhotos(parts, np.arange(len(paths)))


def _fill(
    cache: Path, part: int, paths: Sequence[Path], short_side: int, threads: int, wait: bool
) -> bool:
    """Make a part, unless it is there; False where another process is making it."""

    def resized(path: Path) -> UInt8[np.ndarray, "h w 3"]:
        pixels = torch.from_numpy(np.array(read_photo(path))).permute(2, 0, 1)[None]
        small = resize_short_side(pixels, short_side).clamp(0, 1)
        return (small[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()

    try:
        with FileLock(cache / f"{part:05}.lock", timeout=-1 if wait else 0):
            if _sizes(cache, part).exists():
                return True
            with ThreadPoolExecutor(threads) as pool:
                photos = list(pool.map(resized, paths[part * PART : (part + 1) * PART]))
            _save(_pixels(cache, part), np.concatenate([photo.ravel() for photo in photos]))
            # the last file: with it the part is done
            _save(_sizes(cache, part), np.array([photo.shape[:2] for photo in photos]))
    except Timeout:
        return False
    return True


def _save(path: Path, array: np.ndarray) -> None:
    new = companion(path, ".part")
    with new.open("wb") as file:
        np.save(file, array)
    os.replace(new, path)


def _pixels(cache: Path, part: int) -> Path:
    return cache / f"{part:05}.pixels.npy"


def _sizes(cache: Path, part: int) -> Path:
    return cache / f"{part:05}.sizes.npy"


def _key(paths: Sequence[Path], short_side: int) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        row = f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(row.encode(errors="surrogateescape"))
    return f"{digest.hexdigest()[:16]}_{short_side}"
