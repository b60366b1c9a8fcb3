"""Files that are either whole or not there, and names that every file system takes."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LONGEST_NAME = 255  # bytes, of ext4, XFS, Btrfs and most others
LONGEST_SUFFIX = 16  # of a temporary file; what is longer chooses no format
LOCK = ".isp-env.lock"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends without error.

    The temporary name is short and keeps the suffix, by which image writers choose their format.
    After an error the temporary file is removed and `path` is as it was before.

    Raises:
        FileNotFoundError: The folder of `path` does not exist.
    """
    path = Path(path)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= LONGEST_SUFFIX else ""
    descriptor, name = tempfile.mkstemp(
        prefix=temporary_prefix(path), suffix=suffix, dir=path.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would lock other users out
        _force_to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path, refusal: Exception) -> Iterator[None]:
    """Hold a folder's lock; the system frees it when the process ends, however it ends.

    Args:
        folder: There is one.
        refusal: Raised where another process holds it.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise refusal from error
    try:
        yield
    finally:
        lock.release()


def temporary_prefix(path: Path) -> str:
    """Return the beginning of the temporary names for `path`: a short hash of its name."""
    return f".{name_hash(path.name)}-"


def fitting(name: str, suffix: str) -> str:
    """Join `name` and `suffix`, in as many bytes as a file's name may have.

    Of a longer name, as many characters as fit are kept, then "~" and twelve digits of the hash of
    the whole: two long names never become one.
    """
    if len(os.fsencode(name + suffix)) <= LONGEST_NAME:
        return name + suffix
    end = f"~{name_hash(name)}{suffix}"
    kept = os.fsencode(name)[: LONGEST_NAME - len(os.fsencode(end))]
    return kept.decode("utf-8", "ignore") + end


def shown(path: Path | str) -> str:
    """Return a name for people: bytes that are no text and control characters as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_hash(name: str) -> str:
    """Return twelve digits that stand for a name."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def _force_to_disk(path: Path) -> None:
    """Force to disk: after a power failure the new name must not stand for an empty file."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
