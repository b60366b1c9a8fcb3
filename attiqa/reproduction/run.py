"""Compute cells, in any order, by any number of processes that share the folder, none twice.

A cell is claimed by a lock of the operating system on a file beside it, which ends with the process
that holds it: what a killed process was doing is free again, and goes on from its last checkpoint.
The folder may be on a network file system with POSIX locks (NFS 4, Lustre with `flock`).
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Literal

from filelock import FileLock, Timeout

from attiqa.errors import AttiqaError
from attiqa.files import write_atomically
from attiqa.provenance.versions import versions
from attiqa.reproduction.cells import compute
from attiqa.reproduction.items import Cell
from attiqa.reproduction.laboratory import Laboratory, lacking, needs
from attiqa.reproduction.plan_file import Plan

logger = logging.getLogger(__name__)

POLL = 5.0
"""Seconds between looks at cells that another process is computing."""

State = Literal["done", "running", "ready", "waits", "lacks data"]


def with_needs(plan: Plan, cells: Iterable[Cell]) -> list[Cell]:
    """Return cells and all that they need, what is needed first, each once."""
    found: dict[Cell, None] = {}
    for cell in cells:
        for need in with_needs(plan, needs(plan, cell)):
            found[need] = None
        found[cell] = None
    return list(found)


def state(laboratory: Laboratory, cell: Cell) -> State:
    """Say how a cell stands."""
    if laboratory.result(cell) is not None:
        return "done"
    if lacking(laboratory.plan, cell):
        return "lacks data"
    lock = FileLock(lock_file(laboratory, cell))
    try:
        with lock.acquire(timeout=0):
            pass
    except Timeout:
        return "running"
    done = (laboratory.result(need) is not None for need in needs(laboratory.plan, cell))
    return "ready" if all(done) else "waits"


def run(
    laboratory: Laboratory, cells: Sequence[Cell], finished: Callable[[Cell], None] = lambda _: None
) -> dict[Cell, str]:
    """Compute all cells that nobody else computes, and wait for those that somebody does.

    Args:
        laboratory: Opened.
        cells: With their needs; those that lack data are left out.
        finished: Is told of each cell that was computed here.

    Returns:
        Why cells failed; what depends on them was left out.
    """
    plan, failed = laboratory.plan, dict[Cell, str]()
    pending = [cell for cell in cells if not lacking(plan, cell)]
    while pending:
        left = []
        for cell in pending:
            broken = [need for need in needs(plan, cell) if need in failed]
            if broken:
                failed[cell] = f"{broken[0].name} failed"
            elif laboratory.result(cell) is None and not _try(laboratory, cell, failed, finished):
                left.append(cell)
        if left == pending:
            time.sleep(POLL)
        pending = left
    return failed


def _try(
    laboratory: Laboratory, cell: Cell, failed: dict[Cell, str], finished: Callable[[Cell], None]
) -> bool:
    """Compute a cell, if its needs are done and it is free; False where it must wait."""
    if any(laboratory.result(need) is None for need in needs(laboratory.plan, cell)):
        return False
    try:
        with FileLock(lock_file(laboratory, cell), timeout=0):
            if laboratory.result(cell) is not None:
                return True
            logger.info("%s", cell.name)
            began = time.monotonic()
            try:
                result = compute(laboratory, cell)
            except (AttiqaError, OSError, RuntimeError, ValueError) as error:
                logger.error("%s: %s", cell.name, error)
                failed[cell] = str(error)
                return True
            about = {
                "cell": asdict(cell),
                "seconds": round(time.monotonic() - began, 1),
                "device": str(laboratory.fabric.device),
                "host": platform.node(),
                "versions": versions(),
            }
            text = json.dumps(about | {"result": result}) + "\n"
            path = laboratory.file("cells", cell, ".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
    except Timeout:
        return False
    finished(cell)
    return True


def lock_file(laboratory: Laboratory, cell: Cell) -> str:
    """Name the file whose lock claims a cell."""
    path = laboratory.file("locks", cell, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)
