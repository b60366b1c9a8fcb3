"""The errors that this package raises on purpose: all derive from `AttiqaError`."""

import difflib
from collections.abc import Iterable


class AttiqaError(Exception):
    """Base class; the message names the file or argument, what was expected and what was found."""


class SettingsError(AttiqaError, ValueError):
    """A setting is out of range, or does not go with another one or with the data."""


class DatasetLayoutError(AttiqaError):
    """A data set folder is not laid out as its authors publish it."""


class ImageFileError(AttiqaError):
    """An image file is missing or cannot be decoded."""


class ImageFormatError(AttiqaError, ValueError):
    """An image in memory has a type, shape or range that is not accepted."""


class CheckpointError(AttiqaError):
    """A checkpoint is missing, broken, or does not fit its card or the network."""


class TeacherError(AttiqaError):
    """A teacher cannot be made or used as asked."""


class LabelStoreError(AttiqaError):
    """A label store is missing, incomplete or broken, or was begun under other conditions."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about a name that stands for nothing: the nearest right one.

    >>> did_you_mean("konic", ("koniq", "clive"))
    "; did you mean 'koniq'?"
    """
    spelled = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), spelled, 1)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""
