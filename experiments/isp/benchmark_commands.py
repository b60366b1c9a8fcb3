"""How long do whole commands take, as a user types them, start included?

    python experiments/isp/benchmark_commands.py
    python experiments/isp/benchmark_commands.py --raw PHOTO.dng --out docs/figures

Files as `benchmark_rendering.py` makes them: 24 megapixels, lossless JPEG. In rounds, one command
after the other: `render.py` with every knob off neutral, neutral, and small; the script that a
photographer would write with rawpy (`rawpy_baseline.py`); darktable-cli, if it is installed; one
photograph scored, beside `import torch`; help and refusals; the main job, `enhance.py`, on the
embedded samples. Each is warm: a first run, which compiles loops and makes samples, is not counted.

Run it on a machine that does nothing else. Writes commands.json: the seconds of each round, their
medians, and the ratios within the rounds.
"""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data as photographs

from experiments.isp.benchmark_rendering import Settings as FileSettings
from experiments.isp.benchmark_rendering import make_file
from experiments.settings import parsed
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.raw import read_raw
from isp_env.render.frame import render_raw

ROOT = Path(__file__).parents[2]
PARAMETERS = DEFAULT_PIPELINE.parameters
OFF_NEUTRAL = 0.3  # of the way to the upper bound: every stage has something to do

COMPARED = (
    ("12 files: render.py", "12 files: rawpy AHD"),
    ("12 files: render.py", "12 files: darktable-cli"),
    ("12 files: render.py", "12 files: decode and encode"),
    ("12 files: render.py, neutral", "12 files: rawpy AHD"),
    ("12 files: render.py --long-side 1024", "12 files: rawpy half size"),
    ("one file: render.py", "one file: rawpy AHD"),
    ("one file: render.py", "one file: darktable-cli"),
    ("attiqa score ONE.jpg", "import torch"),
    ("attiqa pretrain --help", "import torch"),
    ("attiqa finetune, name misspelt", "import torch"),
)
"""Pairs whose ratio of times is reported: the second over the first."""


@dataclass(frozen=True)
class Settings:
    """Measure whole commands."""

    raw: Path | None = None
    """RAW file with a Bayer mosaic to repeat; the first embedded sample if not given."""
    megapixels: float = 24.0
    """Size of the files that are rendered."""
    files: int = 12
    """Files of a batch."""
    rounds: int = 3
    """Of each command."""
    workers: int = 2
    """Processes that render."""
    darktable: bool = True
    """Where it is installed; it takes ten times as long as all the others."""
    out: Path = Path("runs/benchmark_commands")
    """Folder for the results."""


def commands(settings: Settings, folder: Path) -> dict[str, list[str]]:
    """Return the commands by name; `folder` has `raw` with the files, `one` with one of them."""
    python, name = sys.executable, f"{settings.files} files"
    program = str(Path(python).with_name("attiqa"))
    values = {p.name: p.neutral + OFF_NEUTRAL * (p.high - p.neutral) for p in PARAMETERS}
    knobs = ["--parameters", *(f"{knob}={value:.4g}" for knob, value in values.items())]
    workers = str(settings.workers)

    def render(raw: Path, *more: str) -> list[str]:
        script = str(ROOT / "experiments" / "render.py")
        there = ["--raw", str(raw), "--out", str(folder / "out"), "--workers", workers]
        return [python, script, *there, *more]

    def baseline(raw: Path, processes: str, algorithm: str) -> list[str]:
        script = str(ROOT / "experiments" / "isp" / "rawpy_baseline.py")
        return [python, script, str(raw), str(folder / "out"), processes, algorithm]

    raw, one = folder / "raw", folder / "one"
    found = {
        f"{name}: render.py": render(raw, *knobs),
        f"{name}: rawpy AHD": baseline(raw, workers, "AHD"),
        f"{name}: decode and encode": baseline(raw, workers, str(folder / "picture.npy")),
        f"{name}: render.py, neutral": render(raw),
        f"{name}: render.py --long-side 1024": render(raw, *knobs, "--long-side", "1024"),
        f"{name}: rawpy half size": baseline(raw, workers, "half"),
        "one file: render.py": render(one, *knobs),
        "one file: rawpy AHD": baseline(one, "1", "AHD"),
        "import torch": [python, "-c", "import torch"],
        "attiqa score ONE.jpg": [program, "score", str(folder / "photo.jpg")],
        "attiqa pretrain --help": [program, "pretrain", "--help"],
        "attiqa finetune, name misspelt": [program, "finetune", str(folder), "--dataset", "konik"],
        "enhance.py, the samples": [
            python,
            str(ROOT / "experiments" / "enhance.py"),
            *("--out", str(folder / "out"), "--workers", workers),
        ],
    }
    if settings.darktable and shutil.which("darktable-cli"):
        found[f"{name}: darktable-cli"] = _darktable(raw, folder / "out", settings.workers)
        found["one file: darktable-cli"] = _darktable(one, folder / "out", 1)
    return found


def _darktable(raw: Path, out: Path, workers: int) -> list[str]:
    """darktable-cli as its users run it: one process for each file, as many at once as workers."""
    conf = "--core --disable-opencl --conf plugins/imageio/format/jpeg/quality=95"
    one = (
        f"mkdir -p {shlex.quote(str(out))}/config$$ && darktable-cli {{}} "
        f"{shlex.quote(str(out))}/$$.jpg {conf} --configdir {shlex.quote(str(out))}/config$$ "
        "--library :memory: > /dev/null 2>&1"
    )
    files = f"find {shlex.quote(str(raw))} -name '*.dng' -print0"
    return ["sh", "-c", f"{files} | xargs -0 -P {workers} -I {{}} sh -c {shlex.quote(one)}"]


def seconds_of(command: Sequence[str], out: Path) -> float:
    """Run a command, its output folder empty before and after."""
    shutil.rmtree(out, ignore_errors=True)
    threads = max(1, (os.cpu_count() or 1) // 2) if "darktable-cli" in " ".join(command) else 1
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as for users
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    taken = time.monotonic() - began
    refused = "finetune" in command
    if done.returncode != (1 if refused else 0):
        raise RuntimeError(f"{shlex.join(command)}: {done.stdout}{done.stderr}")
    shutil.rmtree(out, ignore_errors=True)
    return taken


def summarise(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return medians, and for `COMPARED` how many times as long the second command takes."""
    ratios = {}
    for ours, other in COMPARED:
        if ours in seconds and other in seconds:
            each = [b / a for a, b in zip(seconds[ours], seconds[other], strict=True)]
            ratios[f"{other} over {ours}"] = {
                "median": statistics.median(each),
                "range": [min(each), max(each)],
            }
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {"median seconds": medians, "ratios": ratios, "seconds": dict(seconds)}


def processor() -> str:
    """Return the name of the processor, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")


def main(settings: Settings) -> None:
    """Measure, print and write."""
    console = Console()
    settings.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = FileSettings(raw=settings.raw, megapixels=settings.megapixels)
        path = make_file(made, folder)
        (folder / "raw").mkdir()
        (folder / "one").mkdir()
        for number in range(settings.files):
            shutil.copyfile(path, folder / "raw" / f"{number:02}.dng")
        shutil.copyfile(path, folder / "one" / "00.dng")
        theta = np.full(len(PARAMETERS), OFF_NEUTRAL, np.float32)
        np.save(folder / "picture.npy", render_raw(read_raw(path), theta))
        Image.fromarray(photographs.astronaut()).save(folder / "photo.jpg", quality=95)
        every = commands(settings, folder)
        seconds: dict[str, list[float]] = {name: [] for name in every}
        for turn in range(-1, settings.rounds):
            for name, command in every.items():
                if turn < 0 and "darktable" in name:
                    continue
                taken = seconds_of(command, folder / "out")
                if turn >= 0:
                    seconds[name].append(taken)
                    console.print(f"round {turn + 1}/{settings.rounds}: {name}: {taken:.2f} s")
            if turn >= 0:  # an interruption costs the round that it falls into
                _write(settings, seconds)
    table = Table("command", "median, s", "range")
    for name, each in seconds.items():
        table.add_row(name, f"{statistics.median(each):.2f}", f"{min(each):.2f}-{max(each):.2f}")
    console.print(table)
    for name, ratio in summarise(seconds)["ratios"].items():
        low, high = ratio["range"]
        console.print(f"{name}: {ratio['median']:.2f} ({low:.2f}-{high:.2f})")


def _write(settings: Settings, seconds: Mapping[str, Sequence[float]]) -> None:
    results = summarise(seconds) | {
        "settings": {
            "megapixels": settings.megapixels,
            "files": settings.files,
            "workers": settings.workers,
            "rounds": settings.rounds,
        },
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "versions": {n: version(n) for n in ("attiqa", "torch", "numba", "rawpy", "pillow")},
    }
    with atomic_path(settings.out / "commands.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(parsed(Settings))
