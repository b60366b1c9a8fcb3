"""UHD-IQA: 6,073 photographs of high quality, 3,840 pixels wide, rated by ten experts.

Hosu, Agnolucci, Wiedemann, Iso and Saupe, UHD-IQA Benchmark Database, 2024 (arXiv:2406.17472), the
data of the AIM 2024 challenge (arXiv:2409.16271); database.mmsp-kn.de. The official division has
4,269 photographs to train on, 904 to validate and 900 to test, each in a folder of its own.
"""

from pathlib import Path

from attiqa.data.datasets.label_tables import Labels, find_file, rate, read_table, verify
from attiqa.data.rated_photos import RatedPhotos

ROWS = 6_073
PARTS = {"train": 4269, "validation": 904, "test": 900}
LABELS = "uhd-iqa-metadata.csv"


def uhdiqa_labels(folder: Path, subset: bool = False) -> Labels:
    """Read the label file; a name is that of the part's folder and of the file in it.

    Raises:
        DatasetLayoutError: The file is missing or not as published.
    """
    path = find_file(folder, (LABELS,), "UHD-IQA")
    table = read_table(path, {"image_name": "name", "quality_mos": "mos", "set": "part"})
    table["name"] = table["part"] + "/" + table["name"]
    table["part"] = table["part"].replace("training", "train")
    labels = Labels("UHD-IQA", path.name, (0.0, 1.0), table)
    return verify(labels, ROWS, subset, PARTS)


def read_uhdiqa(folder: Path, subset: bool = False) -> RatedPhotos:
    """Read UHD-IQA.

    Args:
        folder: Holds the label file, and training/, validation/ and test/.
        subset: A part of the data set is meant.

    Raises:
        DatasetLayoutError: A label file, column or image is missing, or a score is out of range.
    """
    return rate(uhdiqa_labels(folder, subset), folder, subset)
