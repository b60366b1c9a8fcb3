"""The paper's numbers: as many as are printed, each once, and our rows find theirs."""

import pytest

from attiqa.reproduction.item_names import ITEMS
from attiqa.reproduction.items import entries
from attiqa.reproduction.paper_results import Place, paper_results
from attiqa.reproduction.plan_file import Plan
from attiqa.reproduction.starts import AS_IN_THE_PAPER

PRINTED = {  # rows times columns, less the dashes
    "table1": 0,
    "table2": 13 * 10 - 2 - 2 - 6,
    "table3": 6 * 12 - 6,
    "table4": 4 * 6,
    "table5": 4 * 3,
    "table6": 6 * 6,
    "table7": 5 * 6,
    "agiqa": 4 * 2,
    "pairs": 4,
}


def test_as_many_as_are_printed():
    assert {item: len(paper_results(item)) for item in ITEMS} == PRINTED
    assert all(0 < value < 1 for item in ITEMS for value in paper_results(item).values())


@pytest.mark.parametrize(
    ("item", "place", "value"),
    [
        ("table2", Place("ATTIQA", "ava", "PLCC"), 0.761),
        ("table2", Place("MUSIQ", "flive", "SROCC"), 0.646),
        ("table3", Place("ATTIQA", "flive to spaq", "SROCC"), 0.867),
        ("table3", Place("Re-IQA", "spaq to flive", "SROCC"), 0.497),
        ("table4", Place("CONTRIQUE", "koniq, 10 %", "SROCC"), 0.832),
        ("table5", Place("Re-IQA", "clive", "cosine"), 0.158),
        ("table6", Place("Re-IQA (both)", "koniq", "PLCC"), 0.923),
        ("table7", Place("L2 loss", "clive", "SROCC"), 0.875),
        ("agiqa", Place("ATTIQA", "agiqa3k", "PLCC"), 0.911),
        ("pairs", Place("ATTIQA", "generated pairs", "accuracy"), 0.71),
    ],
)
def test_numbers_of_every_table(item, place, value):
    assert paper_results(item)[place] == value


@pytest.mark.parametrize("item", [item for item in ITEMS if item != "table1"])
def test_every_column_of_the_paper_and_its_own_rows_are_computed(item):
    computed = {entry.place for entry in entries(item, Plan({}))}
    named = {p._replace(method=AS_IN_THE_PAPER.get(p.method, p.method)) for p in computed}
    ours = {place for place in paper_results(item) if place.method.startswith("ATTIQA")}
    assert ours <= named
    columns = {(place.column, place.metric) for place in computed}
    assert {(place.column, place.metric) for place in paper_results(item)} == columns
