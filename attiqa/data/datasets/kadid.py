"""KADID-10k: 81 clean photographs, each with 25 distortions at 5 levels.

Lin, Hosu and Saupe, KADID-10k: a large-scale artificially distorted IQA database, 2019;
database.mmsp-kn.de. The column is called dmos, but higher is better, from 1 to 5; var is the
variance of the opinions.
"""

from pathlib import Path

import numpy as np

from attiqa.data.datasets.label_tables import (
    Labels,
    find_file,
    find_folder,
    numbers,
    rate,
    read_table,
    reference_type_level,
    verify,
)
from attiqa.data.rated_photos import RatedPhotos

ROWS = 81 * 25 * 5


def kadid_labels(folder: Path, subset: bool = False) -> Labels:
    """Read dmos.csv; the reference is the group, type (1..25) and level (1..5) are factors.

    Raises:
        DatasetLayoutError: The file is missing or not as published.
    """
    path = find_file(folder, ("dmos.csv",), "KADID-10k")
    table = read_table(path, {"dist_img": "name", "dmos": "mos"}, optional={"var": "deviation"})
    if "deviation" in table:
        variance = numbers(table, "deviation")
        table["deviation"] = np.sqrt(np.where(variance >= 0, variance, np.nan))
    return verify(
        reference_type_level(Labels("KADID-10k", path.name, (1.0, 5.0), table)), ROWS, subset
    )


def read_kadid(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read KADID-10k; divide it by `groups`.

    Args:
        folder: Holds dmos.csv and images/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: The label file, a column or an image is missing, or a score is out of
            range.
    """
    labels = kadid_labels(folder, subset)
    return rate(labels, find_folder(folder, ("images",), "KADID-10k"), subset)
