"""What do broken and hostile RAW files do to a batch? Mutants of real files, rendered in isolation.

    python experiments/fuzz_rendering.py --raw PHOTOS --count 2000

Mutants are made from the embedded samples, as they are and as lossless JPEG, which has a decoder of
its own, and from the files named, the same from the same seed: bytes
flipped anywhere or near the beginning, where the structure is; files cut short; numbers of TIFF
directories replaced, among them sizes by absurd ones (bombs); two files spliced. Each is rendered
by the batch machinery with its limits. Every mutant is accounted for in mutants.jsonl; summary.json
says what became of them, and the exit status is 1 if anything happened that must not: a picture for
a file that failed, a picture of nothing, a limit that was passed, a mutant without an outcome.
"""

import json
import logging
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.progress import track

from isp_env.batch_inputs import find_inputs
from isp_env.full_frame import OutputSize
from isp_env.outcomes import Limits
from isp_env.raw import read_raw
from isp_env.raw.write_dng import write_dng
from isp_env.rendering import RenderJob, RenderSettings, render_file
from isp_env.samples import sample_files
from isp_env.workers import run_isolated

console = Console()
LARGEST = 15_000_000  # bytes of a file to mutate
SETTINGS = RenderSettings(size=OutputSize(long_side=256))
SLACK = 5.0  # seconds that a worker may take to be stopped after its time


@dataclass(frozen=True)
class Settings:
    """Render mutants of RAW files."""

    raw: list[str] = field(default_factory=list)
    """Files and folders to mutate, beside the embedded samples."""
    count: int = 2000
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


def flip_anywhere(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Some bytes, anywhere."""
    for place in rng.integers(0, len(data), rng.integers(1, 64)):
        data[place] = rng.integers(256)


def flip_structure(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Some bytes among the first 2,000."""
    for place in rng.integers(0, min(len(data), 2000), rng.integers(1, 16)):
        data[place] = rng.integers(256)


def truncate(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """The end is missing."""
    del data[int(rng.uniform(0, len(data))) :]


def edit_tags(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Some numbers of the first TIFF directory are other ones."""
    for _ in range(rng.integers(1, 5)):
        if (place := _entry(data, rng)) is not None:
            field_of = rng.choice([2, 4, 8])  # type, count, value
            struct.pack_into("<H" if field_of == 2 else "<I", data, place + field_of, _odd(rng))


def bomb(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Width, height, strip sizes or counts are absurd."""
    wanted = {256, 257, 258, 273, 277, 278, 279, 322, 323, 330}
    places = [p for p in _entries(data) if struct.unpack_from("<H", data, p)[0] in wanted]
    for place in rng.permutation(places)[: rng.integers(1, 4)] if places else []:
        size = int(rng.choice([2**16 - 1, 2**20, 2**24, 2**31 - 1, 2**32 - 1, 0]))
        struct.pack_into("<I", data, int(place) + 8, size)
        if rng.random() < 0.3:
            struct.pack_into("<I", data, int(place) + 4, size)


def splice(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Part of another file lies over this one."""
    start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 4096))
    begin = int(rng.integers(0, max(1, len(other) - length)))
    part = other[begin : begin + length]
    data[start : start + len(part)] = part


MUTATIONS: dict[str, Callable[[bytearray, bytes, np.random.Generator], None]] = {
    "flip anywhere": flip_anywhere,
    "flip structure": flip_structure,
    "truncate": truncate,
    "edit tags": edit_tags,
    "bomb": bomb,
    "splice": splice,
}


def _odd(rng: np.random.Generator) -> int:
    return int(rng.choice([0, 1, 2, 255, 65535, int(rng.integers(0, 65536))]))


def _entries(data: bytes | bytearray) -> list[int]:
    """Places of the first directory's entries in a little-endian TIFF."""
    if len(data) < 16 or bytes(data[:4]) != b"II*\0":
        return []
    (start,) = struct.unpack_from("<I", data, 4)
    if start + 2 > len(data):
        return []
    (count,) = struct.unpack_from("<H", data, start)
    return [p for i in range(count) if (p := start + 2 + 12 * i) + 12 <= len(data)]


def _entry(data: bytes | bytearray, rng: np.random.Generator) -> int | None:
    places = _entries(data)
    return int(rng.choice(places)) if places else None


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
    with tempfile.TemporaryDirectory() as compressed:
        return run(settings, compressed_samples(Path(compressed)))


def compressed_samples(folder: Path) -> list[Path]:
    """The embedded samples with a Bayer mosaic as DNGs in lossless JPEG."""
    paths = []
    for path in sample_files():
        if (raw := read_raw(path)).mosaic is not None:
            paths.append(folder / f"{path.stem}_jpeg.dng")
            write_dng(raw, paths[-1], "lossless jpeg")
    return paths


def run(settings: Settings, compressed: list[Path]) -> int:
    """Render the mutants of all files; returns the exit status."""
    paths = [*sample_files(), *compressed, *(one.path for one in find_inputs(settings.raw))]
    paths = [path for path in paths if 1000 < path.stat().st_size <= LARGEST]
    settings.out.mkdir(parents=True, exist_ok=True)
    limits = Limits(memory=round(settings.memory * 1e9), seconds=settings.seconds)
    rows, wrong = [], []
    log = (settings.out / "mutants.jsonl").open("w", encoding="utf-8")
    with tempfile.TemporaryDirectory() as name, log:
        tasks = mutants(settings, paths, Path(name))
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
        "by mutation": {
            kind: Counter(row["outcome"] for row in rows if row["mutation"] == kind)
            for kind in MUTATIONS
        },
        "unexpected": Counter(r["reason"] for r in rows if "unexpected" in (r["reason"] or "")),
        "longest, s": max(row["seconds"] for row in rows),
        "most memory, MB": max(row["peak MB"] or 0 for row in rows),
        "wrong": wrong,
    }
    (settings.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print_json(json.dumps(summary))
    return 1 if wrong else 0


def mutants(settings: Settings, paths: list[Path], folder: Path) -> Iterator[Mutant]:
    """Write mutants one after the other, as workers are free for them."""
    kinds = list(MUTATIONS)
    for number in range(settings.count):
        rng = np.random.default_rng((settings.seed, number))
        source, other = (paths[i] for i in rng.integers(0, len(paths), 2))
        kind = kinds[number % len(kinds)]
        data = bytearray(source.read_bytes())
        MUTATIONS[kind](data, other.read_bytes(), rng)
        (folder / f"{number}.raw{source.suffix}").write_bytes(data)
        if shutil.disk_usage(folder).free < 100_000_000:
            raise SystemExit(f"{folder}: less than 100 MB free")
        yield Mutant(number, kind, source, folder)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Settings)))
