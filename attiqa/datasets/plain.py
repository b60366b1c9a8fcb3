"""Photographs and scores of one's own: a folder, and a table whose columns the caller names."""

from pathlib import Path

from attiqa.datasets.layout import Labels, rate, read_table, verify
from attiqa.datasets.rated import RatedPhotos
from attiqa.errors import DatasetLayoutError


def read_plain(
    labels: Path,
    images: Path,
    scale: tuple[float, float],
    name: str = "name",
    mos: str = "mos",
    group: str | None = None,
    subset: bool = False,
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

    Raises:
        DatasetLayoutError: A file, column or image is missing, or a score is out of range.
    """
    columns = {name: "name", mos: "mos"} | ({group: "group"} if group else {})
    if not images.is_dir():
        raise DatasetLayoutError(f"{images}: no such folder of images")
    table = read_table(labels, columns)
    return rate(
        verify(Labels(labels.stem, labels.name, scale, table), None, subset), images, subset
    )
