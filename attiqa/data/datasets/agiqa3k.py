"""AGIQA-3K: 2,982 images made by six text-to-image models from 300 prompts.

Li et al., AGIQA-3K: an open database for AI-generated image quality assessment, 2023;
github.com/lcysyzxdxc/AGIQA-3k-Database. MOS is that of perceptual quality, not of alignment with
the prompt. There is no official division.
"""

from pathlib import Path

from attiqa.data.datasets.label_tables import Labels, find_file, rate, read_table, verify
from attiqa.data.rated_photos import RatedPhotos
from attiqa.errors import DatasetLayoutError

ROWS = 2982
COLUMNS = {"name": "name", "prompt": "group", "style": "style", "mos_quality": "mos"}


def agiqa3k_labels(folder: Path, subset: bool = False) -> Labels:
    """Read data.csv: prompts are the groups; generator, its setting and style are factors.

    Raises:
        DatasetLayoutError: The file is missing or not as published.
    """
    path = find_file(folder, ("data.csv",), "AGIQA-3K")
    table = read_table(path, COLUMNS, optional={"std_quality": "deviation"})
    origin = table["name"].str.extract(r"^(.+?)_(.+)_\d+\.jpg$")
    if origin.isna().any(axis=None):
        strange = table["name"][origin[0].isna()].tolist()
        raise DatasetLayoutError(
            f"{path}: expected names like sd1.5_normal_000.jpg, found {strange[:5]}"
        )
    table["generator"], table["setting"] = origin[0], origin[1]
    return verify(Labels("AGIQA-3K", path.name, (0.0, 5.0), table), ROWS, subset)


def read_agiqa3k(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read AGIQA-3K.

    Args:
        folder: Holds data.csv and the images.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: The label file, a column or an image is missing, or a score is out of
            range.
    """
    return rate(agiqa3k_labels(folder, subset), folder, subset)
