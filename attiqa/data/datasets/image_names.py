"""Names in label files, and the image files that they stand for.

Label files are written on one system and read on another: macOS decomposes the letters of file
names (NFD) where others compose them (NFC, Unicode Standard Annex 15), Windows separates folders by
backslashes and ignores the case of letters, and programs begin relative names with `./`.
"""

import os
import posixpath
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from attiqa.errors import DatasetLayoutError


def name_key(name: str) -> str:
    """Reduce a name to what all its spellings share."""
    return _folded(posixpath.normpath(name.replace("\\", "/")))


class ImageNames:
    """The image files below a folder by the names that labels give them."""

    def __init__(self, images: Path) -> None:
        self._images = images
        self._listings: dict[Path, dict[str, tuple[str, ...]]] = {}

    def find(self, name: str) -> Path | None:
        """Find the file of a name: exactly that one, else one spelt differently; None if neither.

        Several files may differ in the spelling alone: the composed form of the label's own letters
        goes before one with letters of another case.
        """
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            parts = posixpath.normpath(spelling).split("/")
            path = Path("/") if spelling.startswith("/") else self._images
            path = self._descend(path, [part for part in parts if part])
            if path is not None:
                return path
        return None

    def require(self, name: str) -> Path:
        """Find the file of a name.

        Raises:
            DatasetLayoutError: There is none.
        """
        path = self.find(name)
        if path is None:
            raise DatasetLayoutError(f"{self._images}: expected the image {name}, which is missing")
        return path

    def _descend(self, folder: Path, parts: Sequence[str]) -> Path | None:
        if not parts:
            return None  # the name is "/": a folder
        *folders, last = parts
        for part in folders:
            if part == "..":
                folder = folder / part
                continue
            entry = self._entry(folder, part, is_folder=True)
            if entry is None:
                return None
            folder = folder / entry
        entry = self._entry(folder, last, is_folder=False)
        return None if entry is None else folder / entry

    def _entry(self, folder: Path, name: str, is_folder: bool) -> str | None:
        """Choose among the entries that differ in spelling alone."""
        same = self._listing(folder).get(_folded(name) + "/" * is_folder, ())
        composed = unicodedata.normalize("NFC", name)
        ranked = sorted(
            same,
            key=lambda entry: (entry != name, unicodedata.normalize("NFC", entry) != composed),
        )
        return ranked[0] if ranked else None

    def _listing(self, folder: Path) -> dict[str, tuple[str, ...]]:
        """List a folder once; folders have a slash behind their key."""
        if folder not in self._listings:
            listing: dict[str, tuple[str, ...]] = {}
            if folder.is_dir():
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        key = _folded(entry.name) + "/" * entry.is_dir()
                        listing[key] = (*listing.get(key, ()), entry.name)
            self._listings[folder] = listing
        return self._listings[folder]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())
