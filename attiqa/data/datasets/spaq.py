"""SPAQ: 11,125 photographs from smartphones, with human scores of five attributes.

Fang, Zhu, Zeng, Ma and Wang, Perceptual Quality Assessment of Smartphone Photography, CVPR 2020;
github.com/h4nwei/SPAQ. A high "noisiness" means a *clean* photograph. There is no official
division. The photographs have up to 20 megapixels: the authors resize the short side to 512.
"""

from pathlib import Path

import numpy as np

from attiqa.attributes import ATTRIBUTES
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

ROWS = 11_125
TITLES = ("MOS and Image attribute scores", "MOS_and_Image_attribute_scores")
FILES = tuple(
    f"{folder}{title}{suffix}"
    for folder in ("Annotations/", "")
    for suffix in (".xlsx", ".csv")
    for title in TITLES
)


def spaq_labels(folder: Path, subset: bool = False) -> Labels:
    """Read the scores of quality and attributes, as published (.xlsx) or exported (.csv).

    Raises:
        DatasetLayoutError: The file is missing or not as published, or noisiness falls with MOS.
    """
    path = find_file(folder, FILES, "SPAQ")
    columns = {name.capitalize(): name for name in ATTRIBUTES}
    table = read_table(path, {"Image name": "name", "MOS": "mos"} | columns)
    labels = verify(Labels("SPAQ", path.name, (0.0, 100.0), table), ROWS, subset)
    mos, clean = np.asarray(labels.table[["mos", "noisiness"]], np.float64).T
    covariance = np.mean((mos - mos.mean()) * (clean - clean.mean()))
    if not covariance > 0:
        raise DatasetLayoutError(
            f"{path}: expected noisiness to rise with MOS (high means clean); their covariance is "
            f"{covariance:.3g}"
        )
    return labels


def read_spaq(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read SPAQ, attributes included.

    Args:
        folder: Holds Annotations/ and TestImage/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: A label file, column or image is missing, a score is out of range, or
            noisiness has the wrong sign.
    """
    labels = spaq_labels(folder, subset)
    return rate(labels, find_folder(folder, ("TestImage",), "SPAQ"), subset)
