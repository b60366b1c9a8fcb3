"""Table and figure of `evaluate_agents.py`, made from its results alone."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps

from isp_env.files import atomic_path

SHOWN = ("potential", "score", "PSNR", "-CIEDE2000", "SSIM")


def table(results: Mapping[str, Any]) -> str:
    """Write Markdown: a row for each controller, changes against neutral with 95 % intervals."""
    referees = [name for name in results["trials"] if name not in SHOWN]
    columns = [*SHOWN, *referees]
    head = ["controller", "scenes", "renders", *columns, f"gain, share of {results['best search']}"]
    rows = [head, ["---"] * len(head)]
    for name, values in results["controls"].items():
        change = values["change"]
        share = values.get("share of the best search", {}).get("score")
        rows.append(
            [
                name,
                str(values["scenes"]),
                f"{values['mean']['renders']:.1f}",
                *(_interval(change[column]) for column in columns),
                "" if share is None else f"{share:.0%}",
            ]
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *_trials(results["trials"])]) + "\n"


def _family(name: str) -> str:
    """Group what is drawn in one colour: all agents, and a search with all its budgets."""
    kind, _, detail = name.partition(", ")
    if kind.startswith("agent "):
        return "agents, refined" if detail else "agents"
    return kind if detail.isdigit() else name


def _interval(change: Mapping[str, float]) -> str:
    return f"{change['mean']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})"


def _trials(trials: Mapping[str, Any]) -> list[str]:
    lines = ["| referee | right pairs | used |", "| --- | --- | --- |"]
    for name, result in trials.items():
        parts = ", ".join(f"{key} {value:.0%}" for key, value in result["right"].items())
        used = "yes" if result["used"] else "no"
        lines.append(f"| {name} | {result['accuracy']:.0%} ({parts}) | {used} |")
    return lines


def write_figure(path: Path, results: Mapping[str, Any]) -> None:
    """Gain of score, and change of CIEDE2000 to the truth, against the number of renders."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.2), constrained_layout=True)
    axes = (("score", "score, change against neutral"), ("-CIEDE2000", "CIEDE2000, nearer by"))
    families: dict[str, list[Mapping[str, Any]]] = {}
    for name, values in results["controls"].items():
        family = _family(name)
        families.setdefault(family, []).append(values)
    colors = colormaps["tab20"](np.r_[0:20:2, 1:20:2])
    for panel, (measure, label) in zip(panels, axes, strict=True):
        for color, (family, points) in zip(cycle(colors), families.items(), strict=False):
            renders = [max(point["mean"]["renders"], 0.5) for point in points]
            means = [point["change"][measure]["mean"] for point in points]
            below = [m - p["change"][measure]["low"] for m, p in zip(means, points, strict=True)]
            above = [p["change"][measure]["high"] - m for m, p in zip(means, points, strict=True)]
            style = "o" if family.startswith("agents") else "o-"
            panel.errorbar(
                renders, means, (below, above), fmt=style, label=family, capsize=2, color=color
            )
        panel.axhline(0, color="grey", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_xlabel("renders of a scene (neutral: 0, drawn at 0.5)")
        panel.set_ylabel(label)
    panels[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    fewest = min(values["scenes"] for values in results["controls"].values())
    searched = "" if fewest == results["scenes"] else f" (searches: {fewest} of them)"
    title = f"{results['scenes']} held-out simulated scenes{searched}; bars: 95 % intervals"
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)
