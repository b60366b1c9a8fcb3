"""Pictures with lens errors made without the package's own warps: by scipy, from formulas."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from isp_env.raw import RawImage

Formula = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""x, y of straight pixels to x, y where the lens draws them."""


def inverse(formula: Formula, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The straight pixels that the lens draws at x, y, by iteration."""
    at_x, at_y = x.copy(), y.copy()
    for _ in range(25):
        drawn_x, drawn_y = formula(at_x, at_y)
        at_x, at_y = at_x + (x - drawn_x), at_y + (y - drawn_y)
    return at_x, at_y


def checkers(x: np.ndarray, y: np.ndarray, side: float) -> np.ndarray:
    """Fields of 0.2 and 0.8 with borders at half pixels past multiples of `side`."""
    odd = (np.floor((x + 0.5) / side) + np.floor((y + 0.5) / side)) % 2
    return np.where(odd > 0, 0.8, 0.2)


def drawn_by(
    formula: Formula, shape: tuple[int, int], side: float = 20, finer: int = 4
) -> np.ndarray:
    """A checkerboard as a lens draws it: each pixel is the mean of finer x finer points."""
    height, width = shape
    offsets = (np.arange(finer) + 0.5) / finer - 0.5
    y = (np.arange(height)[:, None] + offsets).ravel()
    x = (np.arange(width)[:, None] + offsets).ravel()
    points = checkers(*inverse(formula, *np.meshgrid(x, y)), side)
    return points.reshape(height, finer, width, finer).mean((1, 3)).astype(np.float32)


def border_errors(plane: np.ndarray, side: int, margin: int = 24) -> np.ndarray:
    """How far, in pixels, borders of a checkerboard lie from where they are straight.

    Measured at the middle of each field's sides: where the profile across passes 0.5.
    """
    found = []
    for board in (plane, plane.T):
        smooth = gaussian_filter(board.astype(np.float64), (2, 0))
        height, width = board.shape
        for row in range(side // 2, height - margin, side):
            if row < margin:
                continue
            for border in range(side, width - margin, side):
                if border < margin:
                    continue
                span = smooth[row, border - 6 : border + 6] - 0.5
                crossings = np.flatnonzero(np.sign(span[:-1]) != np.sign(span[1:]))
                assert len(crossings), f"no border near {border} in row {row}"
                at = crossings[np.argmin(np.abs(crossings - 5))]
                place = border - 6 + at + span[at] / (span[at] - span[at + 1])
                found.append(place - (border - 0.5))
    return np.array(found)


def linear_raw(planes: np.ndarray, raw: RawImage, **changes: object) -> RawImage:
    """Three planes of floating point as a `RawImage` of the camera of `raw`."""
    height, width = planes.shape[1:]
    whole = (0, 0, height, width)
    fields = {
        "mosaic": None,
        "linear": planes.astype(np.float32),
        "cfa": None,
        "black": np.zeros(3, np.float32),
        "white": 1.0,
        "active_area": whole,
        "crop": whole,
        "as_shot_neutral": np.ones(3),
    }
    return replace(raw, **(fields | changes))  # type: ignore[arg-type]


def linear_of(raw: RawImage) -> np.ndarray:
    """The planes of a linear picture."""
    assert raw.linear is not None
    return raw.linear
