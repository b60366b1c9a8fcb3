"""Black level of each sample, and the number that stands for 1."""

import numpy as np
from jaxtyping import Float


def highest_black(
    pattern: Float[np.ndarray, "rows cols planes"],
    of_rows: Float[np.ndarray, " h"] | None,
    of_columns: Float[np.ndarray, " w"] | None,
) -> Float[np.ndarray, " planes"]:
    """The highest black level of each plane.

    Samples are divided by white less this, one number for a plane (DNG specification 1.7.1, chapter
    5, "Rescaling"): a step of the sensor is the same light everywhere.

    Args:
        pattern: Levels that repeat over the picture, from its corner.
        of_rows: Added in each row.
        of_columns: Added in each column.
    """
    down, across, _ = pattern.shape
    rows, columns = (
        np.zeros(size) if added is None else np.array([added[i::size].max() for i in range(size)])
        for added, size in ((of_rows, down), (of_columns, across))
    )
    return (pattern + rows[:, None, None] + columns[:, None]).max((0, 1))
