"""The errors that this package raises on purpose: all derive from `AttiqaError`."""


class AttiqaError(Exception):
    """Base class; the message names the file or argument, what was expected and what was found."""


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
