"""Finished cells as the paper's tables: ours, the paper's and the difference side by side."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from matplotlib.figure import Figure

from attiqa.evaluation.metrics import spread
from attiqa.files import write_atomically
from attiqa.reproduction.item_names import Item
from attiqa.reproduction.items import TITLES, Entry, entries
from attiqa.reproduction.laboratory import Laboratory, identity, lacking
from attiqa.reproduction.paper_results import Place, paper_results
from attiqa.reproduction.starts import AS_IN_THE_PAPER, OURS


@dataclass(frozen=True)
class Value:
    """A number of a table beside the paper's.

    Attributes:
        place: Row, column, metric.
        ours: One per division that is done.
        wanted: Divisions in all.
        paper: The paper's number, where it has one.
        lacks: What the plan has not, where nothing can be computed.
    """

    place: Place
    ours: tuple[Any, ...]
    wanted: int
    paper: float | None
    lacks: tuple[str, ...]

    @property
    def median(self) -> Any:
        """Ours; None where nothing is done."""
        if not self.ours:
            return None
        return float(np.median(self.ours)) if isinstance(self.ours[0], float) else self.ours[0]

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        ours = self.median
        return None if ours is None or self.paper is None else ours - self.paper


def values(laboratory: Laboratory, item: Item) -> list[Value]:
    """Collect what is done of a table, and the paper's rows."""
    paper, found = paper_results(item), []
    for entry in entries(item, laboratory.plan):
        lacks = [what for cell in entry.cells for what in lacking(laboratory.plan, cell)]
        ours, wanted = _ours(laboratory, entry)
        named = entry.place.method.removesuffix(", test parts")
        printed = paper.get(entry.place._replace(method=AS_IN_THE_PAPER.get(named, named)))
        if lacks and printed is None:
            continue  # neither we nor the paper can say anything
        unmade = () if ours else tuple(dict.fromkeys(lacks))
        found.append(Value(entry.place, ours, wanted, printed, unmade))
    columns = {(value.place.column, value.place.metric) for value in found}
    ours_too = {value.place.method for value in found} | set(AS_IN_THE_PAPER.values())
    for place, number in paper.items():
        if place.method not in ours_too and (place.column, place.metric) in columns:
            found.append(Value(place, (), 0, number, ()))
    return found


def write_tables(laboratory: Laboratory, items: Sequence[Item], figures: bool = True) -> list[Path]:
    """Write every table that has a number; return the Markdown files."""
    folder = laboratory.out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(laboratory.out / "tables.lock"):  # other processes write them, too
        return [path for item in items if (path := _write(laboratory, item, folder, figures))]


def _write(laboratory: Laboratory, item: Item, folder: Path, figures: bool) -> Path | None:
    """Write a table, unless it has no number."""
    found = values(laboratory, item)
    if not any(value.ours for value in found):
        return None
    about, rows = _about(laboratory, item), [_row(value) for value in found]
    record = {"title": TITLES[item]} | about | {"values": rows}
    write_atomically(folder / f"{item}.json", (json.dumps(record, indent=1) + "\n").encode())
    text = pd.DataFrame(rows).to_csv(index=False)
    write_atomically(folder / f"{item}.csv", text.encode())
    path = folder / f"{item}.md"
    write_atomically(path, markdown(TITLES[item], found, about).encode())
    if figures and item != "table1":
        picture = io.BytesIO()
        draw(TITLES[item], found).savefig(picture, format="png", dpi=110)
        write_atomically(folder / f"{item}.png", picture.getvalue())
    return path


def markdown(title: str, found: Sequence[Value], about: Mapping[str, Any]) -> str:
    """Return a table with one cell per column: ours (splits) / the paper's (difference)."""
    columns = list(dict.fromkeys((v.place.column, v.place.metric) for v in found))
    by_place = {value.place: value for value in found}
    methods = list(dict.fromkeys(value.place.method for value in found))
    one = len({metric for _, metric in columns}) == 1
    heads = [column if one else f"{column}, {metric}" for column, metric in columns]
    lines = [
        f"## {title}",
        "",
        f"{about['teacher']}; median over the divisions that are done, the paper's number and the "
        "difference in brackets.",
        "",
        "| | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for method in methods:
        cells = [_cell(by_place.get(Place(method, *column))) for column in columns]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(title: str, found: Sequence[Value]) -> Figure:
    """Draw ours (with quartiles) and the paper's numbers, a panel per column."""
    columns = list(dict.fromkeys((v.place.column, v.place.metric) for v in found))
    methods = list(dict.fromkeys(value.place.method for value in found))
    wide = min(4, len(columns))
    tall = -(-len(columns) // wide)
    figure = Figure(figsize=(2.6 + 2.6 * wide, 0.7 + (0.6 + 0.24 * len(methods)) * tall))
    figure.set_layout_engine("constrained")
    axes = np.atleast_1d(figure.subplots(tall, wide, sharey=True)).ravel()
    for axis, (column, metric) in zip(axes, columns, strict=False):
        for value in found:
            if (value.place.column, value.place.metric) != (column, metric):
                continue
            row = methods.index(value.place.method)
            if value.paper is not None:
                axis.plot(value.paper, row, "o", mfc="none", mec="0.4")
            if value.ours:
                low, high = np.quantile(value.ours, [0.25, 0.75])
                axis.plot([low, high], [row, row], "-", color="C0", lw=2)
                axis.plot(value.median, row, "o", color="C0", ms=4)
        axis.set_title(f"{column}, {metric}", fontsize=8)
        axis.grid(axis="x", color="0.9")
        axis.tick_params(labelsize=7)
    for axis in axes[len(columns) :]:
        axis.axis("off")
    axes[0].set_yticks(range(len(methods)), methods, fontsize=7)
    axes[0].invert_yaxis()
    figure.suptitle(f"{title}: ours (dots; bars: quartiles), the paper's (circles)", fontsize=9)
    return figure


def _ours(laboratory: Laboratory, entry: Entry) -> tuple[tuple[Any, ...], int]:
    """Return the numbers of the cells that are done, and how many there will be."""
    found: list[Any] = []
    for cell in entry.cells:
        done = laboratory.result(cell)
        value = None if done is None else entry.value(done["result"])
        if value is not None:
            found += value if isinstance(value, list) else [value]
    return tuple(found), max(len(found), len(entry.cells))


def _row(value: Value) -> dict[str, Any]:
    numbers = bool(value.ours) and isinstance(value.ours[0], float)
    between = spread(np.array(value.ours)) if numbers else {}
    return {
        "row": value.place.method,
        "column": value.place.column,
        "metric": value.place.metric,
        "ours": value.median,
        "quartile_1": between.get("quartile_1"),
        "quartile_3": between.get("quartile_3"),
        "done": len(value.ours),
        "wanted": value.wanted,
        "paper": value.paper,
        "difference": value.difference,
        "lacks": ", ".join(value.lacks),
    }


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    if value.median is None:
        return "" if value.paper is None else f"({value.paper:.3f})"
    if not isinstance(value.median, float):
        return str(value.median)
    text = f"**{value.median:.3f}**"
    if len(value.ours) < value.wanted:
        text += f" of {len(value.ours)} in {value.wanted}"
    if value.paper is not None:
        text += f" ({value.paper:.3f}, {value.difference:+.3f})"
    return text


def _about(laboratory: Laboratory, item: Item) -> dict[str, Any]:
    """Say what a table was computed from: seeds, divisions, versions, durations."""
    plan = laboratory.plan
    cells = {cell for entry in entries(item, plan) for cell in entry.cells}
    done = [found for found in map(laboratory.result, cells) if found is not None]
    splits = {
        f"{each['cell']['data']}, split {each['cell']['split']}": each["result"]["split"]["sha256"]
        for each in done
        if "split" in each["result"]
    }
    measured = "attributes by measurement, a stand-in for CLIP"
    return {
        "teacher": f"CLIP {plan.clip.architecture}" if plan.teacher == "clip" else measured,
        "row_of_the_paper": OURS,
        "settings": identity(plan),
        "splits_sha256": dict(sorted(splits.items())),
        "seconds": round(sum(each["seconds"] for each in done), 1),
        "devices": sorted({each["device"] for each in done}),
        "versions": sorted({json.dumps(each["versions"], sort_keys=True) for each in done}),
    }
