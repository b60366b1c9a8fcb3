"""Does `read_raw` agree with the independent reference on random legal DNGs?

    pip install -e ".[dev]"    # the reference decodes by imagecodecs
    python experiments/isp/dng_reference/check_dng.py --count 5000

Each file depends on the seed and its number alone. A difference of more than one sample step, a
refusal or a crash is named with them, and the file is kept; summary.json says how many there were
and of which kinds the files are. The exit status is 1 if there was any.
"""

import json
import logging
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from experiments.isp.dng_reference.agreement import differences
from experiments.isp.dng_reference.random_dng import random_dng
from experiments.settings import parsed

console = Console()
LISTS = {51008: 1, 51009: 2, 51022: 3}
CHUNK = 20  # files that a process checks at a time


@dataclass(frozen=True)
class Settings:
    """Compare readings of random DNGs."""

    count: int = 5000
    """Files."""
    seed: int = 0
    """File i depends on (seed, i) alone."""
    first: int = 0
    """Number of the first file."""
    workers: int = 2
    """Processes."""
    out: Path = Path("runs/check_dng")
    """Folder for the summary and the files that are read otherwise."""


def check(number: int, seed: int, out: Path) -> dict[str, Any]:
    """Write one file and compare its readings; it is kept where they differ."""
    dng = random_dng(seed, number)
    path = out / f"{seed}_{number}.dng"
    path.write_bytes(dng.content)
    others = logging.root.manager.disable
    logging.disable(logging.WARNING)  # what a file does not say is logged; thousands of times here
    try:
        wrong = differences(path)
    except Exception as error:  # a refusal of a legal file or a crash is a finding like others
        wrong = [f"{type(error).__name__}: {error}"]
    finally:
        logging.disable(others)
    if not wrong:
        path.unlink()
    return {"seed": seed, "number": number, "wrong": wrong, "drawn": dng.drawn}


def main(settings: Settings) -> int:
    """Run; returns the exit status."""
    settings.out.mkdir(parents=True, exist_ok=True)
    numbers = range(settings.first, settings.first + settings.count)
    task = partial(check, seed=settings.seed, out=settings.out)
    with ProcessPoolExecutor(settings.workers, mp_context=get_context("spawn")) as pool:
        found = pool.map(task, numbers, chunksize=CHUNK)
        rows = list(track(found, "random DNGs", total=settings.count, console=console))
    wrong = [row for row in rows if row["wrong"]]
    summary = {
        "seed": settings.seed,
        "files": len(rows),
        "wrong": len(wrong),
        "kinds": Counter(row["drawn"]["kind"] for row in rows),
        "places": Counter(row["drawn"]["place"] for row in rows),
        "compressions": Counter(row["drawn"]["compression"] for row in rows),
        "bits": Counter(_sample_type(row["drawn"]) for row in rows),
        "opcodes": Counter(
            f"list {LISTS[code]}: {kind}"
            for row in rows
            for code, kinds in row["drawn"]["opcodes"].items()
            for kind in kinds
        ),
        "differences": wrong,
    }
    (settings.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for row in wrong[:20]:
        console.print(f"{row['seed']}_{row['number']}.dng: {'; '.join(row['wrong'])}")
    console.print(
        f"{len(rows)} files, {len(wrong)} read otherwise: {settings.out / 'summary.json'}"
    )
    return 1 if wrong else 0


def _sample_type(drawn: dict[str, Any]) -> str:
    return f"{'float' if drawn['is_float'] else 'uint'}{drawn['bits']}"


if __name__ == "__main__":
    sys.exit(main(parsed(Settings)))
