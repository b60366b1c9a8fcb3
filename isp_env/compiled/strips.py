"""Between rows of a picture and the chunks that a fused loop takes: the loops of `render.frame`."""

import numpy as np

from isp_env.compiled import jit

CHUNK = 256
"""Pixels that the loop takes at a time. Planes lie one after the other within a chunk, at distances
known when the loop is compiled: else LLVM cannot see that they do not overlap, and gives up."""


@jit
def gather(linear, maps, lines, columns, wide, held, planes):
    """Lay out rows (3, r, w) and the interpolated maps as chunks for the kernel.

    `wide` (2, m, w) holds two lines of the maps at full width, those that `held` (2,) names: many
    rows of the picture lie between the same two.
    """
    _, rows, width = linear.shape
    chunks = (width + CHUNK - 1) // CHUNK
    for row in range(rows):
        above, below, weight = lines[0][row], lines[1][row], lines[2][row]
        if held[0] != above and held[1] == above:
            wide[0] = wide[1]
            held[0] = above
        for slot, line in ((0, above), (1, below)):
            if held[slot] != line:
                widen(maps, line, columns, wide[slot])
                held[slot] = line
        for chunk in range(chunks):
            start = chunk * CHUNK
            end = min(start + CHUNK, width)
            into = planes[row * chunks + chunk]
            for channel in range(3):
                into[channel * CHUNK : channel * CHUNK + end - start] = linear[
                    channel, row, start:end
                ]
            for index in range(len(maps)):
                first, second = wide[0, index, start:end], wide[1, index, start:end]
                part = into[(3 + index) * CHUNK : (3 + index) * CHUNK + end - start]
                for i in range(end - start):
                    part[i] = first[i] + weight * (second[i] - first[i])


@jit
def widen(maps, line, columns, out):
    """Interpolate one line of each map along it, (m, w)."""
    before, after, share = columns
    for index in range(len(maps)):
        values = maps[index, line]
        for i in range(len(share)):
            left = values[before[i]]
            out[index, i] = left + share[i] * (values[after[i]] - left)


@jit
def scatter(finished, most, pixels):
    """Quantise the kernel's chunks into rows of interleaved pixels (r, w, 3)."""
    rows, width, _ = pixels.shape
    chunks = (width + CHUNK - 1) // CHUNK
    half, zero = np.float32(0.5), np.float32(0)
    for row in range(rows):
        for chunk in range(chunks):
            start = chunk * CHUNK
            values = finished[row * chunks + chunk]
            for i in range(min(CHUNK, width - start)):
                for channel in range(3):
                    value = values[channel * CHUNK + i] * most + half
                    value = value if value > zero else zero
                    pixels[row, start + i, channel] = np.int32(value if value < most else most)
