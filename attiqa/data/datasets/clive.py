"""CLIVE, the LIVE In the Wild Image Quality Challenge Database: 1,162 photographs from phones.

Ghadiyaram and Bovik, Massive online crowdsourced study of subjective and objective picture quality,
2016; live.ece.utexas.edu/research/ChallengeDB. The first seven of 1,169 entries trained the raters
and are not part of the data set.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from attiqa.data.datasets.label_tables import Labels, find_file, find_folder, rate, verify
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import DatasetLayoutError

ROWS = 1162
RATER_TRAINING = 7
DEVIATIONS = "AllStdDev_release"


def clive_labels(folder: Path) -> Labels:
    """Read Data/AllImages_release.mat and Data/AllMOS_release.mat.

    Data/AllStdDev_release.mat, which some copies lack, has the deviations of the opinions.

    Raises:
        DatasetLayoutError: One of the two is missing, or one of the three not as published.
    """
    names = [str(np.squeeze(name)) for name in _variable(folder, "AllImages_release")]
    mos = _variable(folder, "AllMOS_release")
    columns = {"name": names, "mos": mos}
    source = "AllImages_release.mat, AllMOS_release.mat"
    if (folder / "Data" / f"{DEVIATIONS}.mat").is_file():
        columns["deviation"] = _variable(folder, DEVIATIONS)
        source += f", {DEVIATIONS}.mat"
    for column, values in columns.items():
        if len(values) != len(names):
            raise DatasetLayoutError(
                f"{folder}/Data: {len(names)} images but {len(values)} values of {column}"
            )
    table = pd.DataFrame(columns).iloc[RATER_TRAINING:]
    return verify(Labels("CLIVE", source, (0.0, 100.0), table), ROWS, subset=False)


def read_clive(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read CLIVE.

    Args:
        folder: ChallengeDB_release, with Data/ and Images/.
        subset: A part of the images is meant.

    Raises:
        DatasetLayoutError: A label file or image is missing, or a score is out of range.
    """
    labels = clive_labels(folder)
    return rate(labels, find_folder(folder, ("Images",), "CLIVE"), subset)


def _variable(folder: Path, name: str) -> np.ndarray:
    """Read the variable that a .mat file is named after, as one row."""
    path = find_file(folder, (f"Data/{name}.mat",), "CLIVE")
    try:
        return loadmat(path)[name].reshape(-1)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MatReadError) as error:
        raise DatasetLayoutError(f"{path}: cannot be read for {name}: {error!r}") from error
