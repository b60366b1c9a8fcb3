"""What do broken and hostile RAW files do to a batch? Mutants of real files, rendered in isolation.

    pip install -e ".[dev]"    # random DNGs are encoded by imagecodecs
    python experiments/isp/fuzz_rendering.py --raw PHOTOS --count 3000

Mutants are made from the embedded samples, as they are and as lossless JPEG, which has a decoder of
its own; from random legal DNGs of all layouts and with opcodes; from mosaics of four colours; and
from the files named (NEF, KDC, ...). They are the same from the same seed. `isp.mutations` says how
files are damaged: bytes, lengths, the numbers of TIFF directories and of DNG opcodes. Each is
rendered by the batch machinery with its limits. Every mutant is accounted for in mutants.jsonl;
summary.json says what became of them, and the exit status is 1 if anything happened that must not:
a picture for a file that failed, a picture of nothing, a limit that was passed, a mutant without an
outcome.
"""

import json
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from experiments.isp.dng_reference.mutations import MUTATIONS, has_opcodes
from experiments.isp.dng_reference.random_dng import random_dng
from experiments.isp.dng_reference.unusual_mosaics import COLORS, unusual_mosaic
from experiments.settings import parsed
from isp_env.batch.render_many import RenderJob, RenderSettings, render_file
from isp_env.raw import read_raw
from isp_env.raw.find import find_inputs
from isp_env.raw.write_dng import write_dng
from isp_env.render.frame import OutputSize
from isp_env.scenes.samples import sample_files
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits

console = Console()
LARGEST = 15_000_000  # bytes of a file to mutate
SETTINGS = RenderSettings(size=OutputSize(long_side=256))
RANDOM_DNGS = 40  # to mutate
SLACK = 5.0  # seconds that a worker may take to be stopped after its time


@dataclass(frozen=True)
class Settings:
    """Render mutants of RAW files."""

    raw: list[str] = field(default_factory=list)
    """Files and folders to mutate, beside the embedded samples."""
    count: int = 3000
    """Mutants."""
    seed: int = 0
    """Mutant i depends on (seed, i) and the files alone."""
    workers: int = 2
    """Processes."""
    memory: float = 1.5
    """Gigabytes that a mutant may take."""
    seconds: float = 20.0
    """Time that a mutant may take."""
    out: Path = Path("runs/fuzz_rendering")
    """Folder for the results."""


@dataclass(frozen=True)
class Mutant:
    """One file to render."""

    number: int
    mutation: str
    source: Path
    folder: Path

    @property
    def output(self) -> Path:
        """Its picture."""
        return self.folder / f"{self.number}.jpg"


def render(mutant: Mutant) -> dict[str, Any]:
    """Render a mutant as a batch does, in a worker; returns what its picture is like."""
    path = next(mutant.folder.glob(f"{mutant.number}.raw.*"))
    render_file(RenderJob(path, mutant.output, mutant.output.name, {}, "", SETTINGS))
    with Image.open(mutant.output) as picture:
        values = np.asarray(picture)
    return {"size": values.shape[:2], "range": int(values.max()) - int(values.min())}


def main(settings: Settings) -> int:
    """Run; returns the exit status."""
    logging.basicConfig(level=logging.CRITICAL)  # the parsers have a word on every mutant
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        named = [one.path for one in find_inputs(settings.raw)]
        by_kind = {path.suffix: [p for p in named if p.suffix == path.suffix] for path in named}
        sources = [sample_files(), compressed_samples(folder), made_files(folder)]
        return run(settings, [*sources, *by_kind.values()])


def compressed_samples(folder: Path) -> list[Path]:
    """Return the embedded samples with a Bayer mosaic as DNGs in lossless JPEG."""
    paths = []
    for path in sample_files():
        if (raw := read_raw(path)).mosaic is not None:
            paths.append(folder / f"{path.stem}_jpeg.dng")
            write_dng(raw, paths[-1], "lossless jpeg")
    return paths


def made_files(folder: Path) -> list[Path]:
    """Write random DNGs of all kinds, the same each time, and mosaics that are no Bayer pattern."""
    contents = {f"random_{i}.dng": random_dng(0, i).content for i in range(RANDOM_DNGS)}
    contents |= {f"mosaic_{kind}.dng": unusual_mosaic(kind) for kind in COLORS}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def run(settings: Settings, sources: Sequence[Sequence[Path]]) -> int:
    """Render the mutants of all files; returns the exit status.

    Args:
        settings: Of the command line.
        sources: Files in groups, from each of which as many mutants are made.
    """
    fitting = ([p for p in group if 1000 < p.stat().st_size <= LARGEST] for group in sources)
    groups = [group for group in fitting if group]
    settings.out.mkdir(parents=True, exist_ok=True)
    limits = Limits(memory=round(settings.memory * 1e9), seconds=settings.seconds)
    rows, wrong = [], []
    log = (settings.out / "mutants.jsonl").open("w", encoding="utf-8")
    with tempfile.TemporaryDirectory() as name, log:
        tasks = mutants(settings, groups, Path(name))
        outcomes = run_isolated(render, tasks, workers=settings.workers, limits=limits)
        for outcome in track(outcomes, "mutants", total=settings.count, console=console):
            mutant = outcome.task
            row = {
                "number": mutant.number,
                "mutation": mutant.mutation,
                "source": mutant.source.name,
                "outcome": outcome.kind,
                "reason": outcome.failure,
                "seconds": round(outcome.seconds, 3),
                "peak MB": outcome.peak_rss and round(outcome.peak_rss / 1e6),
                "picture": outcome.value,
            }
            there = mutant.output.exists()
            if there != (outcome.kind == "done"):
                wrong.append(row | {"wrong": "a picture without success, or none with it"})
            if outcome.kind == "done" and outcome.value["range"] == 0:
                wrong.append(row | {"wrong": "a picture of nothing"})
            if outcome.seconds > settings.seconds + SLACK:
                wrong.append(row | {"wrong": "took too long"})
            for left in mutant.folder.glob(f"*{mutant.number}.*"):
                left.unlink()
            log.write(json.dumps(row) + "\n")
            rows.append(row)
    numbers = Counter(row["number"] for row in rows)
    if set(numbers) != set(range(settings.count)) or max(numbers.values()) > 1:
        wrong.append({"wrong": "mutants without exactly one outcome"})
    summary = {
        "mutants": len(rows),
        "outcomes": Counter(row["outcome"] for row in rows),
        "by source": {
            suffix: Counter(row["outcome"] for row in rows if Path(row["source"]).suffix == suffix)
            for suffix in sorted({Path(row["source"]).suffix for row in rows})
        },
        "by mutation": {
            kind: Counter(row["outcome"] for row in rows if row["mutation"] == kind)
            for kind in MUTATIONS
        },
        "unexpected": Counter(
            r["reason"] for r in rows if (r["reason"] or "").startswith("unexpected")
        ),
        "longest, s": max(row["seconds"] for row in rows),
        "most memory, MB": max(row["peak MB"] or 0 for row in rows),
        "wrong": wrong,
    }
    (settings.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print_json(json.dumps(summary))
    return 1 if wrong else 0


def mutants(settings: Settings, groups: Sequence[Sequence[Path]], folder: Path) -> Iterator[Mutant]:
    """Write mutants one after the other, as workers are free for them."""
    kinds = list(MUTATIONS)
    paths = [path for group in groups for path in group]
    with_opcodes = [path for path in paths if has_opcodes(path.read_bytes())]
    for number in range(settings.count):
        rng = np.random.default_rng((settings.seed, number))
        kind = kinds[number % len(kinds)]
        group = groups[int(rng.integers(len(groups)))]
        suited = with_opcodes if kind == "edit opcodes" else group
        source, other = (some[int(rng.integers(len(some)))] for some in (suited, paths))
        data = bytearray(source.read_bytes())
        MUTATIONS[kind](data, other.read_bytes(), rng)
        (folder / f"{number}.raw{source.suffix}").write_bytes(data)
        if shutil.disk_usage(folder).free < 100_000_000:
            raise SystemExit(f"{folder}: less than 100 MB free")
        yield Mutant(number, kind, source, folder)


if __name__ == "__main__":
    sys.exit(main(parsed(Settings)))
