"""KonIQ-10k: 10,073 photographs with authentic distortions, of 1024 x 768 pixels.

Hosu, Lin, Sziranyi and Saupe, KonIQ-10k: an ecologically valid database for deep learning of blind
image quality assessment, 2020; database.mmsp-kn.de. Two label files are in circulation, with
columns of the same name on different scales: the one with the official division has `MOS` in
1..100, the other one has `MOS` in 1..5 and `MOS_zscore` in 1..100. Both have the shares of the
votes from 1 (bad) to 5 (excellent) and their deviation, `SD`, which is mapped to 1..100 here.
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
    verify,
)
from attiqa.data.rated_photos import RatedPhotos

ROWS = 10_073
PARTS = {"train": 7058, "validation": 1000, "test": 2015}
VOTES = ("c1", "c2", "c3", "c4", "c5")
SCALE = (1.0, 100.0)
DIVIDED, UNDIVIDED = "koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv"


def koniq_labels(folder: Path, subset: bool = False) -> Labels:
    """Read the label file with the official division, or else the one without; `source` says which.

    Raises:
        DatasetLayoutError: There is neither, or it is not as published.
    """
    path = find_file(folder, (DIVIDED, UNDIVIDED), "KonIQ-10k")
    divided = path.name == DIVIDED
    columns = {"MOS": "mos", "set": "part"} if divided else {"MOS_zscore": "mos"}
    spread = {name: name for name in VOTES} | {"SD": "deviation"}
    table = read_table(path, {"image_name": "name"} | columns, optional=spread)
    if divided:
        table["part"] = table["part"].replace("training", "train")
    if "deviation" in table:
        level = (SCALE[1] - SCALE[0]) / (len(VOTES) - 1)
        table["deviation"] = numbers(table, "deviation") * level
    votes = None
    if set(VOTES) <= set(table):
        votes = np.stack([numbers(table, name) for name in VOTES], axis=1)
    table = table.drop(columns=[name for name in VOTES if name in table])
    labels = Labels("KonIQ-10k", path.name, SCALE, table, votes=votes)
    return verify(labels, ROWS, subset, PARTS if divided else None)


def read_koniq(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read KonIQ-10k.

    Args:
        folder: Holds a label file and 1024x768/ (taken where both are there) or 512x384/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: A label file, column or image is missing, or a score is out of range.
    """
    labels = koniq_labels(folder, subset)
    return rate(labels, find_folder(folder, ("1024x768", "512x384"), "KonIQ-10k"), subset)
