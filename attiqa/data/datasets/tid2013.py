"""TID2013: 25 clean images, each with 24 distortions at 5 levels.

Ponomarenko et al., Image database TID2013: peculiarities, results and perspectives, 2015;
www.ponomarenko.info/tid2013.htm. The case of letters in file names varies between copies.
"""

from pathlib import Path

import pandas as pd

from attiqa.data.datasets.label_tables import (
    Labels,
    find_file,
    find_folder,
    rate,
    reference_type_level,
    verify,
)
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import DatasetLayoutError

ROWS = 25 * 24 * 5


def tid2013_labels(folder: Path, subset: bool = False) -> Labels:
    """Read mos_with_names.txt; the reference is the group, type (1..24) and level are factors.

    mos_std.txt, which some copies lack, has the deviations of the opinions in the same order.

    Raises:
        DatasetLayoutError: The first file is missing, or one of them not as published.
    """
    path = find_file(folder, ("mos_with_names.txt",), "TID2013")
    text = path.read_text(encoding="utf-8", errors="replace")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if not rows or any(len(row) != 2 for row in rows):
        raise DatasetLayoutError(f"{path}: expected a score and a file name in every line")
    table, source = pd.DataFrame(rows, columns=["mos", "name"]), path.name
    deviations = folder / "mos_std.txt"
    if deviations.is_file():
        values = deviations.read_text(encoding="utf-8", errors="replace").split()
        if len(values) != len(table):
            raise DatasetLayoutError(
                f"{deviations}: expected {len(table)} numbers as {path.name} has rows, found "
                f"{len(values)}"
            )
        table["deviation"], source = values, f"{source}, {deviations.name}"
    labels = Labels("TID2013", source, (0.0, 9.0), table)
    return verify(reference_type_level(labels), ROWS, subset)


def read_tid2013(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read TID2013; divide it by `groups`.

    Args:
        folder: Holds mos_with_names.txt and distorted_images/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: The label file or an image is missing, or a score is out of range.
    """
    labels = tid2013_labels(folder, subset)
    return rate(labels, find_folder(folder, ("distorted_images",), "TID2013"), subset)
