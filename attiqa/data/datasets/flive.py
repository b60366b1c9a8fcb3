"""FLIVE (LIVE-FB, PaQ-2-PiQ): 39,807 photographs as they are shared; whole images, no patches.

Ying, Niu, Gupta, Mahajan, Ghadiyaram and Bovik, From Patches to Pictures, CVPR 2020;
github.com/niu-haoran/FLIVE_Database has the images and scores, github.com/baidut/PaQ-2-PiQ
(database/) the official division: photographs with a side beyond 640 pixels are the test part.
"""

from itertools import compress
from pathlib import Path

import numpy as np

from attiqa.data.datasets.label_tables import (
    Labels,
    find_file,
    find_folder,
    rate,
    read_table,
    verify,
)
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import DatasetLayoutError

ROWS = 39_807
PARTS = {"train": 30_253, "validation": 7_727, "test": 1_827}
UNDIVIDED = "EE371R/"
"""Three photographs of this folder have a score but are in no part."""

SCORES, TEST, LEARNING = "labels_image.csv", "labels640.csv", "labels=640_padded.csv"


def flive_labels(folder: Path, subset: bool = False) -> Labels:
    """Read the scores of whole images, and their parts from the two files of the division.

    Raises:
        DatasetLayoutError: A file is missing or not as published, or the parts overlap.
    """
    scores, test, learning = (
        find_file(folder, (name, f"database/{name}"), "FLIVE") for name in (SCORES, TEST, LEARNING)
    )
    table = read_table(scores, {"name": "name", "mos": "mos"})
    part = dict.fromkeys(read_table(test, {"name_image": "name"})["name"], "test")
    learnt = read_table(learning, {"name_image": "name", "is_valid": "validation"})
    valid = learnt["validation"].str.lower()
    if not set(valid) <= {"true", "false"}:
        raise DatasetLayoutError(f"{learning}: expected is_valid to be True or False")
    both = part.keys() & set(learnt["name"])
    if both:
        raise DatasetLayoutError(f"{learning}: {len(both)} test images too: {min(both)}, ...")
    which = np.where(valid == "true", "validation", "train")
    part |= zip(learnt["name"], which.tolist(), strict=True)
    names = table["name"].tolist()
    table["part"] = [part.get(name) for name in names]
    undivided = [name not in part and name.startswith(UNDIVIDED) for name in names]
    labels = Labels(
        "FLIVE",
        ", ".join((SCORES, TEST, LEARNING)),
        (0.0, 100.0),
        table.iloc[np.flatnonzero(~np.array(undivided))],
        tuple(compress(names, undivided)),
    )
    return verify(labels, ROWS, subset, PARTS)


def read_flive(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read FLIVE with its official division.

    Args:
        folder: Holds the three label files (also in database/) and the images in database/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: A label file, column or image is missing, or a score is out of range.
    """
    labels = flive_labels(folder, subset)
    return rate(labels, find_folder(folder, ("database", "."), "FLIVE"), subset)
