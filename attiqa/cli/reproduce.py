"""`attiqa reproduce`: the paper's tables from one file of paths."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from attiqa.cli.settings.reproduce import Settings
from attiqa.errors import SettingsError
from attiqa.reproduction.estimates import estimate, in_words, measure_rates
from attiqa.reproduction.item_names import ITEMS, Item
from attiqa.reproduction.items import Cell, entries
from attiqa.reproduction.laboratory import Laboratory, absent, lacking
from attiqa.reproduction.plan_file import PlanFileError, read_plan
from attiqa.reproduction.run import run, state, with_needs
from attiqa.reproduction.tables import write_tables


def main(settings: Settings) -> int:
    """Compute what is missing, or say what that is; return 1 where a cell failed."""
    laboratory, console = opened(settings), Console()
    plan = laboratory.plan
    every = "all" in settings.items
    items: list[Item] = [item for item in ITEMS if every or item in settings.items]
    wanted = (cell for item in items for entry in entries(item, plan) for cell in entry.cells)
    cells = with_needs(plan, wanted)
    if settings.dry_run:
        console.print(preview(laboratory, items))
        return 0
    if not any(not lacking(plan, cell) for cell in cells):
        lacks = _grouped(what for cell in cells for what in lacking(plan, cell))
        raise PlanFileError(f"{settings.data}: nothing can be computed without {lacks}")
    failed = run(laboratory, cells, lambda _: _keep(laboratory, items))
    for path in write_tables(laboratory, items):
        console.print(Markdown(path.read_text(encoding="utf-8")))
        console.print(str(path), soft_wrap=True)
    for cell, why in failed.items():
        console.print(f"failed: {cell.name}: {why}", markup=False, soft_wrap=True)
    left_out = _grouped(what for cell in cells for what in lacking(plan, cell))
    if left_out:
        console.print(f"not computed for lack of {left_out}", markup=False, soft_wrap=True)
    return 1 if failed else 0


def _keep(laboratory: Laboratory, items: Sequence[Item]) -> None:
    """Bring the tables up to date after a cell; figures are drawn at the end."""
    write_tables(laboratory, items, figures=False)


def opened(settings: Settings) -> Laboratory:
    """Read the file of paths and claim the folder.

    Raises:
        PlanFileError: The file makes no sense, or names something that is not there.
        CheckpointError: The folder holds results of other settings.
        SettingsError: There is no such device.
    """
    plan = read_plan(settings.data)
    missing = absent(plan)
    if missing:
        raise PlanFileError(f"{settings.data}: {'; '.join(missing)}")
    laboratory = Laboratory(
        plan,
        settings.out,
        launch(settings),
        settings.precision,
        settings.cache,
        settings.threads,
    )
    laboratory.open()
    return laboratory


def launch(settings: Settings) -> Fabric:
    """Start one process on one device.

    Raises:
        SettingsError: There is no such device.
    """
    kind, _, number = settings.device.partition(":")
    if number and not number.isdigit():
        raise SettingsError(
            f"device: expected cpu, cuda, cuda:N, mps or auto; found {settings.device}"
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device: {settings.device}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    devices = [int(number)] if number else 1
    fabric = Fabric(accelerator=kind, devices=devices, precision=settings.precision)  # pyright: ignore[reportArgumentType]  # checked by Fabric
    fabric.launch()
    return fabric


def preview(laboratory: Laboratory, items: Sequence[Item]) -> Table:
    """List the cells of each table by state, with the time that is left."""
    plan = laboratory.plan
    rates = measure_rates(laboratory)
    table = Table("table", "cells", "done", "running", "to do", "time left", "lacks")
    seen: set[Cell] = set()
    total = 0.0
    for item in items:
        wanted = [cell for entry in entries(item, plan) for cell in entry.cells]
        cells = [cell for cell in with_needs(plan, wanted) if cell not in seen]
        seen |= set(cells)
        states = Counter(state(laboratory, cell) for cell in cells)
        to_do = [cell for cell in cells if state(laboratory, cell) in ("ready", "waits")]
        seconds = sum((estimate(laboratory, cell, rates) for cell in to_do), 0.0)
        total += seconds
        table.add_row(
            item,
            str(len(cells)),
            str(states["done"]),
            str(states["running"]),
            str(len(to_do)),
            in_words(seconds),
            _grouped(what for cell in cells for what in lacking(plan, cell)),
        )
    table.add_row("", "", "", "", "", in_words(total), "")
    table.caption = (
        "Cells that tables share are counted once, where they come first. Time: on this device, "
        f"alone, photographs being decoded already; measured here: {rates.describe()}"
    )
    return table


def _grouped(lacks: Iterable[str]) -> str:
    """Write "datasets: a" and "datasets: b" as "datasets: a b"."""
    groups: dict[str, dict[str, None]] = {}
    for what in lacks:
        group, _, name = what.partition(": ")
        groups.setdefault(group, {})[name] = None
    return ", ".join(f"{k}: {' '.join(v)}" if any(v) else k for k, v in groups.items())
