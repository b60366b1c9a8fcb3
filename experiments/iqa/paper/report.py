"""Tables and the figure of `evaluate.py`, made from its cells alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from attiqa.evaluation.metrics import spread
from attiqa.evaluation.protocols import SELECTIONS
from attiqa.files import write_atomically

Table = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Labels -> start -> what the splits showed."""


def tabulate(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Gather the splits of each start and amount of labels.

    Returns:
        Labels -> start -> the test SROCC of every split with its bootstrap interval; medians and
        quartiles per selection; the same for the difference from ImageNet on the same splits; and
        the drift of the features, or the probe of the heads' features.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for labels, init in dict.fromkeys((cell["labels"], cell["init"]) for cell in cells):
        rows = {c["repeat"]: c for c in cells if (c["labels"], c["init"]) == (labels, init)}
        control = {
            c["repeat"]: c for c in cells if (c["labels"], c["init"]) == (labels, "ImageNet")
        }
        last = {repeat: _last(row) for repeat, row in rows.items()}
        entry: dict[str, Any] = {
            "srocc": [found["srocc"] for found in last.values()],
            "intervals": [[found["srocc_low"], found["srocc_high"]] for found in last.values()],
            "plcc": spread(np.array([found["plcc"] for found in last.values()])),
            "selected": {name: _spread(rows.values(), name) for name in SELECTIONS},
        }
        paired = [last[repeat]["srocc"] - _last(row)["srocc"] for repeat, row in control.items()]
        if paired:
            entry["gain_over_imagenet"] = paired
        if all("drift" in row for row in rows.values()):
            entry["drift"] = spread(np.array([row["drift"]["mean"] for row in rows.values()]))
        if all("heads" in row for row in rows.values()):
            entry["heads"] = _spread([row["heads"] for row in rows.values()], SELECTIONS[0])
        table.setdefault(labels, {})[init] = entry
    return table


def markdown(table: Table, title: str) -> str:
    """Write the tables of the experiment; a column per amount of labels, a row per start."""
    entries = [entry for rows in table.values() for entry in rows.values()]
    parts = [
        f"### {title}",
        "Test SROCC of the last epoch: median of the splits (lowest to highest).",
        _grid(table, lambda entry: _range(entry["srocc"])),
    ]
    if all("gain_over_imagenet" in entry for entry in entries):
        parts += [
            "Gain over ImageNet on the same splits: median (lowest to highest).",
            _grid(table, lambda entry: _range(entry["gain_over_imagenet"], "+")),
        ]
    parts += [
        f"Median test SROCC by epoch: {' / '.join(SELECTIONS)}. The last one promises too much; it "
        "is what much of the literature reports.",
        _grid(table, lambda e: " / ".join(_median(e["selected"][name]) for name in SELECTIONS)),
        "Mean cosine between the backbone's features before and after fine-tuning, over the test "
        "photographs: median of the splits.",
        _grid(table, lambda entry: _median(entry.get("drift"))),
    ]
    if any("heads" in entry for entry in entries):
        parts += [
            "Linear probing is ridge regression on the frozen backbone's pooled features. The same "
            "on the hidden features of the heads, which only attribute pretraining trains:",
            _grid(table, lambda entry: _median(entry.get("heads"))),
        ]
    return "\n\n".join(parts) + "\n"


def write_figure(path: Path, table: Table, title: str) -> None:
    """Draw every split as a point with its 95 % bootstrap interval, and a bar at the median."""
    figure = Figure(figsize=(2.2 + 1.9 * len(table), 4.6), layout="constrained")
    axes = figure.subplots()
    starts = list(dict.fromkeys(init for rows in table.values() for init in rows))
    step = 0.8 / len(starts)
    for group, rows in enumerate(table.values()):
        for column, init in enumerate(starts):
            entry, left = rows[init], group - 0.4 + step * column
            found = np.array(entry["srocc"])
            places = left + step * (np.arange(len(found)) + 1) / (len(found) + 1)
            errors = np.abs(np.array(entry["intervals"]).T - found)
            label, colour = init if group == 0 else None, f"C{column}"
            axes.errorbar(places, found, errors, fmt="o", ms=4, lw=1, color=colour, label=label)
            axes.hlines(np.median(found), left, left + step, color=colour, lw=3, alpha=0.5)
    axes.set_xticks(range(len(table)), list(table))
    axes.set_ylabel("test SROCC, last epoch")
    note = "points: splits with 95 % bootstrap intervals; bars: medians"
    axes.set_title("\n".join((*title.split("; "), note)), fontsize=9)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(fontsize=8, ncols=min(3, len(starts)), loc="outside lower center")
    part = path.with_name(f"{path.stem}.part.png")
    figure.savefig(part, dpi=150)
    write_atomically(path, part.read_bytes())
    part.unlink()


def _last(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    return cell["selected"][SELECTIONS[0]]["test"]


def _spread(rows: Iterable[Mapping[str, Any]], selection: str) -> dict[str, Any] | None:
    chosen = [row["selected"][selection] for row in rows]
    if any(found is None for found in chosen):
        return None
    return spread(np.array([found["test"]["srocc"] for found in chosen]))


def _grid(table: Table, text: Callable[[Mapping[str, Any]], str]) -> str:
    starts = dict.fromkeys(init for rows in table.values() for init in rows)
    lines = [["start", *table], ["---"] * (1 + len(table))]
    lines += [[init, *(text(rows[init]) for rows in table.values())] for init in starts]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(values: Sequence[float], sign: str = "") -> str:
    low, middle, high = (f"{v:{sign}.3f}" for v in np.quantile(values, [0, 0.5, 1]))
    return f"{middle} ({low} to {high})"


def _median(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None else f"{found['median']:.3f}"
