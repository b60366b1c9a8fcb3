"""Demosaicing of a 2x2 Bayer mosaic: differentiable, exact on the measured samples' positions.

Malvar, He, Cutler 2004, "High-quality linear interpolation for demosaicing of Bayer-patterned
color images". The filters are linear, so they assume that colour differences are locally constant;
that holds better in a gamma-like domain than in linear light, so the caller's white-balanced linear
mosaic is interpolated as its square root (about +3 dB). An offset keeps read noise below black on
the curve, as in the generalised Anscombe transform: cut off there, it would tint the shadows.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from isp_env.compiled.sensor import BLUE, GREEN, RED


def demosaic(
    mosaic: Float[Tensor, "b h w"], cfa: UInt8[np.ndarray, "2 2"], offset: float = 1e-3
) -> Float[Tensor, "b 3 h w"]:
    """Return full-resolution RGB of a white-balanced, linear mosaic.

    Args:
        mosaic: Linear samples, 0 = black, 1 = white; H and W even and at least 4.
        cfa: Colour of each position of the 2x2 pattern: 0 red, 1 green, 2 blue.
        offset: Added under the root; about three standard deviations of the read noise.

    Raises:
        ValueError: The pattern is not one of the four Bayer phases, or the size is odd.
    """
    (red_y, red_x), (blue_y, blue_x) = _bayer_phase(cfa)
    _, height, width = mosaic.shape
    if height % 2 or width % 2 or min(height, width) < 4:
        raise ValueError(f"a Bayer mosaic needs even sides of at least 4, got {height}x{width}")
    root = (mosaic + offset).clamp(min=1e-6).sqrt()
    padded = functional.pad(root[:, None], (2, 2, 2, 2), mode="reflect")[:, 0]

    green_red = _Neighbours(padded, red_y, blue_x)  # green in a red row
    green_blue = _Neighbours(padded, blue_y, red_x)  # green in a blue row
    red = _Neighbours(padded, red_y, red_x)
    blue = _Neighbours(padded, blue_y, blue_x)

    planes = root.new_empty((len(root), 3, height // 2, 2, width // 2, 2))
    planes[:, RED, :, red_y, :, red_x] = red.centre
    planes[:, RED, :, red_y, :, blue_x] = green_red.along_row()
    planes[:, RED, :, blue_y, :, red_x] = green_blue.along_column()
    planes[:, RED, :, blue_y, :, blue_x] = blue.opposite()
    planes[:, GREEN, :, red_y, :, red_x] = red.green()
    planes[:, GREEN, :, red_y, :, blue_x] = green_red.centre
    planes[:, GREEN, :, blue_y, :, red_x] = green_blue.centre
    planes[:, GREEN, :, blue_y, :, blue_x] = blue.green()
    planes[:, BLUE, :, red_y, :, red_x] = red.opposite()
    planes[:, BLUE, :, red_y, :, blue_x] = green_red.along_column()
    planes[:, BLUE, :, blue_y, :, red_x] = green_blue.along_row()
    planes[:, BLUE, :, blue_y, :, blue_x] = blue.centre
    return planes.view(len(root), 3, height, width).clamp(min=0).square() - offset


def half_size(
    mosaic: Float[Tensor, "b h w"], cfa: UInt8[np.ndarray, "2 2"]
) -> Float[Tensor, "b 3 h//2 w//2"]:
    """RGB of half the size from each 2x2 block (greens averaged): what previews are made from."""
    (red_y, red_x), (blue_y, blue_x) = _bayer_phase(cfa)
    red = mosaic[:, red_y::2, red_x::2]
    blue = mosaic[:, blue_y::2, blue_x::2]
    green = (mosaic[:, red_y::2, blue_x::2] + mosaic[:, blue_y::2, red_x::2]) / 2
    return torch.stack([red, green, blue], dim=1)


def _bayer_phase(cfa: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """(row, column) of red and of blue; they lie diagonally, with green on the other diagonal."""
    pattern = cfa.tolist()
    positions = {color: (y, x) for y in (0, 1) for x in (0, 1) if (color := pattern[y][x]) != GREEN}
    if (
        set(positions) != {RED, BLUE}
        or sum(map(sum, positions.values())) != 2
        or (positions[RED][0] == positions[BLUE][0])
    ):
        raise ValueError(f"not a Bayer pattern (0 red, 1 green, 2 blue): {pattern}")
    return positions[RED], positions[BLUE]


class _Neighbours:
    """The samples around every position of one phase, and Malvar's estimates from them."""

    def __init__(self, padded: Tensor, y: int, x: int) -> None:
        height, width = padded.shape[1] - 4, padded.shape[2] - 4

        def sample(dy: int, dx: int) -> Tensor:
            return padded[:, 2 + y + dy :: 2, 2 + x + dx :: 2][:, : height // 2, : width // 2]

        self.centre = sample(0, 0)
        self.rows = sample(0, -1) + sample(0, 1)
        self.columns = sample(-1, 0) + sample(1, 0)
        self.diagonals = sample(-1, -1) + sample(-1, 1) + sample(1, -1) + sample(1, 1)
        self.far_rows = sample(0, -2) + sample(0, 2)
        self.far_columns = sample(-2, 0) + sample(2, 0)

    def green(self) -> Tensor:
        """Interpolate green at a red or blue sample."""
        far = self.far_rows + self.far_columns
        return (4 * self.centre + 2 * (self.rows + self.columns) - far) / 8

    def along_row(self) -> Tensor:
        """Interpolate red or blue at a green sample whose row holds that colour."""
        near = 5 * self.centre + 4 * self.rows - self.diagonals
        return (near - self.far_rows + self.far_columns / 2) / 8

    def along_column(self) -> Tensor:
        """Interpolate red or blue at a green sample whose column holds that colour."""
        near = 5 * self.centre + 4 * self.columns - self.diagonals
        return (near - self.far_columns + self.far_rows / 2) / 8

    def opposite(self) -> Tensor:
        """Interpolate red at a blue sample, or blue at a red one."""
        far = self.far_rows + self.far_columns
        return (6 * self.centre + 2 * self.diagonals - 1.5 * far) / 8
