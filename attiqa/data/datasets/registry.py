"""The data sets by name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from attiqa.data.datasets.agiqa3k import read_agiqa3k
from attiqa.data.datasets.ava import read_ava
from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.datasets.clive import read_clive
from attiqa.data.datasets.flive import read_flive
from attiqa.data.datasets.kadid import read_kadid
from attiqa.data.datasets.koniq import read_koniq
from attiqa.data.datasets.names import PLAIN, check_name
from attiqa.data.datasets.own_folder import read_plain_folder
from attiqa.data.datasets.spaq import read_spaq
from attiqa.data.datasets.tid2013 import read_tid2013
from attiqa.data.datasets.uhdiqa import read_uhdiqa
from attiqa.data.rated_photos import RatedPhotos

DATASETS: Mapping[str, Callable[..., RatedPhotos]] = MappingProxyType(
    {
        "koniq": read_koniq,
        "clive": read_clive,
        "spaq": read_spaq,
        "flive": read_flive,
        "ava": read_ava,
        "uhdiqa": read_uhdiqa,
        "agiqa3k": read_agiqa3k,
        "kadid": read_kadid,
        "tid2013": read_tid2013,
        "biq2021": partial(read_biq2021, part=None),
        "biq2021-train": partial(read_biq2021, part="train"),
    }
)
"""Readers that take a folder in the official layout and `subset`."""


def load_dataset(
    name: str, folder: Path, subset: bool = False, scale: tuple[float, float] | None = None
) -> RatedPhotos:
    """Read a data set in its official layout.

    Args:
        name: A key of `DATASETS`, or "plain": photographs of one's own with a scores.csv.
        folder: Where it was unpacked.
        subset: A part of it is meant: missing rows and images are logged instead of refused.
        scale: Lowest and highest possible score, of "plain" only; higher must be better.

    Raises:
        DatasetLayoutError: There is no reader of that name, "plain" comes without a scale, the
            folder is not in the official layout, or something is missing.
    """
    check_name(name, scale)
    if name == PLAIN:
        assert scale is not None
        return read_plain_folder(folder, scale, subset)
    return DATASETS[name](folder, subset=subset)
