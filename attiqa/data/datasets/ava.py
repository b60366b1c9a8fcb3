"""AVA: 255,530 photographs from photography contests, rated for aesthetics.

Murray, Marchesotti and Perronnin, AVA: a large-scale database for aesthetic visual analysis, CVPR
2012; github.com/imfing/ava_downloader. The photographs were collected from a site that no longer
has all of them: copies in circulation hold some 255,500, and 70 of the 20,000 numbers of the
official test list have no scores. Up to `ABSENT` of either are left out, logged and recorded.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from attiqa.data.datasets.label_tables import Labels, find_file, find_folder, rate, verify
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import DatasetLayoutError

LOG = logging.getLogger(__name__)

ROWS = 255_530
TESTED = 20_000
ABSENT = 100
COLUMNS = 15
"""Row number, image number, counts of the votes 1 to 10, two tags, contest."""


def ava_labels(folder: Path, subset: bool = False) -> Labels:
    """Read AVA.txt, MOS being the mean vote, and the official test list; the rest is for training.

    Raises:
        DatasetLayoutError: A file is missing or not as published.
    """
    path = find_file(folder, ("AVA.txt",), "AVA")
    listed = find_file(folder, ("aesthetics_image_lists/generic_test.jpgl",), "AVA")
    votes = _numbers(path, COLUMNS)
    tested = _numbers(listed, 1)[:, 0]
    counts = votes[:, 2:12].astype(np.float64)
    if (counts < 0).any() or not counts.sum(axis=1).all():
        raise DatasetLayoutError(f"{path}: expected votes in every row")
    unknown = np.setdiff1d(tested, votes[:, 1])
    shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(1, 11)
    mos = shares @ levels
    table = pd.DataFrame(
        {
            "name": [f"{number}.jpg" for number in votes[:, 1]],
            "mos": mos,
            "deviation": ((levels - mos[:, None]) ** 2 * shares).sum(axis=1) ** 0.5,
            "part": np.where(np.isin(votes[:, 1], tested), "test", "train"),
        }
    )
    dropped = tuple(f"{number}.jpg" for number in unknown)
    labels = Labels("AVA", f"{path.name}, {listed.name}", (1.0, 10.0), table, dropped, shares)
    labels = verify(labels, ROWS, subset)
    if not subset and (len(tested) != TESTED or len(unknown) > ABSENT):
        raise DatasetLayoutError(
            f"{listed}: expected {TESTED} numbers, {ABSENT} of them unknown to {path.name} at the "
            f"most; found {len(tested)}, {len(unknown)} unknown"
        )
    if len(unknown):
        LOG.warning("%s: %d numbers are not in %s", listed, len(unknown), path.name)
    return labels


def read_ava(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read AVA with its official test part; there is no official validation part.

    Args:
        folder: Holds AVA.txt, aesthetics_image_lists/ and images/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: A label file is missing or not as published, or more than `ABSENT`
            images are missing.
    """
    labels = ava_labels(folder, subset)
    return rate(labels, find_folder(folder, ("images",), "AVA"), subset, ABSENT)


def _numbers(path: Path, columns: int) -> np.ndarray:
    """Read whole numbers that are separated by spaces."""
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None)
    except (OSError, ValueError) as error:
        raise DatasetLayoutError(f"{path}: cannot be read as a table: {error}") from error
    if table.shape[1] != columns or not all(kind == np.int64 for kind in table.dtypes):
        raise DatasetLayoutError(
            f"{path}: expected {columns} columns of whole numbers, found {table.shape[1]} of "
            f"{sorted({str(kind) for kind in table.dtypes})}"
        )
    return table.to_numpy()
