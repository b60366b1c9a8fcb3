"""The data sets by name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from attiqa.datasets.agiqa3k import read_agiqa3k
from attiqa.datasets.ava import read_ava
from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.clive import read_clive
from attiqa.datasets.flive import read_flive
from attiqa.datasets.kadid import read_kadid
from attiqa.datasets.koniq import read_koniq
from attiqa.datasets.rated import RatedPhotos
from attiqa.datasets.spaq import read_spaq
from attiqa.datasets.tid2013 import read_tid2013

DATASETS: Mapping[str, Callable[..., RatedPhotos]] = MappingProxyType(
    {
        "koniq": read_koniq,
        "clive": read_clive,
        "spaq": read_spaq,
        "flive": read_flive,
        "ava": read_ava,
        "agiqa3k": read_agiqa3k,
        "kadid": read_kadid,
        "tid2013": read_tid2013,
        "biq2021": partial(read_biq2021, part=None),
        "biq2021-train": partial(read_biq2021, part="train"),
    }
)
"""Readers that take a folder in the official layout and `subset`."""


def load_dataset(name: str, folder: Path, subset: bool = False) -> RatedPhotos:
    """Read a data set in its official layout.

    Args:
        name: A key of `DATASETS`.
        folder: Where it was unpacked.
        subset: A part of it is meant: missing rows and images are logged instead of refused.

    Raises:
        ValueError: There is no reader of that name.
        DatasetLayoutError: The folder is not in the official layout, or something is missing.
    """
    if name not in DATASETS:
        raise ValueError(f"name: expected one of {', '.join(DATASETS)}; found {name!r}")
    return DATASETS[name](folder, subset=subset)
