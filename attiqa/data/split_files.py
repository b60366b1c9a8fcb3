"""Divisions of a data set as lists of file names, to be exchanged with others."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.errors import DatasetLayoutError
from attiqa.files import write_atomically

PARTS = ("train", "validation", "test")


def write_splits(path: Path, photos: RatedPhotos, splits: Sequence[Split]) -> None:
    """Write `[{"train": [NAME, ...], "validation": [...], "test": [...]}, ...]`."""
    names = photos.names
    lists = [
        {part: [names[int(row)] for row in getattr(split, part)] for part in PARTS}
        for split in splits
    ]
    write_atomically(path, (json.dumps(lists) + "\n").encode(errors="surrogateescape"))


def read_splits(path: Path, photos: RatedPhotos) -> tuple[Split, ...]:
    """Read what `write_splits` writes; photographs that are named in no part are left out.

    Args:
        path: A list of divisions, or one alone; "validation" may be missing.
        photos: The data set whose file names are meant, without their folders.

    Raises:
        DatasetLayoutError: The file is no such list, names a photograph that is not there, names
            one in two parts, or a part for training or testing is empty; or file names of the data
            set are not unique.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        lists = content if isinstance(content, list) else [content]
        wanted = [{part: list(entry.get(part, ())) for part in PARTS} for entry in lists]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DatasetLayoutError(
            f'{path}: expected [{{"train": [NAME, ...], "test": [NAME, ...]}}, ...]: {error}'
        ) from error
    rows = {name: row for row, name in enumerate(photos.names)}
    if len(rows) < len(photos.paths):
        twice = [name for name, times in Counter(photos.names).items() if times > 1]
        raise DatasetLayoutError(
            f"{path}: file names of {photos.name} are not unique, such as {twice[0]}"
        )
    return tuple(_split(path, number, parts, rows) for number, parts in enumerate(wanted, 1))


def _split(path: Path, number: int, parts: dict[str, list[str]], rows: dict[str, int]) -> Split:
    where = f"{path}, division {number}"
    named = [name for part in PARTS for name in parts[part]]
    unknown = [name for name in named if name not in rows]
    if unknown:
        raise DatasetLayoutError(
            f"{where}: {len(unknown)} names are not in the data set, such as {unknown[0]!r}"
        )
    twice = [name for name, times in Counter(named).items() if times > 1]
    if twice:
        raise DatasetLayoutError(f"{where}: {twice[0]!r} is named {named.count(twice[0])} times")
    for part in ("train", "test"):
        if not parts[part]:
            raise DatasetLayoutError(f"{where}: no photographs in {part!r}")
    return Split(*(np.array(sorted(rows[n] for n in parts[part]), np.int64) for part in PARTS))
