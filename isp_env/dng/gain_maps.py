"""Gain maps for compiled code, and multiplied into a picture by it (DNG 1.7.1, opcode 9)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from isp_env.compiled import sensor
from isp_env.dng.opcodes import GainMap


def multiply_in_place(image: Float32[np.ndarray, "c h w"], gain: GainMap) -> None:
    """Multiply the planes that a map is for, by the gains at the centres of their pixels."""
    height = image.shape[1]
    for plane in image[gain.plane : gain.plane + gain.planes]:
        sensor.shade(*packed([gain]), np.arange(height), height, plane)


def packed(
    maps: Sequence[GainMap],
) -> tuple[Float32[np.ndarray, "n 12"], Float32[np.ndarray, "n r s"]]:
    """Numbers of each map (`GainMap` but for its plane, and the size of its table), and tables."""
    sizes = [gain.map.shape for gain in maps]
    rows, columns = (max(side) for side in zip(*sizes, strict=True)) if maps else (1, 1)
    tables = np.ones((len(maps), rows, columns), np.float32)
    numbers = np.empty((len(maps), 12), np.float32)
    for index, gain in enumerate(maps):
        tables[index, : gain.map.shape[0], : gain.map.shape[1]] = gain.map
        numbers[index] = (
            *(gain.top, gain.left, gain.bottom, gain.right, gain.row_pitch, gain.col_pitch),
            *(gain.origin_v, gain.origin_h, gain.spacing_v, gain.spacing_h, *gain.map.shape),
        )
    return numbers, tables
