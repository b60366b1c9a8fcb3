"""The figure of `evaluate_reward_hacking.py`: small panels, one for each measure."""

from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from isp_env.files import atomic_path

COLORS = ("tab:blue", "tab:red", "tab:olive", "tab:purple", "tab:cyan", "tab:brown")
COLUMNS = 5
TITLES = {
    "score": "{judge}: what is climbed",
    "clipping": "clipped share",
    "chroma": "mean chroma",
    "halo": "halo",
    "PSNR": "PSNR to the truth, dB",
    "SSIM": "SSIM to the truth",
    "-CIEDE2000": "−CIEDE2000 to the truth",
}
WARNINGS = ("clipping", "chroma", "halo")  # neither good nor bad; all others are better upwards


def write_figure(path: Path, results: dict[str, Any]) -> None:
    """Draw the change of each measure against neutral; a training run has rows of its own."""
    curves, history = results["curves"], results["history"]
    names = [name for name in next(iter(curves.values())) if name != "step"]
    rows = -(-len(names) // COLUMNS)
    blocks = 2 if history else 1
    size = (2.1 * COLUMNS, 0.5 + 2.1 * rows * blocks)
    figure, axes = plt.subplots(rows * blocks, COLUMNS, figsize=size, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, name in zip(axes[:rows].ravel(), names, strict=False):
        _curves(axis, curves, name)
        _label(axis, name, results)
    axes[0, 0].legend(fontsize=7, frameon=False)
    for axis, name in zip(axes[rows:].ravel(), names, strict=False):
        seen = [(row["step"], row[name]) for row in history if name in row]
        if seen:
            axis.plot(*zip(*seen, strict=True), color="tab:green")
            _frame(axis, "training steps")
            axis.set_title(name, fontsize=7.5)
    figure.suptitle(f"Change against neutral, means of {results['scenes']} scenes", fontsize=9)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def _curves(axis: Axes, curves: dict[str, Any], name: str) -> None:
    for color, (arm, curve) in zip(cycle(COLORS), curves.items(), strict=False):
        steps, values = curve["step"], curve[name]
        axis.plot(steps, values["change"], color=color, label=arm, linewidth=1.4)
        axis.fill_between(steps, values["low"], values["high"], color=color, alpha=0.2, linewidth=0)
    _frame(axis, "gradient steps")


def _frame(axis: Axes, steps: str) -> None:
    axis.set_axis_on()
    axis.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axis.tick_params(labelsize=7)
    axis.set_xlabel(steps, fontsize=7)


def _label(axis: Axes, name: str, results: dict[str, Any]) -> None:
    title = TITLES.get(name, name).format(judge=results["judge"])
    tried = results["trials"].get(name)
    right = f"\n{tried['accuracy']:.0%} of pairs right" if tried else "\n"
    if tried and not tried["used"]:
        axis.set_facecolor("0.92")
        right += ": not used"
    if name in WARNINGS:
        right = "\n(side effect)"
    axis.set_title(title + right, fontsize=7.5)
