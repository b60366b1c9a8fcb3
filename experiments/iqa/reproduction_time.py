"""How long `attiqa reproduce all` takes, from the published sizes of the data sets and three rates.

    python experiments/iqa/reproduction_time.py                       # rates of this machine
    python experiments/iqa/reproduction_time.py --learn 800 --pretrain 1500 --test 2500 --devices 8

A rate is in crops per second of one device. Decoding is left out: each photograph is decoded once,
by as many threads as there are, and pretraining decodes beside the network.
"""

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from rich import print
from rich.table import Table

from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.reproduction.estimates import Rates, estimate, in_words, measure_rates
from attiqa.reproduction.item_names import ITEMS
from attiqa.reproduction.items import Cell, entries
from attiqa.reproduction.laboratory import Laboratory
from attiqa.reproduction.plan_file import Baseline, Plan
from attiqa.reproduction.run import with_needs
from experiments.settings import parsed

SIZES = {
    "clive": (1_162, 0),
    "koniq": (10_073, 0),
    "spaq": (11_125, 0),
    "flive": (39_810, 1_827),
    "ava": (255_500, 19_930),
    "agiqa3k": (2_982, 0),
}
"""Photographs, and those of the official test part where the paper takes it."""

IMAGENET = 1_281_167


@dataclass(frozen=True)
class Settings:
    """Rates, and how many devices share the work."""

    learn: float | None = None
    """Crops of 320 pixels fine-tuned; measured here if not given."""
    pretrain: float | None = None
    """Crops of 224 pixels pretrained; measured here if not given."""
    test: float | None = None
    """Crops of 320 pixels tested; measured here if not given."""
    devices: int = 1
    """Devices of these rates."""
    accelerator: str = "cpu"
    """Where rates are measured."""


@cache
def published(name: str, count: int, tested: int) -> RatedPhotos:
    """Make a data set of a published size."""
    rows = np.arange(count)
    split = Split(rows[tested:], rows[:0], rows[:tested]) if tested else None
    proper = name.upper() if tested else name
    paths = (Path(f"{name}.jpg"),) * count
    return RatedPhotos(proper, paths, np.linspace(0, 1, count), (0.0, 1.0), split=split)


class Published(Laboratory):
    """A laboratory with data sets of the published sizes, and no file."""

    def photos(self, name: str) -> RatedPhotos:
        """Make a data set of a published size."""
        return published(name, *SIZES[name])

    def unlabelled_count(self) -> int:
        """Return the size of ImageNet's training part."""
        return IMAGENET


def main(settings: Settings) -> None:
    """Print the crops of each kind of cell and the time of all."""
    plan = Plan(
        {name: Path() for name in SIZES},
        unlabelled=Path(),
        clean=Path(),
        pairs=Path(),
        baselines={"ImageNet": Baseline(Path(), "resnet50")},
    )
    fabric = Fabric(accelerator=settings.accelerator, devices=1)
    laboratory = Published(plan, Path(), fabric)
    asked = (settings.learn, settings.pretrain, settings.test)
    if all(rate is not None for rate in asked):
        rates = Rates(*(1 / rate for rate in asked if rate is not None))
    else:
        rates = measure_rates(laboratory)
    wanted = [cell for item in ITEMS for entry in entries(item, plan) for cell in entry.cells]
    seconds, cells = defaultdict[str, float](float), Counter[str]()
    for cell in with_needs(plan, wanted):
        kind = described(cell)
        cells[kind] += 1
        seconds[kind] += estimate(laboratory, cell, rates)
    table = Table("cells", "number", "time", caption=rates.describe())
    for kind, total in seconds.items():
        table.add_row(kind, str(cells[kind]), in_words(total / settings.devices))
    table.add_row("all", str(cells.total()), in_words(sum(seconds.values()) / settings.devices))
    print(table)


def described(cell: Cell) -> str:
    """Name a kind of cell."""
    return f"{cell.kind}, {cell.data}" if cell.kind == "fine-tune" else cell.kind


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(parsed(Settings))
