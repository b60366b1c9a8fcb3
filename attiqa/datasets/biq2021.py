"""BIQ2021: 12,000 photographs of 512 x 512 pixels with authentic distortions.

Ahmed and Asif, BIQ2021: a large-scale blind image quality assessment database, 2022;
github.com/nisarahmedrana/BIQ2021. MOS in [0, 1], higher is better.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from attiqa.datasets.rated import RatedPhotos
from attiqa.errors import DatasetLayoutError

LABELS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


def read_biq2021(folder: Path, part: str = "train") -> RatedPhotos:
    """Read one official part.

    File names are matched whatever the case of their letters: the published labels and files differ
    in the case of an extension. Columns beyond the two named ones are empty and ignored.

    Args:
        folder: Holds `Images/` and the label files.
        part: "train" (10,000 photographs) or "test" (2,000).

    Raises:
        DatasetLayoutError: A label file, column or image is missing, or a MOS is outside [0, 1].
    """
    labels, images = folder / LABELS[part], folder / "Images"
    if not labels.is_file() or not images.is_dir():
        raise DatasetLayoutError(
            f"{folder}: expected the BIQ2021 layout, {labels.name} and Images/"
        )
    table = pd.read_csv(labels)
    missing = {"Image Name", "MOS"} - set(table.columns)
    if missing:
        raise DatasetLayoutError(f"{labels}: no column {sorted(missing)}; found {list(table)}")
    mos = table["MOS"].to_numpy(np.float64)
    if not ((mos >= 0) & (mos <= 1)).all():
        raise DatasetLayoutError(f"{labels}: expected MOS in [0, 1]")
    files = {path.name.lower(): path for path in images.iterdir()}
    absent = [name for name in table["Image Name"] if name.lower() not in files]
    if absent:
        raise DatasetLayoutError(
            f"{images}: {len(absent)} labelled images missing: {absent[0]}, ..."
        )
    paths = tuple(files[name.lower()] for name in table["Image Name"])
    return RatedPhotos("BIQ2021", paths, mos, scale=(0.0, 1.0))
