"""Files that appear whole or not at all, and names of what stands beside them meanwhile."""

import hashlib
import os
from pathlib import Path

NAME_MAX = 255
"""Bytes of a file name on the common file systems."""


def companion(path: Path, suffix: str) -> Path:
    """Name a file beside another: its name and a suffix, shortened where that is too long.

    A shortened name ends in a hash of the whole one: it is the same in the next run, and another
    one for another file.

    >>> companion(Path("scores.csv"), ".part").name
    'scores.csv.part'
    """
    name = path.name + suffix
    if len(os.fsencode(name)) <= NAME_MAX:
        return path.with_name(name)
    mark = "~" + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12] + suffix
    kept = path.name
    while len(os.fsencode(kept + mark)) > NAME_MAX:
        kept = kept[:-1]
    return path.with_name(kept + mark)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name first, so that it is never half there."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)
