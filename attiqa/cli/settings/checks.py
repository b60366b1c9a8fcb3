"""Refusals of a command line that need nothing slow: names that stand for nothing."""

from pathlib import Path

from attiqa.data.datasets.names import PLAIN, check_name
from attiqa.errors import DatasetLayoutError
from attiqa.model.sources import weight_file


def require(path: Path, kind: str = "folder") -> None:
    """Refuse a path where nothing is.

    Raises:
        DatasetLayoutError: It is neither a file nor a folder.
    """
    try:
        there = path.exists()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise DatasetLayoutError(f"{path}: no such {kind}")


def require_dataset(
    name: str, folder: Path, scale: tuple[float, float] | None, more: tuple[str, ...] = ()
) -> None:
    """Refuse data sets that are not known or not there.

    Args:
        name: Of the data set.
        folder: Where it lies.
        scale: Of "plain" alone.
        more: Further ones, NAME=FOLDER.

    Raises:
        DatasetLayoutError: One of them is not.
    """
    check_name(name, scale)
    require(folder)
    for entry in more:
        other, equals, place = entry.partition("=")
        if equals:  # what is written otherwise, the command itself explains
            if other != PLAIN:
                check_name(other)
            require(Path(place))


def require_model(source: str | Path | None) -> None:
    """Refuse a model that is not there; one of the hub is not looked for.

    Raises:
        CheckpointError: Nothing there.
    """
    if source is not None and not str(source).startswith("hf://"):
        weight_file(source)
