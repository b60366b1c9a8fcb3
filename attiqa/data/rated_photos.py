"""Photographs with human scores, and how they are divided."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Split:
    """Indices of three disjoint parts; an official split may have no validation part."""

    train: Int[np.ndarray, " a"]
    validation: Int[np.ndarray, " b"]
    test: Int[np.ndarray, " c"]


@dataclass(frozen=True)
class RatedPhotos:
    """A data set of quality assessment.

    Attributes:
        name: The data set's own name.
        paths: The image files.
        mos: Mean opinion scores as published; higher is better.
        scale: Lowest and highest possible score.
        source: The label files and the image folder that were read.
        attributes: Human scores of the five attributes in the order of `ATTRIBUTES`, on `scale`.
        deviations: Standard deviation of the opinions about each photograph, on `scale`.
        votes: Share of the opinions at each of k levels, evenly spaced from the lowest to the
            highest possible opinion; a row sums to 1.
        groups: What a photograph shows, where several show the same: its reference or its prompt.
        factors: Further facts by name, one value per photograph, such as the type of distortion.
        split: The authors' own division, where they published one.
        dropped: Published entries that were left out, by file name.
    """

    name: str
    paths: tuple[Path, ...]
    mos: Float[np.ndarray, " n"]
    scale: tuple[float, float]
    source: str = ""
    attributes: Float[np.ndarray, "n 5"] | None = None
    deviations: Float[np.ndarray, " n"] | None = None
    votes: Float[np.ndarray, "n k"] | None = None
    groups: tuple[str, ...] | None = None
    factors: Mapping[str, tuple[str, ...] | tuple[int, ...]] = field(default_factory=dict)
    split: Split | None = None
    dropped: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The file names without their folders: what `split_hash` is taken over."""
        return tuple(path.name for path in self.paths)


def random_split(count: int, validation: int, test: int, seed: int = 0) -> Split:
    """Divide `count` photographs at random; the remainder is for training.

    Raises:
        ValueError: Nothing is left for training.
    """
    if validation + test >= count:
        raise ValueError(f"{validation} + {test} photographs leave none of {count} for training")
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, [test, test + validation])
    held_out, checked, trained = (np.sort(part) for part in parts)
    return Split(train=trained, validation=checked, test=held_out)


def split_hash(names: Sequence[str], split: Split) -> str:
    """Hash the file names of the three parts (SHA-256): the same division has the same hash."""
    parts = (split.train, split.validation, split.test)
    text = "\n\n".join("\n".join(names[int(index)] for index in part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()
