"""Preferences between two photographs: tables of pairs, divided for training and tests."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from attiqa.data.datasets.image_names import ImageNames
from attiqa.data.datasets.label_tables import numbers, read_table
from attiqa.data.rated_photos import Split
from attiqa.data.splits import random_splits
from attiqa.errors import DatasetLayoutError

logger = logging.getLogger(__name__)

COLUMNS = ("first", "second", "preference")


@dataclass(frozen=True)
class Preferences:
    """How many people prefer one photograph of a pair.

    Attributes:
        first: Row of the first photograph of each pair in a list of them.
        second: Row of the second one.
        shares: Of the people who prefer the first, in [0, 1].
    """

    first: Int[np.ndarray, " p"]
    second: Int[np.ndarray, " p"]
    shares: Float[np.ndarray, " p"]

    def __len__(self) -> int:
        return len(self.shares)

    def take(self, pairs: Int[np.ndarray, " q"]) -> "Preferences":
        """Keep some of the pairs."""
        return Preferences(self.first[pairs], self.second[pairs], self.shares[pairs])

    def moved(self, places: Int[np.ndarray, " n"]) -> "Preferences":
        """Name the photographs by their places in another list."""
        return Preferences(places[self.first], places[self.second], self.shares)


def read_preferences(path: Path) -> tuple[tuple[Path, ...], Preferences]:
    """Read a table of pairs: first, second, preference (share of the people who prefer the first).

    Args:
        path: .csv or .xlsx; image files are relative to its folder.

    Returns:
        The photographs, each once in the order of the table, and the preferences between them.

    Raises:
        DatasetLayoutError: The table lacks a column or an image, a preference is not a share, or a
            photograph is compared with itself.
    """
    table = read_table(path, {name: name for name in COLUMNS})
    shares = numbers(table, "preference")
    if not np.all((shares >= 0) & (shares <= 1)):
        raise DatasetLayoutError(f"{path}: expected preferences in [0, 1]")
    images = ImageNames(path.parent)
    rows: dict[Path, int] = {}
    first, second = (
        np.array([rows.setdefault(images.require(name), len(rows)) for name in table[column]])
        for column in ("first", "second")
    )
    if (same := np.flatnonzero(first == second)).size:
        name = table["first"][int(same[0])]
        raise DatasetLayoutError(f"{path}: {len(same)} pairs of one photograph, such as {name}")
    return tuple(rows), Preferences(first, second, shares)


def divide_preferences(
    preferences: Preferences, test: float = 0.2, validation: float = 0.1, seed: int = 0
) -> Split:
    """Divide pairs at random so that no two parts share a photograph.

    Pairs that hang together by their photographs stay together. Where more than half of all pairs
    do, the photographs are divided instead, and pairs across two parts are left out, which is
    logged.

    Args:
        preferences: At least one pair.
        test: Share of what is divided that is held out.
        validation: Share that epochs are compared on.
        seed: Fixes the division.

    Returns:
        Rows of the pairs of each part.

    Raises:
        DatasetLayoutError: There are too few pairs: a part has none.
    """
    first, second = preferences.first, preferences.second
    count = int(max(first.max(), second.max())) + 1
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    together = connected_components(graph, directed=False)[1]
    if 2 * np.bincount(together[first]).max() > len(first):
        together = np.arange(count)
    units = np.unique(together[first].tolist() + together[second].tolist())
    try:
        (split,) = random_splits(len(units), 1, test, validation, seed=seed)
    except ValueError as error:
        raise DatasetLayoutError(f"pairs: {len(first)} cannot be divided: {error}") from error
    parts = (units[part] for part in (split.train, split.validation, split.test))
    within = [np.isin(together[first], p) & np.isin(together[second], p) for p in parts]
    rows = [np.flatnonzero(part) for part in within]
    if left_out := len(first) - sum(map(len, rows)):
        logger.warning("%d of %d pairs are across parts and left out", left_out, len(first))
    if not all(len(row) for row, share in zip(rows, (1, validation, test), strict=True) if share):
        raise DatasetLayoutError(
            f"pairs: {len(first)} are too few to be divided: {[len(row) for row in rows]} for "
            "training, validation and test"
        )
    return Split(*rows)
