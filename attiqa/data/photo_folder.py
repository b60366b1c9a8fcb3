"""Photographs from files: listing a folder, and many in one memory-mapped array.

Photographs are found through symbolic links, each once, and nothing is left out unsaid. Files of
the system (AppleDouble files `._*`, thumbnails of a NAS in `@eaDir`) are no photographs though
their suffixes say so; pipes, sockets and devices are none either.
"""

import hashlib
import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from attiqa.data.photos.decoding import read_photo
from attiqa.data.photos.formats import kind_of_file, missing_extra, photo_suffixes
from attiqa.errors import DatasetLayoutError

logger = logging.getLogger(__name__)

APPLE_DOUBLE = "._"
SYSTEM_FOLDERS = frozenset({"@eadir", ".appledouble", "__macosx"})
"""Of QNAP and Synology, netatalk and macOS archives; in small letters."""

MOST_KINDS = 12
"""So many kinds of passed-over files are named in the log."""

FileKey = tuple[int, int]
"""Device and inode: the same for all names of one file."""


def list_photos(folder: Path) -> tuple[Path, ...]:
    """List the image files below a folder in the order of their paths.

    Symbolic links are followed. What a link shows a second time is not listed again: the place
    itself goes before links to it. One line of the log says what was passed over; a folder that
    cannot be searched is a warning.

    Raises:
        DatasetLayoutError: There are none, or the folder itself cannot be searched.
    """
    search = _Search()
    search.run(folder)
    search.require_photos(folder)
    if passed := search.passed_over():
        logger.info("%s: %d image files%s", _printable(folder), len(search.photos), passed)
    return tuple(sorted(search.photos))


def count_photos(folder: Path, most: int) -> int:
    """Count the image files below a folder, as `list_photos` finds them, and stop after `most`.

    Raises:
        DatasetLayoutError: There are none, or the folder itself cannot be searched.
    """
    search = _Search(most=most)
    search.run(folder)
    search.require_photos(folder)
    return min(len(search.photos), most)


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
    """Return the SHA-256 over the contents of files, in the order given."""
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


@dataclass
class _Search:
    """A walk over folders: those that links lead to come last.

    Attributes:
        most: Photographs after which it need not go on.
    """

    most: int = sys.maxsize
    photos: list[Path] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    linked_files: list[Path] = field(default_factory=list)
    linked_folders: deque[Path] = field(default_factory=deque)
    seen: set[FileKey] = field(default_factory=set)

    def run(self, root: Path) -> None:
        """Search a folder, then the folders and files that links in it lead to."""
        try:
            os.scandir(root).close()
        except OSError as error:
            raise DatasetLayoutError(f"{root}: cannot be searched for images: {error}") from error
        folders = deque([root])
        while (folders or self.linked_folders) and len(self.photos) < self.most:
            folder = folders.popleft() if folders else self.linked_folders.popleft()
            try:
                key = _key(os.stat(folder))
                if key in self.seen:
                    self.passed["links to what is listed"] += 1
                    continue
                self.seen.add(key)
                folders += self._search_one(folder, device=key[0])
            except OSError as error:
                logger.warning("%s: cannot be searched: %s", _printable(folder), error.strerror)
        for path in self.linked_files:
            self._add_linked(path)

    def passed_over(self) -> str:
        """Say what was passed over, for the end of a message."""
        return f"; passed over: {_summary(self.passed)}" if self.passed else ""

    def require_photos(self, root: Path) -> None:
        """Raise a `DatasetLayoutError` where nothing was found."""
        if not self.photos:
            raise DatasetLayoutError(
                f"{root}: no image files{self.passed_over() or '; it is empty'}; expected files "
                "such as .jpg, .png, .tif, .webp or .avif"
            )

    def _search_one(self, folder: Path, device: int) -> Iterator[Path]:
        """Take the files of a folder; yields its subfolders that are no links."""
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            if _is_folder(entry):
                if entry.name.lower() in SYSTEM_FOLDERS:
                    self.passed[f"folders {entry.name}"] += 1
                elif entry.is_symlink():
                    self.linked_folders.append(folder / entry.name)
                else:
                    yield folder / entry.name
            elif entry.name.startswith(APPLE_DOUBLE):
                self.passed["._* of macOS"] += 1
            elif Path(entry.name).suffix.lower() not in photo_suffixes():
                self.passed[Path(entry.name).suffix.lower() or "without a suffix"] += 1
            elif entry.is_symlink():
                self.linked_files.append(folder / entry.name)
            elif entry.is_file():
                self.seen.add((device, entry.inode()))
                self.photos.append(folder / entry.name)
            else:
                self.passed[kind_of_file(entry.stat().st_mode).removeprefix("a ") + "s"] += 1

    def _add_linked(self, path: Path) -> None:
        """Take a file that a link leads to, unless it is listed."""
        try:
            status = os.stat(path)
        except OSError:
            self.passed["broken links"] += 1
            return
        kind = kind_of_file(status.st_mode)
        if kind != "a file":
            self.passed[kind.removeprefix("a ") + "s"] += 1
        elif _key(status) in self.seen:
            self.passed["links to what is listed"] += 1
        else:
            self.seen.add(_key(status))
            self.photos.append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _key(status: os.stat_result) -> FileKey:
    return status.st_dev, status.st_ino


def _summary(passed: Counter[str]) -> str:
    """Say how many files of which kind, the most frequent first."""
    named = [f"{count} {_printable(kind)}{_advice(kind)}" for kind, count in passed.most_common()]
    if len(named) > MOST_KINDS:
        rest = sum(count for _, count in passed.most_common()[MOST_KINDS:])
        named = [*named[:MOST_KINDS], f"{rest} of other kinds"]
    return ", ".join(named)


def _advice(kind: str) -> str:
    extra = missing_extra(kind)
    return f" (to read them: pip install 'attiqa[{extra}]')" if extra else ""


def _printable(name: Path | str) -> str:
    """Write bytes that are no text as escapes: a log may be unable to hold them."""
    return str(name).encode(errors="backslashreplace").decode()
