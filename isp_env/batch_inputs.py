"""Which RAW files a batch renders, and what the photographs are called."""

import glob
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isp_env.errors import IspEnvError

log = logging.getLogger(__name__)

RAW_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3fr", "ari", "arw", "bay", "cap", "cr2", "cr3", "crw", "dcr", "dcs", "dng", "drf"),
        *("erf", "fff", "gpr", "iiq", "k25", "kdc", "mdc", "mef", "mos", "mrw", "nef", "nrw"),
        *("orf", "pef", "ptx", "pxn", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)


class BatchError(IspEnvError):
    """A batch cannot begin: inputs, names or settings contradict each other."""


@dataclass(frozen=True)
class RawInput:
    """A file to render, and where it lies below the folder that was named."""

    path: Path
    relative: Path


def is_raw_path(path: Path | str) -> bool:
    """Whether the file's name ends like a RAW file's."""
    return Path(path).suffix.lower() in RAW_SUFFIXES


def find_inputs(named: Iterable[str | Path]) -> list[RawInput]:
    """Files, the RAW files in folders and below, and those that match globs; each once.

    Files that are named are taken whatever their suffix, in the order given; folders in the order
    of their names.

    Raises:
        BatchError: A name stands for nothing.
    """
    found: dict[Path, RawInput] = {}
    for name in map(Path, named):
        if name.is_dir():
            inputs = [
                RawInput(path, path.relative_to(name))
                for path in sorted(name.rglob("*"))
                if is_raw_path(path) and path.is_file()
            ]
            if not inputs:
                log.warning("no RAW file in %s", name)
        elif name.exists():
            inputs = [RawInput(name, Path(name.name))]
        else:
            matches = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]
            inputs = [RawInput(match, Path(match.name)) for match in matches if match.is_file()]
            if not inputs:
                raise BatchError(f"{name}: no such file or folder, and nothing matches it")
        for one in inputs:
            found.setdefault(one.path.resolve(), one)
    return list(found.values())


def read_list(lines: Iterable[str]) -> list[str]:
    """File names from a list, one in each line; empty lines and lines that begin with # are not."""
    return [name for line in lines if (name := line.strip()) and not name.startswith("#")]


def output_paths(
    inputs: Sequence[RawInput], out: Path, pattern: str, suffix: str
) -> Mapping[Path, Path]:
    """Where the photograph of each input goes.

    Args:
        inputs: What is rendered.
        out: Folder of the photographs.
        pattern: With {stem}, {name} (stem and suffix), {suffix} (of the RAW file, without dot),
            {parent} (name of its folder), {relative} (folders below the one named, with the
            stem), {index} (from 1).
        suffix: Of the photographs.

    Raises:
        BatchError: The pattern has an unknown field or leads out of `out`, two inputs get the same
            name, or one would be written over an input.
    """
    # some file systems do not tell a.jpg from A.jpg
    sources = {str(one.path.resolve()).casefold(): one.path for one in inputs}
    paths: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for index, one in enumerate(inputs, 1):
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
        except (KeyError, ValueError, IndexError) as error:
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise BatchError(f"pattern {pattern!r}: {error}; known fields: {known}") from error
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BatchError(f"pattern {pattern!r}: {name!r} lies outside of {out}")
        path = out / f"{name}{suffix}"
        if source := sources.get(str(path.resolve()).casefold()):
            raise BatchError(
                f"{one.path} would be written over the input {source}: choose another folder or "
                "pattern, for example {name}"
            )
        key = str(path).casefold()
        if key in taken:
            raise BatchError(
                f"{taken[key]} and {one.path} would both be written to {path}: "
                "choose another pattern, for example {relative} or {name}"
            )
        taken[key] = one.path
        paths[one.path] = path
    return paths
