"""Which RAW files a batch renders."""

import codecs
import glob
import logging
import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isp_env.errors import IspEnvError
from isp_env.files import fitting, name_hash, shown

log = logging.getLogger(__name__)

# of the formats of still pictures that LibRaw develops
RAW_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3fr", "ari", "arw", "bay", "bmq", "cap", "cine", "cr2", "cr3", "crw", "cs1", "dc2"),
        *("dcr", "dcs", "dng", "drf", "erf", "fff", "gpr", "ia", "iiq", "k25"),
        *("kc2", "kdc", "mdc", "mef", "mfw", "mos", "mrw", "nef", "nrw", "orf", "ori", "pef"),
        *("ptx", "pxn", "qtk", "raf", "raw", "rdc", "rw2", "rwl", "rwz", "sr2", "srf", "srw"),
        *("sti", "x3f"),
    )
)
FOREIGN_FOLDERS = frozenset({"@eadir", ".appledouble", "__macosx"})
"""Of thumbnails and resource forks, whose files have the names of photographs."""
RESOURCE_FORK = "._"  # how macOS begins the names of what it lays beside files on foreign disks
OWN_FILES = ("contact_sheet.png",)
"""Of a batch, in the folder of its photographs, with names that a photograph could have."""
QUOTES = "\"'"  # around names in lists, as shells and file managers write them
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",  # after UTF-32, whose mark begins in the same way
    codecs.BOM_UTF16_BE: "utf-16",
}


class BatchError(IspEnvError):
    """A batch cannot begin or go on: inputs, names, settings or the output folder forbid it."""


@dataclass(frozen=True)
class RawInput:
    """A file to render, and where it lies below the folder that was named."""

    path: Path
    relative: Path


def is_raw_path(path: Path | str) -> bool:
    """Tell whether the file's name ends like a RAW file's."""
    return Path(path).suffix.lower() in RAW_SUFFIXES


def find_inputs(named: Iterable[str | Path], listed: Iterable[str | Path] = ()) -> list[RawInput]:
    """Return files, the RAW files in folders and below, and those that match globs; each once.

    Files that are named are taken whatever their suffix, in the order given; folders in the order
    of their names, with the folders that they link to. A line of the log says how many other files
    lie there.

    Args:
        named: Each stands for something.
        listed: Names from a list: one that stands for nothing is taken as a file, whose rendering
            will fail, so that it does not stop the others.

    Raises:
        BatchError: A name of `named` stands for nothing, or a folder cannot be read.
    """
    found: dict[str, RawInput] = {}
    for names, may_be_missing in ((named, False), (listed, True)):
        for name in map(Path, names):
            inputs = _meant(name)
            if inputs is None and not may_be_missing:
                raise BatchError(f"{shown(name)}: no such file or folder, and nothing matches it")
            for one in [RawInput(name, Path(name.name))] if inputs is None else inputs:
                found.setdefault(os.path.realpath(one.path), one)
    return list(found.values())


def read_list(content: bytes, folder: Path | None = None) -> list[Path]:
    """Return file names from a list, one in each line; empty lines are passed over.

    A line that begins with # is a comment unless there is such a file. A line in quotes is meant
    without them unless there is a file with that very name.

    A list is UTF-8, or UTF-16 or 32 with a mark. Bytes that are no UTF-8 are those of the file
    system; where there is no such file, Latin-1. Where a name exists in another Unicode
    normalisation, that is taken.

    Args:
        content: Of the list.
        folder: Of the list: where names are looked for that the working folder does not have.

    Raises:
        BatchError: The list is no text.
    """
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        errors = "surrogateescape" if encoding == "utf-8" else "strict"
        text = content.decode(encoding, errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BatchError(f"the list of files begins as {encoding} and is not: {error}") from error
    if "\0" in text:
        raise BatchError("the list of files has zero bytes: write it in UTF-8, a name in each line")
    lines = re.split(r"\r\n|\n|\r", text)
    meant = (_meant_by_line(line, folder) for line in lines if line.strip())
    return [path for path in meant if path is not None]


def _meant_by_line(line: str, folder: Path | None) -> Path | None:
    """Return the file that a line of a list means, there or not; None for a comment."""
    said = line.strip()
    if found := _existing(line, folder):
        return found
    if said.startswith("#"):
        return None
    if len(said) > 2 and said[0] == said[-1] and said[0] in QUOTES:
        said = said[1:-1]
        return _existing(said, folder) or Path(said)
    return Path(said)


def _existing(line: str, folder: Path | None) -> Path | None:
    """Return the file, or the files by a glob, of a line of a list; None where there is none."""
    spellings = dict.fromkeys((line, line.strip()))
    if not line.isascii():
        data = line.strip().encode("utf-8", "surrogateescape")
        spellings |= dict.fromkeys((data.decode("cp1252", "replace"), data.decode("latin-1")))
        forms = (unicodedata.normalize(form, x) for x in [*spellings] for form in ("NFC", "NFD"))
        spellings |= dict.fromkeys(forms)
    for spelling in spellings:
        for path in (Path(spelling), *([folder / spelling] if folder else [])):
            if os.path.lexists(path) or glob.glob(str(path), recursive=True):
                return path
    return None


def _meant(name: Path) -> list[RawInput] | None:
    """Find the RAW files that a name stands for; None if there are none."""
    if os.path.isdir(name):  # of a Path, a name that is too long for one raises
        return _in_folder(name)
    if os.path.lexists(name):
        return [RawInput(name, Path(name.name))]
    matches = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]
    return [RawInput(match, Path(match.name)) for match in matches if match.is_file()] or None


def _in_folder(top: Path) -> list[RawInput]:
    """Return the RAW files below a folder, in the order of their names."""
    paths: list[Path] = []
    passed_over: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    folders = deque([top])
    while folders:
        folder = folders.popleft()
        try:
            status = folder.stat()
            if (identity := (status.st_dev, status.st_ino)) in seen:  # by a link
                continue
            seen.add(identity)
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError as error:
            if folder == top:
                raise BatchError(f"{shown(top)}: {error.strerror}") from error
            log.warning("%s: passed over: %s", shown(folder), error.strerror)
            continue
        for entry in entries:
            if kind := _why_not(entry):
                passed_over[kind] += 1
            elif not entry.is_dir():
                paths.append(Path(entry.path))
            elif entry.is_symlink():
                folders.append(Path(entry.path))  # after all that is not linked
            else:
                folders.appendleft(Path(entry.path))
    if passed_over:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
        log.warning("%s: passed over, as no RAW files: %s", shown(top), told)
    if not paths:
        log.warning("no RAW file in %s", shown(top))
    return [RawInput(path, path.relative_to(top)) for path in sorted(paths)]


def _why_not(entry: os.DirEntry[str]) -> str | None:
    """Name what lies there that is neither a RAW file nor a folder of photographs."""
    try:
        if entry.is_dir():
            return entry.name if entry.name.lower() in FOREIGN_FOLDERS else None
        if entry.name.startswith(RESOURCE_FORK):
            return f"{RESOURCE_FORK}*"
        if not is_raw_path(entry.name):
            return shown(Path(entry.name).suffix.lower() or "without suffix")
        if entry.is_file():
            return None
        return "broken link" if entry.is_symlink() else "no regular file"
    except OSError:  # a link that leads to itself, or on a disk that is gone
        return "broken link"


def output_paths(
    inputs: Sequence[RawInput], out: Path, pattern: str | None, suffix: str
) -> Mapping[Path, Path]:
    """Name the photograph of each input.

    Names that would be too long for a file system are shortened (`files.fitting`).

    Args:
        inputs: What is rendered.
        out: Folder of the photographs.
        pattern: With {stem}, {name} (stem and suffix), {suffix} (of the RAW file, without dot),
            {parent} (name of its folder), {relative} (folders below the one named, with the
            stem), {index} (from 1). None takes {stem}, and for those whose stems are equal as much
            more as tells them apart: the suffix, then the folders above.
        suffix: Of the photographs.

    Raises:
        BatchError: The pattern has an unknown field or leads out of `out`, two inputs get the same
            name, or one would be written over an input.
    """
    # some file systems do not tell a.jpg from A.jpg
    sources = {os.path.realpath(one.path).casefold(): one.path for one in inputs}
    names = distinct_names([one.path for one in inputs], suffix) if pattern is None else {}
    paths: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for index, one in enumerate(inputs, 1):
        name = names[one.path] if pattern is None else _named(pattern, one, index, out)
        place = out / name
        path = place.with_name(fitting(place.name, suffix))
        if source := sources.get(os.path.realpath(path).casefold()):
            raise BatchError(
                f"{shown(one.path)} would be written over the input {shown(source)}: choose "
                "another folder or pattern, for example {name}"
            )
        key = str(path).casefold()
        if key in taken:
            raise BatchError(
                f"{shown(taken[key])} and {shown(one.path)} would both be written to "
                f"{shown(path)}: choose another pattern, for example {{relative}} or {{name}}"
            )
        taken[key] = one.path
        paths[one.path] = path
    return paths


def distinct_names(files: Sequence[Path], suffix: str) -> dict[Path, str]:
    """Return names without suffix, a different one for each file even where case does not count.

    The stem; where stems are equal, or give the name of a file of the batch's own, the whole name;
    where these are equal, with as many folders above as it takes.
    """
    names = {path: path.stem for path in files}
    folders = max((len(path.absolute().parts) for path in files), default=0)
    for parts in range(1, folders + 1):
        if not (alike := _alike(names, suffix)):
            return names
        for path in alike:
            names[path] = "_".join(path.absolute().parts[-parts:]).lstrip("/_")
    for path in _alike(names, suffix):  # a_b/c.dng and a/b_c.dng
        names[path] += f"~{name_hash(str(path.absolute()))}"
    return names


def _alike(names: Mapping[Path, str], suffix: str) -> list[Path]:
    """Return those whose name another one has, or a file of the batch's own."""
    counts = Counter(name.casefold() for name in names.values())
    counts.update(own.removesuffix(suffix) for own in OWN_FILES)
    return [path for path, name in names.items() if counts[name.casefold()] > 1]


def _named(pattern: str, one: RawInput, index: int, out: Path) -> str:
    fields = {
        "stem": one.path.stem,
        "name": one.path.name,
        "suffix": one.path.suffix.lstrip("."),
        "parent": one.path.resolve().parent.name,
        "relative": str(one.relative.with_suffix("")),
        "index": index,
    }
    try:
        name = pattern.format(**fields)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        known = ", ".join(f"{{{field}}}" for field in fields)
        raise BatchError(f"pattern {pattern!r}: {error}; known fields: {known}") from error
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BatchError(f"pattern {pattern!r}: {name!r} lies outside of {out}")
    return name
