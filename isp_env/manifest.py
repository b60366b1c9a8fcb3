"""What a batch has finished, so that it goes on where it was stopped.

One line of JSON for each file, appended and forced to the disk when its picture is there: a line
that a power failure tore is left out when the manifest is read.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NAME = ".render-manifest.jsonl"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One finished picture.

    Attributes:
        source: RAW file.
        source_size: Its bytes.
        source_mtime_ns: Its time stamp.
        source_sha256: Its content.
        recipe: Hash of all that the picture depends on beside the source.
        output: Picture, relative to the folder of the manifest.
        output_size: Its bytes.
    """

    source: str
    source_size: int
    source_mtime_ns: int
    source_sha256: str
    recipe: str
    output: str
    output_size: int


class Manifest:
    """Entries of one output folder by the picture's name; the last one counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.entries: dict[str, Entry] = {}
        if self.path.exists():
            for line in self.path.read_bytes().splitlines():
                try:
                    entry = Entry(**json.loads(line))
                except (ValueError, TypeError):  # torn, or of another version
                    continue
                self.entries[entry.output] = entry

    def add(self, entry: Entry) -> None:
        """Record a finished picture, on the disk when this returns."""
        line = json.dumps(asdict(entry), separators=(",", ":")).encode()
        with self.path.open("ab") as file:
            # begins on a line of its own, whatever a torn one left behind
            file.write(b"\n" + line + b"\n" if file.tell() else line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries[entry.output] = entry

    def is_done(self, source: Path, recipe: str, output: Path) -> bool:
        """Whether `output` is there as this recipe made it of this content of `source`.

        The content is compared only where size or time stamp differ.
        """
        entry = self.entries.get(self.name_of(output))
        if entry is None or entry.recipe != recipe or not output.is_file():
            return False
        if output.stat().st_size != entry.output_size:
            return False
        status = source.stat()
        if (status.st_size, status.st_mtime_ns) == (entry.source_size, entry.source_mtime_ns):
            return True
        return status.st_size == entry.source_size and sha256(source) == entry.source_sha256

    def knows(self, output: Path) -> bool:
        """Whether this folder's batches made `output`."""
        return self.name_of(output) in self.entries

    def name_of(self, output: Path) -> str:
        """How the manifest calls a picture."""
        return output.relative_to(self.folder).as_posix()


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def recipe_hash(content: Mapping[str, Any]) -> str:
    """Hash of settings, independent of the order of their names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
