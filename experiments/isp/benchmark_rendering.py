"""How fast are RAW files rendered, beside LibRaw's AHD, darktable-cli, and decoding and encoding?

    python experiments/isp/benchmark_rendering.py --raw PHOTO.dng

A real mosaic (or an embedded sample) is repeated to 24 megapixels and written as a lossless JPEG
DNG, as cameras write it; several copies of it are the batch. In rounds, one after the other, each
method renders the batch to JPEG 95 with two processes: this project with every knob off neutral,
rawpy (AHD) with Pillow, darktable-cli if it is installed, and decoding and encoding alone, which is
the most that any program can reach. Files per second count from the first warm file of each process
to its last, so that starting is apart; whole wall times, starting included, are reported, too.

Then the times of the stages of one rendering, and of the environment's preview beside decoding.
Run it on a machine that does nothing else. Writes rendering.json and rendering.png.
"""

import json
import multiprocessing
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import torch
from PIL import Image
from rich.console import Console

from experiments.agent_chooser import AgentChooser
from experiments.isp.rawpy_baseline import develop
from experiments.isp.rendering_report import draw, show, summarise
from experiments.settings import parsed
from isp_env.develop.downsized import preview
from isp_env.develop.linear_source import linear_source
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.guide import guide_factor
from isp_env.raw import read_raw
from isp_env.raw.write_dng import write_dng
from isp_env.render.frame import render_raw
from isp_env.render.photograph import camera_exif, write_photograph
from isp_env.scenes.samples import sample_files
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits

console = Console()


@dataclass(frozen=True)
class Settings:
    """Measure the speed of rendering."""

    raw: Path | None = None
    """RAW file with a Bayer mosaic to repeat; the first embedded sample if not given."""
    megapixels: float = 24.0
    """Size of the files that are rendered."""
    files: int = 6
    """Files of a batch for each process, after one to warm up."""
    rounds: int = 3
    """Batches of each method."""
    workers: int = 2
    """Processes of each method."""
    seed: int = 0
    """Of the knobs."""
    out: Path = Path("runs/benchmark_rendering")
    """Folder for the results."""


@dataclass(frozen=True)
class Timed:
    """What one process measured: when its first and its last warm file ended."""

    start: float
    end: float
    files: int


Method = Callable[[Path, Path], None]


"""(RAW file, JPEG to write)."""


def ours(theta: tuple[float, ...], source: Path, target: Path) -> None:
    """Run this project: all that `render_file` does to pixels."""
    pixels = render_raw(read_raw(source), torch.tensor(theta))
    write_photograph(pixels, target, exif=camera_exif(source))


def work(method: Method, sources: Sequence[Path], folder: Path) -> Timed:
    """Render the first file to warm up, then the others; runs in a process of its own."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    method(sources[0], folder / "warm.jpg")
    start = time.monotonic()
    for source in sources[1:]:
        method(source, folder / f"{source.stem}.jpg")
    return Timed(start, time.monotonic(), len(sources) - 1)


def run_method(method: Method, batches: Sequence[Sequence[Path]], folder: Path) -> dict[str, Any]:
    """Run one batch in each process at once."""
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come
    with ProcessPoolExecutor(len(batches), mp_context=context) as pool:
        jobs = [
            pool.submit(work, method, batch, folder / str(number))
            for number, batch in enumerate(batches)
        ]
        found = [job.result() for job in jobs]
    wall = time.monotonic() - began
    rates = [timed.files / (timed.end - timed.start) for timed in found]
    return {
        "files per second": sum(rates),
        "wall time": wall,
    }


def run_darktable(batches: Sequence[Sequence[Path]], folder: Path) -> dict[str, Any]:
    """darktable-cli, one process for each file as its users run it, as many at once as workers."""
    began = time.monotonic()

    def one(number: int, source: Path) -> list[str]:
        home = folder / f"config{number}"
        home.mkdir(parents=True, exist_ok=True)
        target = folder / f"{number}-{source.stem}.jpg"
        command = ["darktable-cli", str(source), str(target), "--core", "--disable-opencl"]
        conf = ["--conf", "plugins/imageio/format/jpeg/quality=95"]
        return [*command, *conf, "--configdir", str(home), "--library", ":memory:"]

    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // len(batches)))}
    running = []
    for number, batch in enumerate(batches):
        lines = " && ".join(" ".join(map(shlex.quote, one(number, source))) for source in batch[1:])
        running.append(
            subprocess.Popen(
                ["sh", "-c", lines],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **threads},
            )
        )
    codes = [process.wait() for process in running]
    wall = time.monotonic() - began
    files = sum(len(batch) - 1 for batch in batches)
    made = len(list(folder.glob("*.jpg")))
    if any(codes) or made != files:
        raise RuntimeError(f"darktable-cli made {made} of {files} pictures, exit status {codes}")
    return {"files per second": files / wall, "wall time": wall}


def through_the_batch(
    method: Method, batches: Sequence[Sequence[Path]], folder: Path
) -> dict[str, Any]:
    """Time our method through the isolated workers that `render.py` uses, their start included."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [source for batch in batches for source in batch[1:]]
    began = time.monotonic()
    tasks = [(source, folder / f"{i}.jpg") for i, source in enumerate(sources)]
    outcomes = list(
        run_isolated(partial(_apply, method), tasks, workers=len(batches), limits=Limits())
    )
    wall = time.monotonic() - began
    if failed := [o.failure for o in outcomes if o.failure]:
        raise RuntimeError(failed[0])
    return {"files per second": len(sources) / wall, "wall time": wall}


def _apply(method: Method, task: tuple[Path, Path]) -> None:
    method(*task)


def worker_memory(method: Method, source: Path, folder: Path) -> dict[str, float]:
    """Return most MB of one of the workers that `render.py` uses, over two files.

    "private" is memory that no other process shares; "resident" has the libraries, too, which all
    workers share with the server that they are forked from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(source, folder / f"{i}.jpg") for i in range(2)]
    found = list(run_isolated(partial(_watched, method), tasks, workers=1, limits=Limits()))
    if failed := [o.failure for o in found if o.failure]:
        raise RuntimeError(failed[0])
    return {
        "private": max(o.value for o in found),
        "resident": max(o.peak_rss or 0 for o in found) / 2**20,
    }


def _watched(method: Method, task: tuple[Path, Path]) -> float:
    """Return most private memory in MB during a task, looked at every few milliseconds."""
    done, most = threading.Event(), [_private_mb()]

    def watch() -> None:
        while not done.wait(0.005):
            most.append(_private_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        method(*task)
    finally:
        done.set()
        watcher.join()
    return max(most)


def stage_times(path: Path, theta: tuple[float, ...]) -> dict[str, float]:
    """Time the parts of one rendering in this process, with one thread; best of five."""
    torch.set_num_threads(1)

    def best(function: Callable[[], Any], repeats: int = 5) -> float:
        function()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    def decode() -> None:
        with rawpy.imread(str(path)) as file:
            file.raw_image.max()

    raw = read_raw(path)
    source = linear_source(raw)
    height, width = source.shape
    out = np.empty((3, 32, width), np.float32)

    def demosaic() -> None:
        for top in range(0, height, 32):
            bottom = min(top + 32, height)
            source.rows(top, bottom, out[:, : bottom - top])

    knobs = torch.tensor(theta)
    pixels = render_raw(raw, knobs)
    chooser = AgentChooser.of("prior")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "a.jpg"
        times = {
            "decode by LibRaw": best(decode),
            "decode, metadata, checks": best(lambda: read_raw(path)),
            "guide": best(lambda: source.reduced(guide_factor(max(height, width)))),
            "demosaic": best(demosaic),
            "render, all": best(lambda: render_raw(raw, knobs)),
            "encode": best(lambda: Image.fromarray(pixels).save(target, "JPEG", quality=95)),
            "encode, EXIF, profile": best(
                lambda: write_photograph(pixels, target, exif=camera_exif(path))
            ),
            "preview of 256 pixels": best(lambda: preview(raw, 256)),
            "choice of the policy": best(lambda: chooser(raw, {})),
        }
    times["pixels"] = times["render, all"] - times["demosaic"] - times["guide"]
    return times


def main(settings: Settings) -> None:
    """Measure, print and write."""
    settings.out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(settings.seed)
    size = 0.3 + 0.4 * torch.rand(len(DEFAULT_PIPELINE.parameters), generator=generator)
    sign = torch.randint(0, 2, size.shape, generator=generator) * 2 - 1
    theta = tuple((size * sign).tolist())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make_file(settings, folder)
        batches = []
        for worker in range(settings.workers):
            batch = [folder / f"{worker}-{i}.dng" for i in range(settings.files + 1)]
            for copy in batch:
                shutil.copyfile(path, copy)
            batches.append(batch)
        raw = read_raw(path)
        picture = folder / "picture.npy"
        np.save(picture, render_raw(raw, torch.tensor(theta)))
        methods: dict[str, Callable[[Path], dict[str, Any]]] = {
            "ours": lambda to: run_method(partial(ours, theta), batches, to),
            "rawpy AHD": lambda to: run_method(partial(develop, "AHD"), batches, to),
            "decode and encode": lambda to: run_method(partial(develop, str(picture)), batches, to),
            "rawpy linear": lambda to: run_method(partial(develop, "LINEAR"), batches, to),
            "rawpy half size": lambda to: run_method(partial(develop, "half"), batches, to),
            "ours, isolated": lambda to: through_the_batch(partial(ours, theta), batches, to),
        }
        if shutil.which("darktable-cli"):
            methods["darktable-cli"] = lambda to: run_darktable(batches, to)
        else:
            console.print("darktable-cli is not installed: left out")
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
        for turn in range(settings.rounds):
            for name, run in methods.items():
                console.print(f"round {turn + 1}/{settings.rounds}: {name}")
                target = folder / f"out-{turn}-{len(runs[name])}-{name.replace(' ', '-')}"
                runs[name].append(run(target))
                shutil.rmtree(target, ignore_errors=True)
        stages = stage_times(path, theta)
        memory = worker_memory(partial(ours, theta), path, folder / "memory")
        size_mb = path.stat().st_size / 1e6
    results = summarise(runs, raw) | {
        "stages, s": stages,
        "memory of a worker, MB": memory,
        "preview as a share of decoding": {
            by: stages["preview of 256 pixels"] / stages[stage]
            for by, stage in (
                ("LibRaw's", "decode by LibRaw"),
                ("ours", "decode, metadata, checks"),
            )
        },
        "file": {"megapixels": raw.mosaic.size / 1e6, "MB": size_mb},  # type: ignore[union-attr]
        "knobs": dict(zip((p.name for p in DEFAULT_PIPELINE.parameters), theta, strict=True)),
        "settings": asdict(replace(settings, raw=None))
        | {"raw": settings.raw and settings.raw.name},
        "versions": {n: version(n) for n in ("attiqa", "torch", "numba", "rawpy", "pillow")}
        | {"libraw": ".".join(map(str, rawpy.libraw_version)), "python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor()},
        "runs": runs,
    }
    with atomic_path(settings.out / "rendering.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2, default=str) + "\n")
    show(results)
    draw(results, settings.out / "rendering.png")


def make_file(settings: Settings, folder: Path) -> Path:
    """Return a mosaic of about so many megapixels as lossless JPEG."""
    raw = read_raw(settings.raw or sample_files()[0])
    if raw.mosaic is None or raw.mosaic.dtype != np.uint16:
        raise SystemExit(f"{raw.path}: a Bayer mosaic is needed")
    mosaic = raw.mosaic[: raw.mosaic.shape[0] // 2 * 2, : raw.mosaic.shape[1] // 2 * 2]
    scale = (settings.megapixels * 1e6 / mosaic.size) ** 0.5
    height, width = (round(side * scale / 2) * 2 for side in mosaic.shape)
    times = (-(-height // mosaic.shape[0]), -(-width // mosaic.shape[1]))
    mosaic = np.ascontiguousarray(np.tile(mosaic, times)[:height, :width])
    area = (0, 0, height, width)
    large = replace(raw, mosaic=mosaic, active_area=area, crop=area, gain_maps=(), orientation=1)
    large = replace(large, black_rows=None, black_columns=None)
    write_dng(large, folder / "large.dng", "lossless jpeg")
    return folder / "large.dng"


def _private_mb() -> float:
    """Return the memory of this process that no other shares; 0 where the system does not say."""
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists():
        return 0.0
    lines = rollup.read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    main(parsed(Settings))
