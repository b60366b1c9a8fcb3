"""Divisions for the protocols: repeated 80/20, few labels, a validation part where none is given.

All are fixed by a seed and the order of the label file; `split_hash` identifies them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.errors import DatasetLayoutError, SettingsError

OFFICIAL = frozenset({"FLIVE", "AVA"})
"""Data sets that ATTIQA (section 4.1) divides as their authors did, once."""


def divide(
    photos: RatedPhotos,
    splits: int | None = None,
    validation: float = 0.0,
    labels: float = 1.0,
    by_group: bool = True,
    official: bool = False,
    seed: int = 0,
) -> tuple[Split, ...]:
    """Divide a data set as the paper does, or as told.

    Args:
        photos: The data set.
        splits: Random divisions of 80 % and 20 %; None for what the paper takes (section 4.1): the
            official one of FLIVE and AVA, ten random ones of all others.
        validation: Share of the photographs to take out of those for training; 0 in the paper.
        labels: Share of all photographs whose labels are used: see `training_subset`.
        by_group: Photographs of one group share a part.
        official: Take the authors' division of any data set.
        seed: Fixes random divisions and the choice of a validation part.

    Raises:
        DatasetLayoutError: The official division is wanted of a data set that has none.
        SettingsError: There are too few photographs for a part.
    """
    as_published = photos.name in OFFICIAL and photos.split is not None
    groups = photos.groups if by_group else None
    if not official and not (splits is None and as_published):
        repeats = 10 if splits is None else splits
        divided = random_splits(len(photos.paths), repeats, 0.2, validation, groups, seed)
    elif photos.split is None:
        raise DatasetLayoutError(f"{photos.name} has no official split; leave out --official")
    elif validation and not len(photos.split.validation):
        divided = (hold_out_validation(photos.split, validation, groups, seed),)
    else:
        divided = (photos.split,)
    if labels < 1:
        divided = tuple(training_subset(split, labels) for split in divided)
    return divided


def random_splits(
    count: int,
    repeats: int = 10,
    test: float = 0.2,
    validation: float = 0.1,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[Split, ...]:
    """Divide `count` photographs again and again, as the median of ten 80/20 splits asks for.

    Repeat r depends on (seed, r) alone: more repeats do not change the first ones.

    Args:
        count: Photographs.
        repeats: Splits to draw.
        test: Share of the photographs, or of the groups, held out.
        validation: Share that settings are chosen on, taken from what the paper trains on; at 0
            the 80 % are for training alone, as in the paper.
        groups: One label per photograph; photographs with the same label share a part.
        seed: Fixes all splits.

    Raises:
        SettingsError: A part with a share has no photographs, or none are left for training.
    """
    labels = np.arange(count) if groups is None else np.asarray(groups)
    if len(labels) != count:
        raise ValueError(f"groups: expected one label for each of {count}, found {len(labels)}")
    unique, members = np.unique(labels, return_inverse=True)
    held_out, checked = round(test * len(unique)), round(validation * len(unique))
    empty = (test > 0 and not held_out) or (validation > 0 and not checked)
    if empty or held_out + checked >= len(unique):
        what = "photographs" if groups is None else "groups of photographs"
        raise SettingsError(
            f"validation: {len(unique)} {what} cannot be divided into {test:g} for tests, "
            f"{validation:g} for validation and a rest for training; found {held_out}, {checked} "
            f"and {len(unique) - held_out - checked}"
        )
    splits = []
    for repeat in range(repeats):
        order = np.random.default_rng((seed, repeat)).permutation(len(unique))
        part = np.zeros(len(unique), np.int64)
        part[order[:held_out]] = 2
        part[order[held_out : held_out + checked]] = 1
        splits.append(Split(*(np.flatnonzero(part[members] == which) for which in range(3))))
    return tuple(splits)


def hold_out_validation(
    split: Split, share: float = 0.1, groups: Sequence[str] | None = None, seed: int = 0
) -> Split:
    """Take a validation part out of the training part of a split that has none.

    Args:
        split: For instance an official one of training and test.
        share: Of the training part, or of its groups.
        groups: One label per photograph of the data set; the same label shares a part.
        seed: Fixes the choice.

    Raises:
        ValueError: There is a validation part already, or nothing would be left to train on.
    """
    if len(split.validation):
        raise ValueError(f"the split has a validation part of {len(split.validation)} already")
    labels = None if groups is None else [groups[int(index)] for index in split.train]
    (inner,) = random_splits(len(split.train), 1, 0.0, share, labels, seed)
    return Split(split.train[inner.train], split.train[inner.validation], split.test)


def training_subset(split: Split, share: float, seed: int = 0) -> Split:
    """Keep so few labels that training and validation together have `share` of all photographs.

    The paper trains on 10 % or 20 % of a data set. Validation needs labels as well, so that both
    parts are thinned alike; the test part stays. A smaller share of the same seed is contained in
    a larger one.

    Args:
        split: Of the whole data set.
        share: Of all photographs, the test part included, in (0, 1).
        seed: Fixes the choice.

    Raises:
        SettingsError: `share` is more than the split has outside its test part, or less than a
            photograph.
    """
    labelled = len(split.train) + len(split.validation)
    kept = share * (labelled + len(split.test)) / labelled
    train, validation = (
        _thinned(part, kept, (seed, which))
        for which, part in enumerate((split.train, split.validation))
    )
    if kept > 1 or not len(train):
        everything = labelled + len(split.test)
        raise SettingsError(
            f"labels: {share:g} of {everything} photographs cannot be taken from the {labelled} "
            f"outside the test part; expected {1 / everything:.2g} to {labelled / everything:.2g}"
        )
    return Split(train, validation, split.test)


def require_different_scores(photos: RatedPhotos, split: Split) -> None:
    """Refuse a split that cannot be measured, before anything is trained on it.

    Raises:
        SettingsError: Its test or validation part has fewer than two different scores.
    """
    for name in ("test", "validation"):
        rows = getattr(split, name)
        if len(rows) and len(np.unique(photos.mos[rows])) < 2:
            none = " (--validation 0 leaves it out)" if name == "validation" else ""
            raise SettingsError(
                f"{name}: a correlation needs two or more different scores; this part has "
                f"{len(rows)} of {photos.name}'s {len(photos.paths)} photographs; give more, or a "
                f"larger share{none}"
            )


def _thinned(
    part: Int[np.ndarray, " n"], kept: float, seed: tuple[int, int]
) -> Int[np.ndarray, " m"]:
    """Keep the first of a permutation that depends on the seed alone: nested in `kept`."""
    order = np.random.default_rng(seed).permutation(len(part))
    return np.sort(part[order[: round(kept * len(part))]])
