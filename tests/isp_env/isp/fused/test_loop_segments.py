"""Statements cut into loops: nothing is lost, and little is carried."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_env.isp.fused.loop_segments import Statement, cut


def total(statements: list[Statement]) -> int:
    return sum(s.cost for s in statements)


def program(picks, ends) -> tuple[list[Statement], list[str]]:
    """Straight-line sums of planes and of earlier statements, as drawn."""
    names = ["p0", "p1"]
    statements = []
    for i, (terms, cost) in enumerate(picks):
        operands = tuple(sorted({names[k % len(names)] for k in terms}))
        statements.append(Statement(f"v{i}", " + ".join(operands), operands, cost))
        names.append(f"v{i}")
    return statements, [names[k % len(names)] for k in ends]


NUMBERS = st.lists(st.integers(0, 999), min_size=1, max_size=3)
PICKS = st.lists(st.tuples(NUMBERS, st.integers(1, 9)), min_size=1, max_size=40)


def run(statements: list[Statement], results: list[str], length: int) -> list[float]:
    """Each segment sees the planes and what was kept in slots, and nothing else."""
    slots = np.full(64, np.nan)
    values = {}
    for segment in cut(statements, results, length):
        values = {"p0": 1.5, "p1": -0.25}
        values |= {name: float(slots[slot]) for name, slot in segment.reads.items()}
        for statement in segment.statements:
            values[statement.name] = sum(values[name] for name in statement.operands)
        for name, slot in segment.keeps.items():
            slots[slot] = values[name]
    return [values[name] for name in results]


@settings(deadline=None)
@given(PICKS, NUMBERS, st.integers(2, 60))
def test_segments_compute_what_the_whole_computes(picks, ends, length):
    statements, results = program(picks, ends)
    assert run(statements, results, length) == run(statements, results, 10**9)


@settings(deadline=None)
@given(PICKS, NUMBERS, st.integers(12, 60))
def test_segments_are_about_as_long_as_asked(picks, ends, length):
    statements, results = program(picks, ends)
    segments = cut(statements, results, length)
    assert [s for segment in segments for s in segment.statements] == statements
    assert all(total(s.statements) <= 1.3 * length + 9 for s in segments)
    assert all(total(s.statements) >= 0.7 * length for s in segments[:-1])


def test_a_cut_is_made_where_least_is_alive():
    """Five values meet in one sum, from which five others come."""
    five = [Statement(f"f{i}", "", ("p0",), 1) for i in range(5)]
    meeting = Statement("s", "", tuple(f"f{i}" for i in range(5)), 1)
    others = [Statement(f"g{i}", "", ("s",), 1) for i in range(5)]
    end = Statement("r", "", tuple(f"g{i}" for i in range(5)), 1)
    first, *_ = cut([*five, meeting, *others, end], ["r"], length=6)
    assert first.statements == [*five, meeting]
    assert first.keeps == {"s": 0}


def test_slots_are_used_again():
    """A chain carries one value at a time, however long it is."""
    chain = [Statement(f"v{i}", "", (f"v{i - 1}",) if i else ("p0",), 1) for i in range(200)]
    segments = cut(chain, ["v199"], length=10)
    assert len(segments) == pytest.approx(20, abs=8)
    assert {slot for s in segments for slot in s.keeps.values()} <= {0, 1}
