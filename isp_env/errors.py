"""Errors of this package; their messages say which file or argument, and what is wrong with it."""

from pathlib import Path


class IspEnvError(Exception):
    """Base of every error that `isp_env` raises on purpose."""


class RawFileError(IspEnvError):
    """A file from which no RAW picture can be had; reads as "<path>: <reason>"."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)  # both arguments, so that the error survives pickling
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
