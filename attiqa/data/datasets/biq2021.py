"""BIQ2021: 12,000 photographs of 512 x 512 pixels with authentic distortions.

Ahmed and Asif, BIQ2021: a large-scale blind image quality assessment database, 2022;
github.com/nisarahmedrana/BIQ2021. MOS in [0, 1], higher is better. The label files have two empty
columns too many, and differ from the image files in the case of an extension.
"""

from pathlib import Path
from typing import Literal

import pandas as pd

from attiqa.data.datasets.label_tables import (
    Labels,
    find_file,
    find_folder,
    rate,
    read_table,
    verify,
)
from attiqa.data.rated_photos import RatedPhotos

FILES = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}
PARTS = {"train": 10_000, "test": 2_000}
SCALE = (0.0, 1.0)

Part = Literal["train", "test"]


def biq2021_labels(folder: Path, part: Part | None = None, subset: bool = False) -> Labels:
    """Read the label file of one official part, or of both.

    Args:
        folder: Holds the label files.
        part: One part alone may have fewer rows than published: they are logged.
        subset: Both parts may.

    Raises:
        DatasetLayoutError: A file is missing or not as published.
    """
    if part:
        table, rows, source = _read(folder, part), PARTS[part], FILES[part]
        return verify(Labels("BIQ2021", source, SCALE, table), rows, subset=True)
    table = pd.concat([_read(folder, name).assign(part=name) for name in PARTS])
    labels = Labels("BIQ2021", ", ".join(FILES.values()), SCALE, table)
    return verify(labels, sum(PARTS.values()), subset, PARTS)


def read_biq2021(folder: Path, part: Part | None = "train", subset: bool = False) -> RatedPhotos:
    """Read one official part, or both.

    Args:
        folder: Holds `Images/` and the label files.
        part: "train" (10,000 photographs), "test" (2,000), or None for both with their division.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: A label file, column or image is missing, or a MOS is outside [0, 1].
    """
    images = find_folder(folder, ("Images",), "BIQ2021")
    return rate(biq2021_labels(folder, part, subset), images, subset)


def _read(folder: Path, part: str) -> pd.DataFrame:
    """Read the label file of a part."""
    path = find_file(folder, (FILES[part],), "BIQ2021")
    return read_table(path, {"Image Name": "name", "MOS": "mos"})
