"""A table of scores as a teacher: what a program of any kind says of photographs, by their names.

A large model is asked once, and its scores become labels like those of any other teacher. That a
network of CLIP's size can come close to a language model has been shown by RALI (Zhao et al., ICLR
2026, arXiv:2510.11369), though by other means.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attiqa.attributes import ATTRIBUTES
from attiqa.data.datasets.image_names import name_key
from attiqa.data.datasets.label_tables import numbers, read_columns, read_table
from attiqa.errors import DatasetLayoutError, LabelStoreError
from attiqa.labels.columns import PHOTO_COLUMNS
from attiqa.labels.photo_batches import PhotoBatch

logger = logging.getLogger(__name__)

NAMES = ("name", "path")
"""Columns that name the photograph; `path` in what `attiqa score` writes."""
SINGLE = "score"
"""The column that is read where there are no attributes."""


@dataclass(frozen=True)
class ScoreTable:
    """Scores by the name of a photograph; labels photographs that it sees nothing of.

    Attributes:
        path: Of the file.
        sha256: Of its content.
        attributes: What was scored: the columns of the table, in the order of the scores.
        scores: By `name_key` of the photograph's path, relative to the folder.
        cut: What it sees of a photograph: nothing.
        device: Where it works.
    """

    path: Path
    sha256: str
    attributes: tuple[str, ...]
    scores: Mapping[str, Float[np.ndarray, " a"]]
    cut: ClassVar[None] = None
    device: ClassVar[str] = "cpu"

    @property
    def description(self) -> Mapping[str, Any]:
        """All that a label depends on, ready for the JSON manifest beside the labels."""
        columns = list(self.attributes)
        return {"teacher": f"table {self.path.name}", "sha256": self.sha256, "columns": columns}

    @property
    def lack(self) -> str:
        """Why a photograph has no label though it can be read."""
        return f"{self.path.name} has no row"

    def label(self, batch: PhotoBatch) -> Float[Tensor, "b a"]:
        """Look photographs up by their paths, relative to the folder; nan where there is no row."""
        unknown = np.full(len(self.attributes), np.nan)
        rows = [self.scores.get(name_key(row.path), unknown) for row in batch.rows]
        return torch.from_numpy(np.stack(rows)).float()

    def require_rows(self, paths: Sequence[str]) -> None:
        """Say which photographs have no row, and which rows no photograph.

        Raises:
            LabelStoreError: No photograph has a row.
        """
        keys = {name_key(path): path for path in paths}
        missing = [path for key, path in keys.items() if key not in self.scores]
        if len(missing) == len(keys):
            raise LabelStoreError(
                f"{self.path}: no row of any photograph; expected names relative to the folder, "
                f"such as {paths[0]}; found {next(iter(self.scores))}"
            )
        if missing:
            logger.warning("%s: %d photographs without a row: %s", self.path, *_some(missing))
        if strange := [key for key in self.scores if key not in keys]:
            logger.warning("%s: %d rows without a photograph: %s", self.path, *_some(strange))


def read_score_table(path: Path, columns: Sequence[str] = ()) -> ScoreTable:
    """Read a .csv or .xlsx file of scores; higher is more.

    Args:
        path: One row per photograph, named by a column `name` or `path`, relative to the folder.
        columns: What is read; by default the five attributes where the table has them, or else
            `score`, for a network with a single head.

    Raises:
        DatasetLayoutError: The file cannot be read, a column is missing, a name occurs twice, or a
            score is no number.
    """
    there = read_columns(path)
    name = next((name for name in NAMES if name in there), NAMES[0])
    if not columns:
        columns = ATTRIBUTES if set(ATTRIBUTES) <= set(there) else (SINGLE,)
    if reserved := set(columns) & set(PHOTO_COLUMNS):
        raise DatasetLayoutError(
            f"columns: expected none of {', '.join(PHOTO_COLUMNS)}, which a label store has "
            f"itself; found {', '.join(sorted(reserved))}"
        )
    table = read_table(path, {name: "name", **{column: f"score {column}" for column in columns}})
    values = np.stack([numbers(table, f"score {column}") for column in columns], axis=1)
    for index in np.flatnonzero(~np.isfinite(values).all(axis=1)):
        row = [str(table[f"score {column}"][index]) for column in columns]
        raise DatasetLayoutError(
            f"{path}: expected a number in each of {', '.join(columns)}; "
            f"{table['name'][index]} has {', '.join(row)}"
        )
    scores = {name_key(name): row for name, row in zip(table["name"], values, strict=True)}
    if len(scores) < len(table):
        counts = table["name"].map(name_key)
        raise DatasetLayoutError(
            f"{path}: {len(table) - len(scores)} names occur twice, or are the same but for their "
            f"spelling: {', '.join(table['name'][counts.duplicated()][:5])}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ScoreTable(path, digest, tuple(columns), scores)


def _some(names: Sequence[str]) -> tuple[int, str]:
    """Count names, and list the first five."""
    return len(names), ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
