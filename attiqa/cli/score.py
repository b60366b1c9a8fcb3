"""Score photographs: files and folders of any size to a table."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from attiqa.data.photo_folder import list_photos
from attiqa.errors import AttiqaError, ImageFileError
from attiqa.model.checkpoints import Card
from attiqa.model.quality_model import load_model
from attiqa.scoring.files import score_files
from attiqa.scoring.tables import Row, ScoreJournal, table_row, table_text

FEW = 50
"""So many scores are also printed, the best first."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal."""


@dataclass(frozen=True)
class Settings:
    """Score photographs; run it again to continue where it was interrupted."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, and folders that are searched for image files."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Table to write: .csv, .jsonl or .parquet. A file that it has a score for is
    skipped, unless the file was written after the table."""
    model: str = "embedded"
    """"embedded" or the name of an embedded model, a .safetensors file, a folder, or
    hf://owner/repository[@revision]."""
    device: str = "cpu"
    """Where the model runs, such as "cuda"."""
    batch: int | None = None
    """Photographs that go through the model together; by default 1 on a CPU, 32 elsewhere."""
    workers: int = 2
    """Threads that decode ahead."""


def main(settings: Settings) -> int:
    """Score everything; 1 where a file could not be scored, 130 when interrupted, 0 otherwise.

    Raises:
        AttiqaError: A setting is out of range, or nothing can be scored or written.
    """
    for name, value in (("batch", settings.batch), ("workers", settings.workers)):
        if value is not None and value < 1:
            raise AttiqaError(f"--{name} {value}: expected a number of 1 or more")
    console = Console()
    model = load_model(settings.model, settings.device)
    paths = _files(settings.paths)
    journal = settings.out and ScoreJournal(settings.out, model.card)
    new = [path for path in paths if not journal or str(path) not in journal.done]
    few: list[Row] = []
    batches = score_files(model, new, settings.batch, settings.workers)
    interrupted = False
    try:
        with Progress(console=console) as progress, contextlib.closing(batches):
            task = progress.add_task("scoring", total=len(paths), completed=len(paths) - len(new))
            for files in batches:
                rows = [table_row(file, model.card) for file in files]
                if journal:
                    journal.append(rows)
                else:
                    few += rows
                progress.advance(task, len(rows))
    except KeyboardInterrupt:
        interrupted = True
    if journal and interrupted:
        kept = journal.count()
        message = f"interrupted: {kept} of {len(paths)} files are in {_text(journal.part)}; "
        console.print(Text(message + "the same command continues"))
        return INTERRUPTED
    if journal:
        failed = sum(bool(row["error"]) for row in journal.rows())
        few = list(journal.rows()) if len(paths) <= FEW else []
        journal.finish()
    else:
        failed = sum(bool(row["error"]) for row in few)
    if few:
        console.print(_printed(few, model.card))
    if interrupted:
        console.print(Text(f"interrupted: {len(few)} of {len(paths)} files are scored"))
        return INTERRUPTED
    end = f" {_text(settings.out)}" if settings.out else ""
    kept = len(paths) - len(new)
    earlier = f", {kept} kept from earlier" if kept else ""
    console.print(Text(f"{len(paths) - failed} scored, {failed} failed{earlier}{end}"))
    return 1 if failed else 0


def _text(path: Path) -> str:
    """Write a path so that any terminal can show it."""
    return table_text(str(path))


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """List files and the photographs in folders, each once.

    Raises:
        ImageFileError: No such file or folder, or none named.
    """
    if not paths:
        raise ImageFileError("expected at least one file or folder")
    found: dict[Path, None] = {}
    for path in paths:
        if not os.path.exists(path):  # a name that is too long is not there
            raise ImageFileError(f"{path}: no such file or folder")
        found |= dict.fromkeys(list_photos(path) if path.is_dir() else [path])
    return list(found)


def _printed(rows: list[Row], card: Card) -> Table:
    """Show rows, the best first, and what the numbers mean."""
    assert card.scale is not None
    caption = (
        f"{card.name}: {card.scale.low:g} to {card.scale.high:g}, higher is better; "
        f"{card.scale.meaning}; trained on {card.training.get('data', 'not stated')}"
    )
    numbers = ("score", *card.attributes)
    table = Table(Column("file", overflow="fold"), *numbers, caption=caption)
    for row in sorted(rows, key=lambda row: (bool(row["error"]), -float(row["score"] or 0))):
        name = Text(str(row["path"]))  # brackets in names are no markup
        if row["error"]:
            table.add_row(name, Text(str(row["error"]), style="red"))
        else:
            table.add_row(name, *(f"{row[number]:.3f}" for number in numbers))
    return table
