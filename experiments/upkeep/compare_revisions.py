"""Does this tree develop the samples as an earlier revision did, to the byte?

    python experiments/upkeep/compare_revisions.py HEAD~5

Runs `enhance.py` on the embedded samples by both, and compares photographs, parameters and scores.
The samples are made by the code of each tree. Exit status: 0 where all is the same.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from experiments.settings import parsed

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    """Compare this tree with a revision."""

    revision: Annotated[str, tyro.conf.Positional]
    """Any name of a commit that git knows."""


def main(settings: Settings) -> int:
    """Run both, print a table; the exit status."""
    with TemporaryDirectory() as folder:
        tree, before, after = (Path(folder) / name for name in ("tree", "before", "after"))
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--detach", str(tree), settings.revision], check=True)
        try:
            enhance(tree, before)
            enhance(ROOT, after)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        rows = compare(before, after)
    table = Table("photograph", "bytes", "parameters, largest change", "scores, largest change")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    return 0 if all(row[1:] == ("same", 0.0, 0.0) for row in rows) else 1


def enhance(tree: Path, out: Path) -> None:
    """Develop the samples by the code of a tree."""
    command = [sys.executable, str(tree / "experiments" / "enhance.py"), "--out", str(out)]
    subprocess.run(command, check=True, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)})


def compare(before: Path, after: Path) -> list[tuple[str, str, float, float]]:
    """Compare the photographs of two folders, their parameters and their scores."""
    rows = []
    for name in sorted({path.name for folder in (before, after) for path in folder.glob("*.jpg")}):
        pictures = [folder / name for folder in (before, after)]
        if not all(path.exists() for path in pictures):
            rows.append((name, "missing", np.inf, np.inf))
            continue
        one, other = (path.read_bytes() for path in pictures)
        told = [json.loads(path.with_name(f"{name}.json").read_text()) for path in pictures]
        changes = (change(*(numbers(each.get(key)) for each in told)) for key in KEYS)
        rows.append((name, "same" if one == other else "other", *changes))
    return rows


KEYS = ("parameters", "judged")
"""Of a sidecar: the agent's choice, and the scores before and after."""


def numbers(tree: Any, path: str = "") -> dict[str, float]:
    """Flatten what JSON holds to its numbers."""
    if isinstance(tree, dict | list):
        entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, x in entries for k, v in numbers(x, f"{path}/{key}").items()}
    return {path: float(tree)} if isinstance(tree, int | float) else {}


def change(one: dict[str, float], other: dict[str, float]) -> float:
    """Find the largest difference; infinite where one has what the other has not."""
    if one.keys() != other.keys() or not one:
        return np.inf
    return max(abs(one[key] - other[key]) for key in one)


if __name__ == "__main__":
    sys.exit(main(parsed(Settings)))
