"""Resampling along a map of coordinates, and gains that depend on a radius: the loops of a lens."""

import numpy as np

from isp_env.compiled import jit

STEP = 8  # pixels between two points of a grid of displacements
TAPS = 6  # samples of a row or column that Lanczos-3 weighs
BEFORE = TAPS // 2 - 1  # of them, those before the one at or left of the position
U = np.uint64


@jit
def resample(plane, grid, weights, out):
    """Take each pixel of `out` (h, w) from where the grid says in `plane` (h, w).

    Limited to the range of the four nearest samples: in linear light the lobes of the filter would
    draw dark rings around lamps. Positions outside the plane are taken at its edge.

    Args:
        plane: Samples.
        grid: (2, rows, columns) displacements in pixels, along columns and along rows, at every
            STEP-th pixel; bilinear between. They are finite and fit 30 bits.
        weights: (n + 1, TAPS), at n + 1 positions from one sample to the next.
        out: Filled.
    """
    height, width = plane.shape
    cells = grid.shape[2] - 1
    places = np.empty((2, cells * STEP), np.int32)  # left and top one of the samples
    phases = np.empty((2, cells * STEP), np.int32)
    line = np.empty(cells + 1, np.float32)
    shift = np.empty(cells * STEP, np.float32)
    fine, half = np.float32(len(weights) - 1), np.float32(0.5)
    part = np.float32(1 / STEP)
    for y in range(height):
        above = y // STEP
        down = np.float32(y - above * STEP) * part
        for axis in range(2):
            for cell in range(cells + 1):
                upper = grid[axis, above, cell]
                line[cell] = upper + (grid[axis, above + 1, cell] - upper) * down
            for cell in range(cells):
                start, slope = line[cell], line[cell + 1] - line[cell]
                for k in range(STEP):
                    shift[cell * STEP + k] = start + slope * (np.float32(k) * part)
            row = np.int32(y * axis - BEFORE)
            for x in range(cells * STEP):
                whole = np.floor(shift[x])
                places[axis, x] = np.int32(whole) + np.int32(x * (1 - axis)) + row
                phases[axis, x] = np.int32((shift[x] - whole) * fine + half)
        for x in range(width):
            left, top = places[0, x], places[1, x]
            across, along = U(phases[0, x]), U(phases[1, x])
            total = np.float32(0)
            if left >= 0 and top >= 0 and left <= width - TAPS and top <= height - TAPS:
                first, upper = U(left), U(top)
                for j in range(TAPS):
                    weighed = np.float32(0)
                    for k in range(TAPS):
                        weighed += weights[across, U(k)] * plane[upper + U(j), first + U(k)]
                    total += weights[along, U(j)] * weighed
                x0, y0 = first + U(BEFORE), upper + U(BEFORE)
                x1, y1 = x0 + U(1), y0 + U(1)
            else:
                for j in range(TAPS):
                    near = min(max(top + j, 0), height - 1)
                    weighed = np.float32(0)
                    for k in range(TAPS):
                        weighed += (
                            weights[across, U(k)] * plane[near, min(max(left + k, 0), width - 1)]
                        )
                    total += weights[along, U(j)] * weighed
                x0 = U(min(max(left + BEFORE, 0), width - 1))
                y0 = U(min(max(top + BEFORE, 0), height - 1))
                x1 = U(min(max(left + BEFORE + 1, 0), width - 1))
                y1 = U(min(max(top + BEFORE + 1, 0), height - 1))
            a, b, c, d = plane[y0, x0], plane[y0, x1], plane[y1, x0], plane[y1, x1]
            out[y, x] = min(max(total, min(min(a, b), min(c, d))), max(max(a, b), max(c, d)))


@jit
def multiply_by_radius(planes, center_x, center_y, inverse_radius, gains):
    """Multiply (c, h, w) in place by gains (n + 1) given at equal steps of r^2 from 0 to 1.

    r is the distance from the centre times `inverse_radius`; beyond 1 the last gain holds.
    """
    channels, height, width = planes.shape
    last = np.float32(len(gains) - 1)
    line = np.empty(width, np.float32)
    for y in range(height):
        vertical = (np.float32(y) - center_y) * inverse_radius
        for x in range(width):
            horizontal = (np.float32(x) - center_x) * inverse_radius
            at = min((horizontal * horizontal + vertical * vertical) * last, last)
            before = min(np.int64(at), len(gains) - 2)
            share = at - np.float32(before)
            line[x] = gains[before] + (gains[before + 1] - gains[before]) * share
        for channel in range(channels):
            for x in range(width):
                planes[channel, y, x] *= line[x]
