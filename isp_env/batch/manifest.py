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

from isp_env.batch.sidecars import FORMAT
from isp_env.files import fitting

NAME = ".render-manifest.jsonl"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One finished picture.

    Attributes:
        source: RAW file, absolute.
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
        """Tell whether `output` is there as this recipe made it of this content of `source`.

        The content is compared only where path, size or time stamp differ.
        """
        entry = self.entries.get(self.name_of(output))
        if entry is None or entry.recipe != recipe or not output.is_file():
            return False
        if output.stat().st_size != entry.output_size or _is_blank(output):
            return False
        status = source.stat()
        same_time = status.st_mtime_ns == entry.source_mtime_ns
        if status.st_size == entry.source_size and same_time and _is_same_path(source, entry):
            return True
        return status.st_size == entry.source_size and sha256(source) == entry.source_sha256

    def objection(self, source: Path, output: Path) -> str | None:
        """Return why a rendering of `source` must not replace `output`; None if it may."""
        if _is_blank(output):
            return None
        entry = self.entries.get(self.name_of(output))
        if entry is None:
            return "no batch of this folder has recorded it"
        if output.stat().st_size != entry.output_size or _is_retouched(output):
            return "it was changed after it was rendered"
        if not _is_same_path(source, entry) and sha256(source) != entry.source_sha256:
            return f"it was rendered from {entry.source}"
        return None

    def name_of(self, output: Path) -> str:
        """Return the manifest's name of a picture."""
        return output.relative_to(self.folder).as_posix()


def sidecar_path(output: Path) -> Path:
    """Name the sidecar of a photograph, shortened (`fitting`) where it would be too long."""
    return output.with_name(fitting(output.name, ".json"))


def read_sidecar(output: Path) -> dict[str, Any]:
    """Read what a batch wrote beside a picture; empty where nothing readable is there."""
    try:
        sidecar = json.loads(sidecar_path(output).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return sidecar if isinstance(sidecar, dict) else {}


def own_sidecar(source: Path, output: Path) -> dict[str, Any]:
    """Sidecar of a picture that is as a batch made it of this content of `source`; else empty."""
    sidecar = read_sidecar(output)
    if sidecar.get("format") != FORMAT:
        return {}
    try:
        found = (sha256(output), sha256(source))
    except OSError:
        return {}
    told = (sidecar.get("output_sha256"), sidecar.get("source_sha256"))
    return sidecar if told == found else {}


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


def _is_same_path(source: Path, entry: Entry) -> bool:
    return source.resolve() == Path(entry.source).resolve()


def _is_retouched(output: Path) -> bool:
    """Tell whether a picture has another content than its sidecar states, if it states any."""
    recorded = read_sidecar(output).get("output_sha256")
    return recorded is not None and recorded != sha256(output)


def _is_blank(output: Path) -> bool:
    """Tell whether a file is empty or begins with zeros, as a power failure leaves it."""
    with output.open("rb") as file:
        return not any(file.read(512))
