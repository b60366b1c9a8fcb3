"""The numbers that the paper prints, for comparison with what is computed here.

Source: ATTIQA (ACCV 2024, arXiv:2406.01020), Tables 2 to 7; "pairs" and "agiqa" are the two tables
of section 5.1. Methods and columns have the names of our own tables.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple


class Place(NamedTuple):
    """Where a number stands in a table.

    Attributes:
        method: The row.
        column: Data sets, and what the table varies.
        metric: "SROCC", "PLCC", "cosine" or "accuracy".
    """

    method: str
    column: str
    metric: str


@cache
def paper_results(item: str) -> Mapping[Place, float]:
    """Return the numbers of a table; none for an item without one, as "table1"."""
    text = (files("attiqa.reproduction") / "paper_results.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["item"] == item]
    found = {Place(r["method"], r["column"], r["metric"]): float(r["value"]) for r in rows}
    return MappingProxyType(found)
