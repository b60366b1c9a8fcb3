"""Several teachers' labels of the same photographs as one: their ranks are averaged.

Differences of cosines of two CLIP models cannot be added: each has its own spread. The ranks within
a folder can, and Eq. 3 needs no more than an order. Two views of one teacher are averaged likewise:
native crops see noise and blur, the whole photograph sees light and colour.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from attiqa.errors import LabelStoreError
from attiqa.labels.store import Labels, read_labels


def read_averaged_labels(stores: Sequence[Path]) -> Labels:
    """Read label stores of the same photographs and average their ranks.

    Args:
        stores: At least one; a single store's labels are returned as they are.

    Returns:
        Of the photographs that all stores have labels of. Several stores give the mean rank among
        those, in [0, 1], ties sharing theirs; the manifest then lists all teachers and manifests.

    Raises:
        LabelStoreError: See `read_labels`; or two stores are of other photographs or attributes.
    """
    found = [read_labels(store) for store in stores]
    first = found[0]
    if len(found) == 1:
        return first
    for store, labels in zip(stores[1:], found[1:], strict=True):
        for name, one, other in (
            ("attributes", first.attributes, labels.attributes),
            ("photographs", first.manifest["images"], labels.manifest["images"]),
        ):
            if one != other:
                raise LabelStoreError(f"{store}: {name} other than those of {stores[0]}")
    paths = sorted(set.intersection(*(set(labels.paths) for labels in found)))
    ranks = [_ranks(labels, paths) for labels in found]
    return Labels(
        tuple(paths),
        np.stack(ranks).mean(axis=0).astype(np.float32),
        {path: why for labels in found for path, why in labels.rejects.items()},
        {
            "teacher": [labels.manifest["teacher"] for labels in found],
            "averaged": [dict(labels.manifest) for labels in found],
        },
        first.attributes,
    )


def _ranks(labels: Labels, paths: Sequence[str]) -> np.ndarray:
    """Rank some photographs by each attribute: 0 for the lowest label, 1 for the highest."""
    rows = {path: row for row, path in enumerate(labels.paths)}
    deltas = labels.deltas[[rows[path] for path in paths]]
    return (rankdata(deltas, axis=0) - 1) / max(len(paths) - 1, 1)
