"""Warnings about how a network sees photographs, before it is trained to."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attiqa.data.crop_protocol import CropProtocol, CropSettings, differing_views
from attiqa.data.photos.formats import open_photo

logger = logging.getLogger(__name__)

SAMPLE = 32
"""So many photographs tell how large all are."""


def warn_of_views(
    paths: Sequence[Path], trained: CropSettings, tested: CropProtocol | None = None
) -> str:
    """Log where tests see other crops than the training, and where photographs are enlarged.

    Args:
        paths: The photographs to train on.
        trained: Their crops.
        tested: Those of the tests, where there are any.

    Returns:
        What was logged, for the card; empty where there is nothing to warn of.
    """
    found = []
    if tested and (views := differing_views(trained, tested)):
        found.append(f"training and tests differ: {views}")
    sides = _short_sides(paths)
    low, high = trained.short_side
    if sides and np.median(sides) < low:
        found.append(
            f"photographs of a median short side of {np.median(sides):g} pixels are enlarged to "
            f"{low} to {high} for training"
        )
    for warning in found:
        logger.warning(warning)
    return "; ".join(found)


def _short_sides(paths: Sequence[Path]) -> list[int]:
    """Read the short sides of some photographs from the heads of their files."""
    sides = []
    for index in np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).round().astype(int):
        try:
            with paths[index].open("rb") as file:
                sides.append(min(open_photo(file).size))
        except Exception:  # of Pillow and its plugins; the training names the file
            continue
    return sides
