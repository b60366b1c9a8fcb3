"""Photographs and scores of one's own: a folder, and a table whose columns the caller names.

`read_plain_folder` expects FOLDER/scores.csv with the columns name (relative to the folder), mos,
where it is known std, the standard deviation of the opinions, and where several photographs show
the same, group.
"""

from dataclasses import replace
from pathlib import Path

from attiqa.data.datasets.label_tables import Labels, rate, read_columns, read_table, verify
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import DatasetLayoutError


def read_plain(
    labels: Path,
    images: Path,
    scale: tuple[float, float],
    name: str = "name",
    mos: str = "mos",
    group: str | None = None,
    subset: bool = False,
    std: str | None = None,
) -> RatedPhotos:
    """Read a .csv or .xlsx file of scores and the folder of its images.

    Args:
        labels: One row per photograph.
        images: File names are relative to it.
        scale: Lowest and highest possible score; higher must be better.
        name: Column of the file name.
        mos: Column of the score.
        group: Column that says what a photograph shows, where several show the same.
        subset: Rows without an image are left out.
        std: Column of the standard deviation of the opinions about a photograph.

    Raises:
        DatasetLayoutError: A file, column or image is missing, or a score is out of range.
    """
    further = {group: "group", std: "deviation"}
    known = {theirs: ours for theirs, ours in further.items() if theirs}
    columns = {name: "name", mos: "mos"} | known
    if not images.is_dir():
        raise DatasetLayoutError(f"{images}: no such folder of images")
    table = read_table(labels, columns)
    return rate(
        verify(Labels(labels.stem, labels.name, scale, table), None, subset), images, subset
    )


def read_plain_folder(
    folder: Path, scale: tuple[float, float], subset: bool = False
) -> RatedPhotos:
    """Read a folder of photographs with its scores.csv; see `read_plain`.

    Raises:
        DatasetLayoutError: The table, a column or an image is missing, or a score is out of range.
    """
    labels = folder / "scores.csv"
    there = read_columns(labels) if labels.is_file() else ()
    group, std = (name if name in there else None for name in ("group", "std"))
    photos = read_plain(labels, folder, scale, group=group, subset=subset, std=std)
    return replace(photos, name=folder.resolve().name)
