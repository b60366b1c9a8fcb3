"""Refusals of a command line that need nothing slow: names that stand for nothing."""

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from attiqa.data.datasets.names import check_name
from attiqa.errors import CheckpointError, DatasetLayoutError, SettingsError, did_you_mean
from attiqa.model.cards import read_card
from attiqa.model.sources import HUB, weight_file

DEVICES = ("cpu", "cuda", "mps", "xpu")
"""What PyTorch calls them; a number may follow, as in cuda:1."""

MEASURED = "the measured teacher asks no CLIP"
"""Why options of CLIP do not go with `--teacher measured`."""

TABLE = "a table of scores asks no CLIP"
"""Why they do not go with `--teacher table`."""


def require(path: Path, kind: str = "folder") -> None:
    """Refuse a path where nothing is.

    Raises:
        DatasetLayoutError: It is neither a file nor a folder.
    """
    if not _exists(path):
        raise DatasetLayoutError(f"{path}: no such {kind}")


def require_file(path: Path, kind: str) -> None:
    """Refuse a path where no file is.

    Raises:
        DatasetLayoutError: Nothing is there, or a folder.
    """
    require(path, kind)
    if not path.is_file():
        raise DatasetLayoutError(f"{path}: expected a {kind}, found a folder")


def require_photos(path: Path, kind: str = "folder") -> None:
    """Refuse a path that is not there, or a folder without a single image file.

    Raises:
        DatasetLayoutError: Nothing is there, no image files are in the folder, or it is a file
            where a folder is asked for.
    """
    require(path, kind)
    if path.is_dir():
        count_photos(path, 1)
    elif kind == "folder":
        raise DatasetLayoutError(f"{path}: expected a folder of photographs, found a file")


def count_photos(folder: Path, most: int) -> int:
    """Count photographs, and stop after `most`; see `attiqa.data.photo_folder.count_photos`."""
    from attiqa.data import photo_folder  # not for help

    return photo_folder.count_photos(folder, most)


def require_dataset(
    name: str,
    folder: Path,
    scale: tuple[float, float] | None,
    more: tuple[str, ...] = (),
    option: str = "others",
) -> None:
    """Refuse data sets that are not known or not there.

    Args:
        name: Of the data set.
        folder: Where it lies.
        scale: Of "plain" alone.
        more: Further ones, NAME=FOLDER.
        option: What they are given by.

    Raises:
        DatasetLayoutError: One of them is not.
    """
    check_name(name, scale)
    require(folder)
    for entry in more:
        other, equals, place = entry.partition("=")
        if not (equals and place):
            raise DatasetLayoutError(f"{option}: expected NAME=FOLDER; found {entry!r}")
        check_name(other, scale)
        require(Path(place))


def require_model(source: str | Path | None, scores: bool = False) -> None:
    """Refuse a model that is not there, or without its card; one of the hub is not looked for.

    Args:
        source: As for `weight_file`; None is nothing to refuse.
        scores: It must have a quality score.

    Raises:
        CheckpointError: Nothing there, no card or a broken one, or a network without a score.
    """
    if source is None or str(source).startswith(HUB):
        return
    path = weight_file(source)
    card = path.with_suffix(".json")
    if not card.is_file():
        raise CheckpointError(
            f"{path}: its card {card.name} is not beside it; a model of `attiqa pretrain` or "
            "`finetune` is both files (weights of timm for a backbone: finetune --init)"
        )
    kind = read_card(card).kind
    if scores and kind != "QualityNet":
        raise CheckpointError(
            f"{path}: a pretrained {kind} has no quality score; expected a fine-tuned QualityNet "
            "(attiqa finetune --model)"
        )


def require_default(found: Any, default: Any, why: str) -> None:
    """Refuse options that would be ignored.

    Args:
        found: A dataclass of settings.
        default: The same with nothing set.
        why: They are not used.

    Raises:
        SettingsError: One of them was set.
    """
    for field in fields(found):
        value = getattr(found, field.name)
        if value != getattr(default, field.name):
            raise SettingsError(f"{field.name}: {why}; leave it out; found {value!r}")


def require_between(
    name: str, value: float | int, low: float | int, high: float | int | None = None
) -> None:
    """Refuse a number out of range.

    Raises:
        SettingsError: It is.
    """
    if not low <= value <= (value if high is None else high):
        upper = "or more" if high is None else f"to {high:g}"
        raise SettingsError(f"{name}: expected {low:g} {upper}; found {value:g}")


def require_device_name(name: str) -> None:
    """Refuse what PyTorch has no device of; whether it is there, PyTorch must tell.

    Raises:
        SettingsError: There is no such device.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES or not re.fullmatch(r"\w+(:\d+)?", name):
        raise SettingsError(
            f"device: expected one of {', '.join(DEVICES)}, or cuda:1 and so on; found {name!r}"
            + did_you_mean(kind, DEVICES)
        )


def require_folder_to_write(out: Path) -> None:
    """Refuse a folder for results that is a file, or that cannot be made or written.

    Raises:
        SettingsError: It is.
    """
    place = out
    while not _exists(place):
        place = place.parent
    if not place.is_dir():
        raise SettingsError(f"out: expected a folder for the results; {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SettingsError(f"out: {place} may not be written to; name another folder by --out")


def _exists(path: Path) -> bool:
    """Tell whether something is there; a name that is too long is not."""
    try:
        return path.exists()
    except OSError:
        return False
