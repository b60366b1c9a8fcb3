"""Scores that another program wrote, as a model: `table:scores.csv`."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from attiqa.data.datasets.image_names import name_key
from attiqa.data.datasets.label_tables import read_columns, read_table
from attiqa.errors import DatasetLayoutError
from attiqa.scoring.rows import named_file


class ScoreTable:
    """One score per photograph; higher is better.

    A row belongs to the photograph whose path ends in its name: `a.jpg`, `Images/a.jpg` and the
    whole path are the same photograph, in any spelling that `image_names` knows.

    Args:
        path: .csv or .xlsx with the columns name (or path, as `attiqa score` writes it) and score.

    Raises:
        DatasetLayoutError: The file cannot be read, lacks a column, or names a photograph twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        column = "path" if "path" in read_columns(path) else "name"
        table = read_table(path, {column: "name", "score": "score"})
        names = [name_key(named_file(name)) for name in table["name"]]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DatasetLayoutError(f"{path}: names that occur twice: {', '.join(twice[:5])}")
        scores = np.asarray(pd.to_numeric(table["score"], errors="coerce"), np.float64)
        there = np.isfinite(scores)  # `attiqa score` has rows of files that it could not read
        self._scores = {names[row]: float(scores[row]) for row in np.flatnonzero(there)}
        self._photos: dict[str, Path] = {}  # that rows were found for

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def __call__(self, paths: Sequence[Path]) -> Float[np.ndarray, " n"]:
        """Look photographs up.

        Raises:
            DatasetLayoutError: Some have no score, or a row fits several, of earlier calls too.
        """
        rows = {path: row for path in paths if (row := self._row(path)) is not None}
        missing = [path.name for path in paths if path not in rows]
        if missing:
            some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise DatasetLayoutError(
                f"{self.path}: {len(missing)} of {len(paths)} photographs have no score: {some}"
            )
        for path, row in rows.items():
            other = self._photos.setdefault(row, path)
            if other != path:
                raise DatasetLayoutError(
                    f"{self.path}: {row} fits both {other} and {path}; expected names with their "
                    "folder"
                )
        return np.array([self._scores[rows[path]] for path in paths])

    def _row(self, path: Path) -> str | None:
        """Find the longest end of a path that the table has."""
        key = name_key(path.as_posix())
        while key not in self._scores:
            _, slash, key = key.partition("/")
            if not slash:
                return None
        return key
