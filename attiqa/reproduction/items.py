"""The tables: which cells stand in which row and column, and what they need.

A table is a list of entries; an entry is the median of one number over some cells. Cells are shared
by the tables: fine-tuning on all labels of a data set gives a value of Tables 2, 3, 5 and 7.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attiqa.attributes import ATTRIBUTES
from attiqa.data.splits import OFFICIAL
from attiqa.reproduction.item_names import Item
from attiqa.reproduction.paper_results import Place
from attiqa.reproduction.plan_file import Plan
from attiqa.reproduction.starts import ABLATIONS, OURS, STRATEGIES, Start, starts

TITLES: Mapping[str, str] = {
    "table1": "Selected prompts",
    "table2": "Fine-tuned and tested on the same data set",
    "table3": "Fine-tuned on one data set, tested on another (SROCC)",
    "table4": "Fine-tuned on 10 % and 20 % of the labels (SROCC)",
    "table5": "Features before and after fine-tuning (cosine similarity)",
    "table6": "A probe on frozen features",
    "table7": "Ablations",
    "agiqa": "AI-generated images (AGIQA-3k)",
    "pairs": "Preferences between generated images",
}

WITHIN = ("clive", "koniq", "spaq", "flive", "ava")
ACROSS = ("clive", "koniq", "spaq", "flive")
SMALL = ("clive", "koniq", "spaq")
"""Data sets of Tables 2, 3 and 4 to 7."""

SHARES = {10: 0.1, 20: 0.2}


@dataclass(frozen=True)
class Cell:
    """A result that is computed on its own.

    Attributes:
        kind: What is done.
        start: Name of the network that it starts from; "" for the choice of prompts.
        data: What it is trained on.
        share: Of the photographs whose labels are used, in percent.
        split: Number of the division, from 1; 0 for all of them.
        target: What an applied network is tested on.
    """

    kind: Literal["prompts", "labels", "pretrain", "fine-tune", "probe", "apply"]
    start: str = ""
    data: str = ""
    share: int = 100
    split: int = 0
    target: str = ""

    @property
    def name(self) -> str:
        """Its name in messages; the name of its file follows from it."""
        parts = [self.kind, self.start, self.data]
        if self.share < 100:
            parts.append(f"{self.share} %")
        if self.split:
            parts.append(f"split {self.split}")
        return ", ".join(part for part in (*parts, self.target) if part)


@dataclass(frozen=True)
class Entry:
    """A number of a table.

    Attributes:
        place: Row, column, metric.
        cells: It is the median over these.
        value: Gets the number from the result of one.
    """

    place: Place
    cells: tuple[Cell, ...]
    value: Callable[[Mapping[str, Any]], Any]


def entries(item: Item, plan: Plan) -> list[Entry]:
    """Return what a table shows, row by row."""
    rows = starts(plan)
    baselines = [name for name, start in rows.items() if start.baseline]

    def known(names: Sequence[str]) -> list[Start]:
        return [rows[name] for name in names if name in rows]

    if item == "table1":
        return _table1(plan)
    if item == "table2":
        return _within(plan, known([*baselines, *STRATEGIES, OURS]), WITHIN)
    if item == "table3":
        return _across(plan, known([*baselines, OURS]))
    if item == "table4":
        return _few(plan, known([*baselines, OURS]))
    if item == "table5":
        return _drift(plan, known([*baselines, OURS]))
    if item == "table6":
        return _probes(plan, known([*baselines, OURS]))
    if item == "table7":
        return _within(plan, known([OURS, *ABLATIONS]), SMALL)
    return _applied(plan, known([*baselines, OURS]), item)


def columns(plan: Plan, of_the_paper: Sequence[str]) -> list[str]:
    """Return the data sets of a table: the paper's, then those that the plan has besides."""
    more = [name for name in plan.datasets if name not in (*WITHIN, "agiqa3k")]
    return [*of_the_paper, *more]


def split_numbers(plan: Plan, data: str) -> range:
    """Number the divisions of a data set from 1: one where the paper takes the official one."""
    official = data in {name.lower() for name in OFFICIAL}
    return range(1, 2 if official else plan.splits + 1)


def fine_tuned(plan: Plan, start: str, data: str, share: int = 100) -> tuple[Cell, ...]:
    """Return the cells of a row on a data set, one for each division."""
    numbers = split_numbers(plan, data)
    return tuple(Cell("fine-tune", start, data, share, number) for number in numbers)


def cross_sets(plan: Plan, cell: Cell) -> list[str]:
    """Name the data sets that a fine-tuned network is tested on besides its own: Table 3's."""
    names, start = columns(plan, ACROSS), starts(plan)[cell.start]
    in_table = start.baseline is not None or start.name == OURS
    if cell.share < 100 or cell.data not in names or not in_table:
        return []
    return [name for name in names if name != cell.data and name in plan.datasets]


def _table1(plan: Plan) -> list[Entry]:
    if plan.teacher == "measured":
        return []
    found, search = [], (Cell("prompts"),)
    for attribute in ATTRIBUTES:
        for column, pair in (("selected", "best"), ("Table 1's", "table_1")):
            for metric in ("positive", "negative", "distortion", "human", "sum", "rank"):
                found.append(
                    Entry(
                        Place(attribute, column, metric),
                        search,
                        lambda r, a=attribute, p=pair, m=metric: (r[a][p] or {}).get(m),
                    )
                )
    return found


def _within(plan: Plan, rows: Sequence[Start], data: Sequence[str]) -> list[Entry]:
    return [
        Entry(
            Place(row.name, name, metric.upper()),
            fine_tuned(plan, row.name, name),
            lambda result, m=metric: _last(result)["test"][m],
        )
        for row in rows
        for name in columns(plan, data)
        for metric in ("srocc", "plcc")
    ]


def _across(plan: Plan, rows: Sequence[Start]) -> list[Entry]:
    names, found = columns(plan, ACROSS), []
    for row in rows:
        for part, suffix in (("all", ""), ("test", ", test parts")):
            for trained in names:
                for tested in names:
                    if tested == trained:
                        continue
                    place = Place(f"{row.name}{suffix}", f"{trained} to {tested}", "SROCC")
                    found.append(
                        Entry(
                            place,
                            fine_tuned(plan, row.name, trained),
                            lambda r, t=tested, p=part: r["across"].get(t, {}).get(p),
                        )
                    )
    return found


def _few(plan: Plan, rows: Sequence[Start]) -> list[Entry]:
    return [
        Entry(
            Place(row.name, f"{name}, {share} %", "SROCC"),
            fine_tuned(plan, row.name, name, share),
            lambda result: _last(result)["test"]["srocc"],
        )
        for row in rows
        for name in columns(plan, SMALL)
        for share in SHARES
    ]


def _drift(plan: Plan, rows: Sequence[Start]) -> list[Entry]:
    return [
        Entry(
            Place(row.name, name, "cosine"),
            fine_tuned(plan, row.name, name),
            lambda result: result["drift"]["mean"],
        )
        for row in rows
        for name in columns(plan, SMALL)
    ]


def _probes(plan: Plan, rows: Sequence[Start]) -> list[Entry]:
    found = []
    for row in rows:
        for probe, suffix in (("mlp", ""), ("heads", ", heads"), ("ridge", ", ridge")):
            if row.baseline and probe == "heads":
                continue  # its heads have learnt nothing
            for name in columns(plan, SMALL):
                for metric in ("srocc", "plcc"):
                    found.append(
                        Entry(
                            Place(row.name + suffix, name, metric.upper()),
                            (Cell("probe", row.name, name),),
                            lambda result, p=probe, m=metric: result[p][m],
                        )
                    )
    return found


def _applied(plan: Plan, rows: Sequence[Start], item: Item) -> list[Entry]:
    found = []
    for row in rows:
        if item == "pairs":
            cells = (Cell("apply", row.name, plan.applied, split=1, target="pairs"),)
            place = Place(row.name, "generated pairs", "accuracy")
            found.append(Entry(place, cells, lambda result: result["accuracy"]))
            continue
        zero_shot = (Cell("apply", row.name, plan.applied, split=1, target="agiqa3k"),)
        unseen = f"{row.name}, trained on {plan.applied} alone"
        for metric in ("srocc", "plcc"):
            found.append(
                Entry(
                    Place(row.name, "agiqa3k", metric.upper()),
                    fine_tuned(plan, row.name, "agiqa3k"),
                    lambda result, m=metric: _last(result)["test"][m],
                )
            )
            found.append(
                Entry(
                    Place(unseen, "agiqa3k", metric.upper()),
                    zero_shot,
                    lambda result, m=metric: result[m],
                )
            )
    return found


def _last(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return result["selected"]["last epoch"]
