"""What controls found, kept in files, so that an interrupted comparison goes on where it was."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from agents.controllers.base import Controller, Found
from agents.evaluation.comparison import batches
from isp_env.files import atomic_path
from isp_env.task.judged_scenes import JudgedScenes

FIELDS = ("theta", "value", "score", "renders")


@dataclass(frozen=True)
class Contender:
    """A control and what it is to do.

    Attributes:
        name: In the report.
        control: Chooses theta.
        scenes: It sees so many, the first ones.
        version: Tells it from others of the same name, such as agents that were trained anew or
            searches of another length.
        search: Its renders are part of its name.
    """

    name: str
    control: Controller
    scenes: int
    version: str = ""
    search: bool = False


@dataclass(frozen=True)
class KeptFindings:
    """A folder of what was found.

    Attributes:
        folder: Where the files lie.
        identity: Of scenes, judge and settings: under other ones, all is to be found anew.
    """

    folder: Path
    identity: str

    def run(self, contender: Contender, judged: JudgedScenes) -> tuple[dict[str, Found], float]:
        """Run it: its findings at each budget, by name, and the seconds per scene."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = contender.name
        stem = "_".join(filter(None, [name.replace(" ", "_"), contender.version, self.identity]))
        parts: list[list[Found]] = []
        spent = 0.0
        for rows in track(list(batches(contender.scenes)), name):
            path = self.folder / f"{stem}_{rows[0]}-{rows[-1]}.npz"
            if not path.exists():
                start = time.perf_counter()
                last = contender.control(judged, rows)
                _write(path, [*last.earlier, last], time.perf_counter() - start)
            budgets, took = _read(path)
            parts.append(budgets)
            spent += took
        budgets = [_joined(budget) for budget in zip(*parts, strict=True)]
        named = {name: budgets[0]}
        if contender.search:
            named = {f"{name}, {int(found.renders[0])}": found for found in budgets}
        return named, spent / contender.scenes


def rows_of(found: Found, rows: np.ndarray) -> Found:
    """Return the findings for some of the scenes."""
    return _found(lambda field: getattr(found, field)[rows])


def _joined(parts: Sequence[Found]) -> Found:
    return _found(lambda field: np.concatenate([getattr(part, field) for part in parts]))


def _found(column: Callable[[str], np.ndarray]) -> Found:
    theta, value, score, renders = map(column, FIELDS)
    return Found(theta, value, score, renders)


def _write(path: Path, budgets: Sequence[Found], seconds: float) -> None:
    arrays = {
        f"{field} {number}": getattr(found, field)
        for number, found in enumerate(budgets)
        for field in FIELDS
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, seconds=np.array(seconds), **arrays)


def _read(path: Path) -> tuple[list[Found], float]:
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.startswith("theta") for name in arrays)
        found = [
            _found(lambda field, number=number: arrays[f"{field} {number}"])
            for number in range(count)
        ]
        return found, float(arrays["seconds"])
