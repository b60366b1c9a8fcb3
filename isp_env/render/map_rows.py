"""Where the rows and columns of a picture lie between those of the maps of its guide."""

import numpy as np
from jaxtyping import Float32, Int32


def neighbours(
    pixels: int, factor: int, count: int
) -> tuple[Int32[np.ndarray, " n"], Int32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Prepare bilinear interpolation of one side: both samples of the map, weight of the second."""
    place = np.clip((np.arange(pixels) + 0.5) / factor - 0.5, 0, count - 1)
    before = np.minimum(place.astype(np.int32), max(count - 2, 0)).astype(np.int32)
    after = np.minimum(before + 1, count - 1).astype(np.int32)
    return before, after, (place - before).astype(np.float32)
