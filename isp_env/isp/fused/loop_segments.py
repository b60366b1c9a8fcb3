"""A long loop body cut into short loops that run one after the other.

The operations of one pixel wait for each other: a power needs the one before it. A processor hides
that by working on several pixels at once, but looks only some hundred instructions ahead, which is
less than one round of a whole pipeline. Cut into loops of about a power each, the default pipeline
is rendered at twice the speed; what is alive where it is cut stays in the fastest cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LENGTH = 48  # instructions of a loop, about: 24 to 48 are fastest on the default pipeline
SLACK = 0.3  # a cut may move by this share of a length to where less is alive


@dataclass(frozen=True)
class Statement:
    """`name = expression`, elementwise.

    Attributes:
        name: What it defines, once.
        expression: The right-hand side.
        operands: Planes and names of earlier statements that it reads.
        cost: Instructions, about.
    """

    name: str
    expression: str
    operands: tuple[str, ...]
    cost: int


@dataclass(frozen=True)
class Segment:
    """A loop.

    Attributes:
        statements: Its body.
        reads: Names of earlier segments that it needs, and the slot where each lies.
        keeps: Names that later segments need, and the slot where to put each.
    """

    statements: list[Statement]
    reads: dict[str, int]
    keeps: dict[str, int]


def cut(
    statements: Sequence[Statement], results: Sequence[str], length: int = LENGTH
) -> list[Segment]:
    """Cut statements, in their order, into loops of about `length` instructions.

    Args:
        statements: Each reads planes and earlier statements only.
        results: Names that are needed when all is done; the last segment holds or reads them.
        length: Instructions of a loop.
    """
    last_use = {name: i for i, s in enumerate(statements) for name in s.operands}
    last_use |= dict.fromkeys(results, len(statements))
    alive_at = _alive(statements, last_use)
    segments: list[Segment] = []
    slots: dict[str, int] = {}
    bounds = [0, *_cuts(statements, [len(names) for names in alive_at], length), len(statements)]
    for start, end in pairwise(bounds):
        body = list(statements[start:end])
        needed = {name for s in body for name in s.operands}
        needed |= set(results) if end == len(statements) else set()
        reads = {name: slot for name, slot in slots.items() if name in needed}
        slots = {name: slot for name, slot in slots.items() if name in alive_at[end]}
        keeps = {}
        for name in alive_at[end]:
            if name not in slots:
                keeps[name] = slots[name] = _free(slots)
        segments.append(Segment(body, reads, keeps))
    return segments


def _alive(statements: Sequence[Statement], last_use: dict[str, int]) -> list[list[str]]:
    """List for each place between statements: what was defined before it and is needed after it."""
    alive: list[str] = []
    places = [alive]
    for i, statement in enumerate(statements):
        alive = [name for name in [*alive, statement.name] if last_use.get(name, -1) > i]
        places.append(alive)
    return [*places[:-1], []]


def _cuts(statements: Sequence[Statement], alive: Sequence[int], length: int) -> list[int]:
    """Choose where to cut: about every `length` instructions, where the least is alive."""
    cuts: list[int] = []
    done, best = 0, 0
    for i, statement in enumerate(statements):
        done += statement.cost
        if done < (1 - SLACK) * length:
            continue
        if not best or alive[i + 1] < alive[best]:
            best = i + 1
        if done > (1 + SLACK) * length:
            cuts.append(best)
            done = sum(s.cost for s in statements[best : i + 1])
            best = 0
    return [place for place in cuts if place < len(statements)]


def _free(slots: dict[str, int]) -> int:
    """Return the first slot that is not taken."""
    return next(k for k in range(len(slots) + 1) if k not in slots.values())
