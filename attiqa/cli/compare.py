"""`attiqa compare DATA --models ...`: finished models on the same photographs, and paired tests."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Column, Table

from attiqa.cli.settings.compare import Settings
from attiqa.data.datasets.registry import load_dataset
from attiqa.evaluation.finished.comparison import choose_part, compare
from attiqa.evaluation.finished.models import open_finished
from attiqa.files import write_atomically

COLUMNS = ("model", "SROCC", "PLCC", "KROCC", "less first", "p", "setting")
WIDEST = 20
"""Letters of a model's name in one line."""
SETTINGS = {"trained on this data set": "trained here"}
"""In few letters."""


def main(settings: Settings) -> None:
    """Compare, print a table for each data set, write results and predictions."""
    settings.out.mkdir(parents=True, exist_ok=True)
    others = (other.partition("=") for other in settings.others)
    named = [(settings.dataset, settings.data), *((name, Path(place)) for name, _, place in others)]
    datasets = [
        choose_part(load_dataset(name, folder, settings.subset, settings.scale), settings.part)
        for name, folder in named
    ]
    models = [open_finished(source, settings.device) for source in settings.models]
    console = Console()
    with Progress(console=console) as progress:
        task = progress.add_task(
            "scoring", total=len(models) * sum(len(photos.paths) for photos in datasets)
        )
        found = compare(
            models,
            datasets,
            settings.out,
            settings.resamples,
            settings.seed,
            json.loads(json.dumps(asdict(settings), default=str)),
            lambda count: progress.advance(task, count),
        )
    path = settings.out / "results.json"
    write_atomically(path, (json.dumps(found, indent=2) + "\n").encode())
    write_atomically(path.with_suffix(".md"), markdown(found).encode())
    for name, compared in found["datasets"].items():
        console.print(printed(name, compared))
    console.print(f"{path}")


def rows(compared: Mapping[str, Any]) -> list[list[str]]:
    """Write the models of a data set as rows of text, in the order they were given."""
    found = []
    for source, model in compared["models"].items():
        result = model["result"]
        cells = [
            f"{result[name]:.3f} [{result[f'{name}_low']:.3f}, {result[f'{name}_high']:.3f}]"
            for name in ("srocc", "plcc", "krocc")
        ]
        if "difference" in model:
            less = model["difference"]["srocc"]
            cells.append(f"{less['value']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]")
            cells.append(f"{less['p_holm']:.2g}")
        else:
            cells += ["", ""]
        found.append([source, *cells, SETTINGS.get(model["setting"], model["setting"])])
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """Write the tables of all data sets, and how to read them."""
    parts = []
    for name, compared in results["datasets"].items():
        lines = [f"## {name}: {compared['photographs']} photographs", ""]
        table = [list(COLUMNS), ["---"] * len(COLUMNS), *rows(compared)]
        lines += [f"| {' | '.join(row)} |" for row in table]
        parts.append("\n".join(lines))
    settings = results["settings"]
    parts.append(
        f"In brackets: 95 % bootstrap intervals ({settings['resamples']} draws of photographs, "
        "the same for all models). Less first: SROCC less that of the first model. p: Williams' "
        "test of the two SROCC, corrected by Holm over all rows of all tables. Setting: whether "
        "the model was trained on opinion scores of this data set."
    )
    return "\n\n".join(parts) + "\n"


def printed(name: str, compared: Mapping[str, Any]) -> Table:
    """Show a data set's models in the terminal: intervals of the SROCC alone, below their value."""
    longest = max(map(len, compared["models"]))
    model = Column(COLUMNS[0], overflow="fold", min_width=min(longest, WIDEST))
    title = f"{name}: {compared['photographs']} photographs"
    table = Table(model, *COLUMNS[1:], title=title, box=SIMPLE)
    for source, srocc, plcc, krocc, *rest in rows(compared):
        values = (cell.partition(" [")[0] for cell in (plcc, krocc))
        cells = (source, srocc, *values, *rest)
        table.add_row(*(escape(cell.replace(" [", "\n[")) for cell in cells))
    return table
