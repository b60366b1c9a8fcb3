"""Photographs to learn from, out of one or more data sets, tables of pairs, or nobody's ratings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from attiqa.data.datasets.registry import load_dataset
from attiqa.data.preference_pairs import Preferences
from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.errors import DatasetLayoutError
from attiqa.training.opinion_terms import UNRATED


@dataclass(frozen=True)
class Mixture:
    """Photographs of one or more data sets to learn from.

    Attributes:
        paths: Their files, those of the main set first.
        mos: Their scores, those of other sets mapped from their scale to the main one's.
        sets: Number of the data set of each; 0 is the main one.
        deviations: Of the opinions about each, mapped likewise; nan where unknown.
        others: Name of each further set and how many of its photographs are taken.
        preferences: Between them.
    """

    paths: tuple[Path, ...] = ()
    mos: Float[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))
    sets: Int[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    deviations: Float[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))
    others: Mapping[str, int] = field(default_factory=dict)
    preferences: Preferences | None = None

    def with_unrated(self, paths: Sequence[Path]) -> "Mixture":
        """Add photographs that nobody rated."""
        unknown = np.full(len(paths), np.nan)
        return replace(
            self,
            paths=(*self.paths, *paths),
            mos=np.append(self.mos, unknown),
            sets=np.append(self.sets, np.full(len(paths), UNRATED)),
            deviations=np.append(self.deviations, unknown),
        )

    def with_preferences(self, paths: Sequence[Path], preferences: Preferences) -> "Mixture":
        """Add preferences between photographs; those that are there already are not added again."""
        rows = {path.resolve(): row for row, path in enumerate(self.paths)}
        new = [path for path in paths if path.resolve() not in rows]
        rows |= {path.resolve(): len(self.paths) + row for row, path in enumerate(new)}
        places = np.array([rows[path.resolve()] for path in paths])
        return replace(self.with_unrated(new), preferences=preferences.moved(places))


def mix(
    photos: RatedPhotos,
    split: Split,
    named: tuple[str, ...],
    subset: bool = False,
    scale: tuple[float, float] | None = None,
) -> Mixture:
    """Put the training part of a data set and further data sets together.

    Args:
        photos: The main set.
        split: Of it.
        named: Further sets, NAME=FOLDER.
        subset: Parts of them are meant.
        scale: Lowest and highest possible score, of "plain" ones.

    Raises:
        DatasetLayoutError: One of them is given twice: its test photographs would be trained on.
    """
    low, high = photos.scale
    mixture = Mixture(
        tuple(photos.paths[row] for row in split.train),
        photos.mos[split.train],
        np.zeros(len(split.train), np.int64),
        _deviations(photos)[split.train],
    )
    for number, entry in enumerate(named, 1):
        name, _, folder = entry.partition("=")
        other = load_dataset(name, Path(folder), subset, scale)
        if other.name == photos.name or other.name in mixture.others:
            raise DatasetLayoutError(f"mixed: {other.name} is there already; {folder}")
        rows = np.arange(len(other.paths)) if other.split is None else other.split.train
        stretch = (high - low) / (other.scale[1] - other.scale[0])
        mixture = Mixture(
            (*mixture.paths, *(other.paths[row] for row in rows)),
            np.append(mixture.mos, low + stretch * (other.mos[rows] - other.scale[0])),
            np.append(mixture.sets, np.full(len(rows), number)),
            np.append(mixture.deviations, stretch * _deviations(other)[rows]),
            {**mixture.others, other.name: len(rows)},
        )
    return mixture


def _deviations(photos: RatedPhotos) -> Float[np.ndarray, " n"]:
    if photos.deviations is None:
        return np.full(len(photos.paths), np.nan)
    return photos.deviations
