"""The results of `benchmark_rendering.py`: medians, tables, figure."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from rich.console import Console
from rich.table import Table

from isp_env.raw import RawImage

console = Console()


def summarise(runs: dict[str, list[dict[str, Any]]], raw: RawImage) -> dict[str, Any]:
    """Return medians over the rounds, and ratios within them."""
    rates = {name: [run["files per second"] for run in rounds] for name, rounds in runs.items()}
    ratios = {}
    for other in rates:
        if other != "ours":
            each = [a / b for a, b in zip(rates["ours"], rates[other], strict=True)]
            ratios[other] = {"median": statistics.median(each), "range": [min(each), max(each)]}
    assert raw.mosaic is not None
    return {
        "files per second": {name: statistics.median(r) for name, r in rates.items()},
        "megapixels per second": {
            name: statistics.median(r) * raw.mosaic.size / 1e6 for name, r in rates.items()
        },
        "ours over": ratios,
    }


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    table = Table("method", "files/s", "MP/s", "ours is faster by", "over the rounds")
    for name, rate in results["files per second"].items():
        ratio = results["ours over"].get(name)
        said = (
            (f"{ratio['median']:.2f}", "{:.2f}-{:.2f}".format(*ratio["range"]))
            if ratio
            else ("", "")
        )
        table.add_row(name, f"{rate:.2f}", f"{results['megapixels per second'][name]:.1f}", *said)
    console.print(table)
    stages = Table("stage", "ms")
    for name, seconds in results["stages, s"].items():
        stages.add_row(name, f"{seconds * 1000:.0f}")
    console.print(stages)
    shares = results["preview as a share of decoding"].items()
    console.print("preview, of decoding: " + ", ".join(f"{by} {share:.0%}" for by, share in shares))
    memory = results["memory of a worker, MB"].items()
    console.print("memory of a worker, MB: " + ", ".join(f"{k} {v:.0f}" for k, v in memory))


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw bars of files per second, and where the time of a rendering goes."""
    rates = sorted(results["files per second"].items(), key=lambda item: item[1])
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
    colors = ["tab:red" if name.startswith("ours") else "0.6" for name, _ in rates]
    left.barh([name for name, _ in rates], [rate for _, rate in rates], color=colors)
    left.set_xlabel(f"files per second, {results['file']['megapixels']:.0f} megapixels")
    parts = ("decode, metadata, checks", "guide", "demosaic", "pixels")
    start = 0.0
    for part in (*parts, "encode, EXIF, profile"):
        width = results["stages, s"][part]
        right.barh([0], [width], left=[start], label=part)
        start += width
    right.set_yticks([])
    right.set_xlabel("seconds of one file, one thread")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
