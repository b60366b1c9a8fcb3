"""What the commands that render batches share: inputs, progress, messages, exit status."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from attiqa.errors import AttiqaError
from isp_env.batch.render_many import Rendered
from isp_env.errors import IspEnvError
from isp_env.files import shown
from isp_env.raw.find import RawInput, find_inputs, read_list

STATUSES = ("done", "skipped", "planned", "failed")
INTERRUPTED = 130  # as shells have it: 128 + SIGINT

console = Console(stderr=True)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; its exit status, or 2 after a message if it cannot begin or go on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that its encoding does not have
    # as in the workers: in other sums the last digits are others
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    handlers = [RichHandler(console=console, show_path=False, show_time=False)]
    logging.basicConfig(format="%(message)s", handlers=handlers)
    try:
        return command()
    except KeyboardInterrupt:
        say("interrupted: what is done stays, and the same command goes on from there")
        return INTERRUPTED
    except (IspEnvError, AttiqaError, OSError) as error:
        say(f"[red]{escape(str(error))}[/red]")
        return 2


def say(markup: str) -> None:
    """Print a line for people."""
    console.print(markup, highlight=False, soft_wrap=True)


def named_inputs(raw: Sequence[str | Path], listed: Path | None) -> list[RawInput]:
    """Return files of the command line and of a list, "-" for the standard input.

    Raises:
        BatchError: A name stands for nothing, or the list is no text.
        OSError: The list cannot be read.
    """
    if listed is None:
        return find_inputs(raw)
    is_stream = str(listed) == "-"
    content = sys.stdin.buffer.read() if is_stream else listed.read_bytes()
    return find_inputs(raw, read_list(content, None if is_stream else listed.parent))


def followed(batch: Generator[Rendered, None, None], total: int) -> list[Rendered]:
    """Run a batch with a progress bar; failures are named as they come."""
    results: list[Rendered] = []
    rendered = 0
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress, contextlib.closing(batch):
        bar = progress.add_task("rendering", total=total, rate="")
        for result in batch:
            results.append(result)
            if result.status == "failed":
                said = f"{shown(result.source)}: {result.reason}"
                say(f"[red]failed[/red] {escape(said)}")
            if result.status == "planned":
                print(f"{shown(result.source)} -> {shown(result.output)}")
            elapsed = progress.tasks[bar].elapsed or 0
            rendered += result.status == "done"
            rate = f"{rendered / elapsed:.2f} files/s" if rendered and elapsed else ""
            progress.update(bar, advance=1, rate=rate)
    return results


def concluded(results: Sequence[Rendered], out: Path) -> int:
    """Say what became of the files; the exit status."""
    counts = {status: sum(r.status == status for r in results) for status in STATUSES}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    say(escape(f"{said}: {shown(out)}"))
    return 1 if counts["failed"] else 0
