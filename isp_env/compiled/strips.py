"""Between rows of a picture and the chunks that a fused loop takes (`isp.fused`)."""

import numpy as np

from isp_env.compiled import jit

CHUNK = 256
"""Pixels that the loop takes at a time. Planes lie one after the other within a chunk, at distances
known when the loop is compiled: else LLVM cannot see that they do not overlap, and gives up."""


@jit
def widen_two(maps, above, below, columns, wide, held):
    """Hold two lines of each map at full width, (2, m, w): many rows lie between the same two.

    `held` (2,) names the lines that are there.
    """
    if held[0] != above and held[1] == above:
        wide[0] = wide[1]
        held[0] = above
    for slot, line in ((0, above), (1, below)):
        if held[slot] != line:
            widen(maps, line, columns, wide[slot])
            held[slot] = line


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
def gather(linear, row, start, wide, places, weight, planes):
    """Lay out a chunk of a row (3, r, w), and of the maps between two lines, for the kernel.

    `places` (m,) are the columns of the maps.
    """
    end = min(start + CHUNK, linear.shape[2])
    into = planes[0]
    for channel in range(3):
        into[channel * CHUNK : channel * CHUNK + end - start] = linear[channel, row, start:end]
    for index in range(wide.shape[1]):
        first, second = wide[0, index, start:end], wide[1, index, start:end]
        place = places[index] * CHUNK
        part = into[place : place + end - start]
        for i in range(end - start):
            part[i] = first[i] + weight * (second[i] - first[i])


@jit
def lay(inputs, places, start, planes):
    """Lay out a chunk of planes (m, n) for the kernel, in the columns `places` (m,)."""
    count = min(CHUNK, inputs.shape[1] - start)
    for index in range(len(inputs)):
        place = places[index] * CHUNK
        planes[0, place : place + count] = inputs[index, start : start + count]


@jit
def take(planes, start, out):
    """Copy the first planes of a chunk to where they belong in `out` (q, n)."""
    count = min(CHUNK, out.shape[1] - start)
    for index in range(len(out)):
        place = index * CHUNK
        out[index, start : start + count] = planes[0, place : place + count]


@jit
def scatter(planes, row, start, levels, pixels):
    """Quantise the first three planes of a chunk into a row of interleaved pixels (r, w, 3).

    `levels` (3 CHUNK,), of the type of the pixels, is room to work in: quantised first and
    interleaved then, it takes a third of the time.
    """
    most = np.float32(np.iinfo(pixels.dtype).max)
    half, zero = np.float32(0.5), np.float32(0)
    values, out = planes[0], pixels[row]
    for i in range(3 * CHUNK):
        value = values[i] * most + half
        value = value if value > zero else zero
        levels[i] = np.int32(value if value < most else most)
    for i in range(min(CHUNK, pixels.shape[1] - start)):
        out[start + i, 0] = levels[i]
        out[start + i, 1] = levels[CHUNK + i]
        out[start + i, 2] = levels[2 * CHUNK + i]
