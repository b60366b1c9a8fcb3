"""The black level that a sensor shows where it is covered: the margin left of the active area.

A DNG states one number for all shots; the real level moves with temperature and exposure, and an
error of a few units tints deep shadows. LibRaw measures it for the raw files of some makers, not
for DNGs, where programs that convert leave the margins in the frame.
"""

import numpy as np
from jaxtyping import Float, Num

GUARD = 8  # columns beside the active area: light spills there
LEAST = 32  # columns of a margin that is measured
FARTHEST = 0.002  # of the range from black to white: a margin that differs more is something else


def covered_black(
    frame: Num[np.ndarray, "h w"],
    area: tuple[int, int, int, int],
    stated: Float[np.ndarray, "n n"],
    white: float,
) -> tuple[Float[np.ndarray, "n n"], str | None]:
    """Return the black level of each CFA position, and a note where it is not the stated one.

    Args:
        frame: All samples of the sensor.
        area: Top, left, bottom, right of the active area.
        stated: The file's black level of each position, from the active area's corner.
        white: The saturation level.
    """
    top, left, bottom, _ = area
    size = len(stated)
    rows = (bottom - top) // size * size
    columns = (left - 2 * GUARD) // size * size  # the outermost are often odd as well
    if columns < LEAST or rows < LEAST:
        return stated, None
    start = left - GUARD // size * size - columns
    margin = frame[top : top + rows, start : start + columns].astype(np.float64)
    grid = margin.reshape(rows // size, size, columns // size, size)
    level = grid.mean((0, 2))
    halves = (half.mean((0, 2)) for half in np.array_split(grid, 2, axis=2))
    nearest = FARTHEST * (white - stated.max())
    if max(np.abs(x - stated).max() for x in (level, *halves)) > nearest:
        return stated, None
    level = np.round(8 * level) / 8  # what is left of a sample is then exact in float32
    told = f"{level.mean():.1f} instead of {stated.mean():g}"
    return level, f"black level as measured beside the picture: {told}"
