"""Score photographs: files and folders of any size to a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from attiqa.checkpoints import Card
from attiqa.datasets.folder import list_photos
from attiqa.errors import ImageFileError
from attiqa.folder_scoring import score_files
from attiqa.score_tables import Row, ScoreJournal, table_row
from attiqa.scoring import load_model

FEW = 50
"""So many scores are also printed, the best first."""


@dataclass(frozen=True)
class Settings:
    """Score photographs; run it again to continue where it was interrupted."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, and folders that are searched for image files."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Table to write: .csv, .jsonl or .parquet. Files that it has a score for are skipped."""
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
    """Score everything; 1 where a file could not be scored, 0 otherwise."""
    console = Console()
    model = load_model(settings.model, settings.device)
    paths = _files(settings.paths)
    journal = settings.out and ScoreJournal(settings.out, model.card)
    new = [path for path in paths if not journal or str(path) not in journal.done]
    few: list[Row] = []
    with Progress(console=console) as progress:
        task = progress.add_task("scoring", total=len(paths), completed=len(paths) - len(new))
        for files in score_files(model, new, settings.batch, settings.workers):
            rows = [table_row(file, model.card) for file in files]
            if journal:
                journal.append(rows)
            else:
                few += rows
            progress.advance(task, len(rows))
    if journal:
        failed = sum(bool(row["error"]) for row in journal.rows())
        few = list(journal.rows()) if len(paths) <= FEW else []
        journal.finish()
    else:
        failed = sum(bool(row["error"]) for row in few)
    if few:
        console.print(_printed(few, model.card))
    console.print(f"{len(paths) - failed} scored, {failed} failed", settings.out or "")
    return 1 if failed else 0


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """List files and the photographs in folders, each once.

    Raises:
        ImageFileError: No such file or folder, or none named.
    """
    if not paths:
        raise ImageFileError("expected at least one file or folder")
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
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
        if row["error"]:
            table.add_row(str(row["path"]), f"[red]{row['error']}")
        else:
            table.add_row(str(row["path"]), *(f"{row[name]:.3f}" for name in numbers))
    return table
