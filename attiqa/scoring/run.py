"""A run of scoring: files to a table or the terminal, with progress; continues after a stop."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from attiqa.model.cards import Card
from attiqa.scoring.files import score_files
from attiqa.scoring.rows import Crops, Row, table_row, table_text
from attiqa.scoring.scorers import load_scorer

FEW = 50
"""So many scores are also printed, the best first."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal."""


def score_to_table(
    paths: Sequence[Path],
    out: Path | None,
    model: str = "embedded",
    device: str = "cpu",
    batch: int | None = None,
    workers: int = 2,
    crops: Crops = 5,
    intervals: bool = False,
) -> int:
    """Score photographs; those that the table has are skipped.

    Args:
        paths: Image files.
        out: The table to write; None prints the scores.
        model: What `load_model` takes.
        device: Where it runs.
        batch: Photographs that go through the model together.
        workers: Threads that decode ahead.
        crops: Of each scale of a photograph: 5, or the centre alone.
        intervals: Add the uncertainty of each score.

    Returns:
        1 where a file could not be scored, 130 when interrupted, 0 otherwise.

    Raises:
        AttiqaError: The model cannot be loaded or has no calibrated uncertainty, or the table
            cannot be written.
    """
    console = Console()
    scorer = load_scorer(model, device, crops)
    if intervals:
        scorer.card.calibrated()  # refuses before anything is scored
    journal = None
    if out:
        from attiqa.scoring.tables import ScoreJournal  # imports pyarrow: not to print a few

        journal = ScoreJournal(out, scorer.card, crops, intervals)
    new = [path for path in paths if not journal or str(path) not in journal.done]
    few: list[Row] = []
    batches = score_files(scorer, new, batch, workers)
    interrupted = False
    try:
        with Progress(console=console) as progress, contextlib.closing(batches):
            task = progress.add_task("scoring", total=len(paths), completed=len(paths) - len(new))
            for files in batches:
                rows = [table_row(file, scorer.card, crops, intervals) for file in files]
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
        table = _printed(few, scorer.card, crops, intervals)
        if not console.is_terminal:  # a file has no width
            needed = console.measure(table, options=console.options.update(max_width=10_000))
            console.width = max(console.width, needed.maximum)
        console.print(table)
    if interrupted:
        console.print(Text(f"interrupted: {len(few)} of {len(paths)} files are scored"))
        return INTERRUPTED
    end = f" {_text(out)}" if out else ""
    kept = len(paths) - len(new)
    earlier = f", {kept} kept from earlier" if kept else ""
    console.print(Text(f"{len(paths) - failed} scored, {failed} failed{earlier}{end}"))
    return 1 if failed else 0


def _text(path: Path) -> str:
    """Write a path so that any terminal can show it."""
    return table_text(str(path))


def _printed(rows: list[Row], card: Card, crops: Crops, intervals: bool) -> Table:
    """Show rows, the best first, and what the numbers mean.

    Numbers take what they need and file names the rest; the folder that all lie in stands below.
    """
    assert card.scale is not None
    caption = (
        f"{card.name}: {card.scale.low:g} to {card.scale.high:g}, higher is better; "
        f"{card.scale.meaning}; trained on {card.training.get('data', 'not stated')}"
        + ("" if crops == 5 else "; centre crop alone")
    )
    if intervals:
        caption += f"; the interval is to hold {card.calibrated()[0].level:.0%} of the opinions"
    numbers = ("score", *(("interval",) if intervals else ()), *card.attributes)
    try:
        folder = Path(os.path.commonpath([Path(str(row["path"])).parent for row in rows]))
    except ValueError:  # some absolute, some not
        folder = Path()
    if folder != Path():
        caption = f"files in {_text(folder)}\n{caption}"
    columns = (Column(name, no_wrap=True) for name in numbers)
    table = Table(
        Column("file", overflow="fold"),
        *columns,
        caption=Text(caption),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for row in sorted(rows, key=lambda row: (bool(row["error"]), -float(row["score"] or 0))):
        path = Path(str(row["path"]))
        name = Text(str(path.relative_to(folder)))  # brackets in names are no markup
        if row["error"]:
            table.add_row(name, Text(str(row["error"]), style="red"))
        else:
            score, *attributes = (f"{row[number]:.3f}" for number in ("score", *card.attributes))
            low_high = [f"{row['score_low']:.2f} {row['score_high']:.2f}"] if intervals else []
            table.add_row(name, score, *low_high, *attributes)
    return table
