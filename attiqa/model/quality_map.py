"""Where in a photograph the quality is: scores of overlapping windows as a map.

The map of a photograph is what the model says of windows on a grid, each alone, between the centres
of the windows by linear interpolation. It is on the scale of the score, and says nothing about
structure finer than a window; a window without much in it is scored as a photograph of that would
be. No PyTorch is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.views_in_numpy import resize_short_side
from attiqa.model.sizes import MIN_SIDE

Photo = Float32[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 3"]
Predict = Callable[[Float32[np.ndarray, "b 3 s s"]], Float[np.ndarray, " b"]]
"""Scores images as they are: display RGB in [0, 1]."""

BATCH = 32
"""Windows that are scored together."""


@dataclass(frozen=True)
class WindowGrid:
    """Which windows of a photograph are scored.

    Attributes:
        short_side: Pixels that the short side is resized to before.
        side: Pixels at the side of a window.
        stride: Pixels from one window to the next, at most.
    """

    short_side: int
    side: int
    stride: int

    @classmethod
    def of(cls, protocol: CropProtocol) -> "WindowGrid":
        """Choose windows of two fifths of the protocol's crop, half of their side apart.

        Beside crops of 320 pixels, windows of 128 localised distortions of a third of either side
        better than those of 192, which are the better ones for halves (eight photographs).
        """
        side = max(protocol.crop * 2 // 5, MIN_SIDE)
        return cls(protocol.short_side, side, side // 2)

    def starts(self, length: int) -> Int[np.ndarray, " n"]:
        """Place windows along a side: the first at its start, the last at its end."""
        room = length - self.side
        return np.linspace(0, room, 1 + -(-room // self.stride)).round().astype(int)


class QualityMap(NamedTuple):
    """A map and the photograph that it lies over."""

    scores: Float[np.ndarray, "h w"]
    """On the scale of the card, not clamped."""
    photo: Float32[np.ndarray, "h w 3"]
    """Resized; display RGB in [0, 1]."""


def quality_map(predict: Predict, photo: Photo, grid: WindowGrid) -> QualityMap:
    """Score the windows of a photograph.

    Args:
        predict: The model.
        photo: Display RGB: floating point in [0, 1], or 8 bits.
        grid: The windows.
    """
    small = resize_short_side(photo, grid.short_side).clip(0, 1)
    side, (height, width) = grid.side, small.shape[1:]
    rows, columns = grid.starts(height), grid.starts(width)
    places = [(row, column) for row in rows for column in columns]
    scores = []
    for first in range(0, len(places), BATCH):
        windows = [small[:, y : y + side, x : x + side] for y, x in places[first : first + BATCH]]
        scores.append(predict(np.stack(windows)))
    grid_scores = np.concatenate(scores).reshape(len(rows), len(columns))
    centre = (side - 1) / 2
    return QualityMap(
        interpolated(grid_scores, rows + centre, columns + centre, (height, width)),
        np.moveaxis(small, 0, -1),
    )


def interpolated(
    values: Float[np.ndarray, "r c"],
    rows: Float[np.ndarray, " r"],
    columns: Float[np.ndarray, " c"],
    shape: tuple[int, int],
) -> Float[np.ndarray, "h w"]:
    """Interpolate between the points of a grid, linearly; constant beyond its outer points.

    Args:
        values: At the points.
        rows: Rising coordinates of the points, in pixels.
        columns: The same.
        shape: Height and width of the result.
    """
    height, width = shape
    wide = np.stack([np.interp(np.arange(width), columns, row) for row in values])
    return np.stack([np.interp(np.arange(height), rows, column) for column in wide.T], axis=1)
