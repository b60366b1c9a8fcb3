"""The samples of a RAW file's sensor and what they mean: colour filters, black and white level."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Num, UInt8

from isp_env.dng.opcodes import GainMap

Area = tuple[int, int, int, int]
"""Top, left, bottom, right."""


@dataclass(frozen=True)
class SensorData:
    """The active area of a sensor; it may be a view of LibRaw's memory.

    Attributes:
        pixels: Samples; three or four of each pixel where there is no mosaic.
        area: Their place in the frame.
        cfa: From the area's corner: 0 R, 1 G, 2 B; n = 2 or 6. None without a mosaic.
        black: Level of each CFA position (n, n), or (3,) without a mosaic.
        white: Saturation level.
        black_rows: Added to `black` in each row.
        black_columns: Added to `black` in each column.
        gain_maps: Not yet applied.
        notes: What was assumed or left out.
    """

    pixels: Num[np.ndarray, "h w"] | Num[np.ndarray, "h w c"]
    area: Area
    cfa: UInt8[np.ndarray, "n n"] | None
    black: Float[np.ndarray, "*channels"]
    white: float
    black_rows: Float[np.ndarray, " h"] | None = None
    black_columns: Float[np.ndarray, " w"] | None = None
    gain_maps: tuple[GainMap, ...] = ()
    notes: tuple[str, ...] = field(default=())


class UnusualSensorError(ValueError):
    """A sensor that is not developed here; LibRaw may."""


def highest_black(
    pattern: Float[np.ndarray, "rows cols planes"],
    of_rows: Float[np.ndarray, " h"] | None,
    of_columns: Float[np.ndarray, " w"] | None,
) -> Float[np.ndarray, " planes"]:
    """Return the highest black level of each plane.

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
