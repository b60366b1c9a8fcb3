"""How do time and memory of `render.py` grow with the number of files, with pixels, with workers?

    python experiments/isp/benchmark_growth.py
    python experiments/isp/benchmark_growth.py --files 1 10 100 1000 10000 --out docs/figures

Whole commands, start included. Files: many of a tenth of a megapixel (hard links to one); how long
until the first picture is there, how long in all, how long the same command takes once more when
all is done, and the most memory of the process that plans. Pixels: one file of each size; the
most memory of its worker, libraries included. Workers: a batch by 1, 2, ...

Writes growth.json and growth.png.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from rich.console import Console

from experiments.isp.benchmark_commands import processor
from experiments.isp.benchmark_rendering import Settings as FileSettings
from experiments.isp.benchmark_rendering import make_file
from experiments.settings import parsed
from isp_env.files import atomic_path

RENDER = Path(__file__).parents[1] / "render.py"
SMALL = 0.1  # megapixels of a file of which there are many
SHARED = 12.0  # megapixels of the files that workers share


@dataclass(frozen=True)
class Settings:
    """Measure how rendering grows."""

    files: tuple[int, ...] = (1, 10, 100, 1000)
    """Numbers of small files."""
    megapixels: tuple[float, ...] = (1.0, 6.0, 24.0, 50.0, 100.0, 150.0)
    """Sizes of single files."""
    workers: tuple[int, ...] = (1, 2)
    """Numbers of processes."""
    out: Path = Path("runs/benchmark_growth")
    """Folder for the results."""


def render(raw: Path, out: Path, workers: int = 2) -> dict[str, float]:
    """Run `render.py`, and watch for its first picture.

    Returns:
        Seconds in all and until the first picture, and MB of the process that plans (the largest
        process that has ended, where the system tells no more).
    """
    words = ["--raw", str(raw), "--out", str(out), "--workers", str(workers)]
    more = ["--memory", "4", "--seconds", "600"]
    said, first, planner = out.with_name(f"{out.name}.log"), float("nan"), 0.0
    with said.open("wb") as log:
        began = time.monotonic()
        command = [sys.executable, str(RENDER), *words, *more]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            if first != first and any(out.glob("*.jpg")):
                first = time.monotonic() - began
            planner = max(planner, _resident(process.pid))
            time.sleep(0.01)
        taken = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(said.read_text())
    return {"seconds": taken, "first picture, s": first, "planner, MB": planner}


def _resident(process: int) -> float:
    """Return MB that a process has in memory; 0 where nobody knows."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


def by_files(counts: Sequence[int], folder: Path) -> list[dict[str, float]]:
    """Render many small files, and ask for them once more."""
    small = make_file(FileSettings(megapixels=SMALL), folder)
    rows = []
    for count in counts:
        raw, out = folder / f"raw{count}", folder / f"out{count}"
        raw.mkdir()
        for number in range(count):
            os.link(small, raw / f"{number:06}.dng")
        found = render(raw, out)
        again = render(raw, out)["seconds"]
        rows.append({"files": count, **found, "once more, s": again})
        shutil.rmtree(raw)
        shutil.rmtree(out)
    return rows


def by_pixels(sizes: Sequence[float], folder: Path) -> list[dict[str, float]]:
    """Render a file of each size."""
    rows = []
    for size in sizes:
        raw, out = folder / f"one{size:g}", folder / f"one{size:g}-out"
        raw.mkdir()
        make_file(FileSettings(megapixels=size), raw)
        found = render(raw, out, 1)
        log = [json.loads(line) for line in (out / "render-log.jsonl").read_text().splitlines()]
        worker = {"worker, s": log[-1]["seconds"], "worker, MB": log[-1]["peak_rss"] / 1e6}
        rows.append({"megapixels": size, "seconds": found["seconds"], **worker})
        shutil.rmtree(raw)
        shutil.rmtree(out)
    return rows


def by_workers(counts: Sequence[int], folder: Path) -> list[dict[str, float]]:
    """Render a batch of twelve files by each number of workers."""
    raw = folder / "shared"
    raw.mkdir()
    path = make_file(FileSettings(megapixels=SHARED), raw)
    for number in range(11):
        os.link(path, raw / f"{number:02}.dng")
    rows = []
    for count in counts:
        found = render(raw, folder / f"by{count}", count)
        rows.append({"workers": count, "seconds": found["seconds"]})
    return rows


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw time against files, and time and memory against pixels."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    files = results["files"]
    for name in ("seconds", "once more, s", "first picture, s"):
        left.loglog([r["files"] for r in files], [r[name] for r in files], "o-", label=name)
    left.set_xlabel(f"files of {SMALL:g} megapixels")
    left.set_ylabel("seconds")
    pixels = results["pixels"]
    sizes = [r["megapixels"] for r in pixels]
    right.plot(sizes, [r["seconds"] for r in pixels], "o-", label="whole command, s")
    right.plot(sizes, [r["worker, MB"] / 100 for r in pixels], "s-", label="worker, 100 MB")
    right.set_xlabel("megapixels of one file")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(settings: Settings) -> None:
    """Measure, print, write and draw."""
    settings.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_file(FileSettings(megapixels=1.0), folder)
        (folder / "warm").mkdir()
        shutil.move(folder / "large.dng", folder / "warm")
        render(folder / "warm", folder / "warm-out")  # compiles, where that is to be done
        results = {
            "files": by_files(settings.files, folder),
            "pixels": by_pixels(settings.megapixels, folder),
            "workers": by_workers(settings.workers, folder),
            "machine": {"processor": processor(), "cores": os.cpu_count()},
        }
    with atomic_path(settings.out / "growth.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    Console().print(results)
    draw(results, settings.out / "growth.png")


if __name__ == "__main__":
    main(parsed(Settings))
