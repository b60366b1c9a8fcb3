"""Sensor samples to scene-linear rows: the loops of `develop.linear_source`."""

import numpy as np

from isp_env.color.rgb import REC709_LUMINANCE
from isp_env.compiled import jit

RED, GREEN, BLUE = 0, 1, 2

CHUNK = 256  # pixels that a vectorised loop takes at a time; even, so that each begins alike
HALO = 2  # rows and columns around a pixel that Malvar's filters look at


@jit
def normalise(mosaic, places, black, black_rows, span, ceiling, out):
    """Normalise samples to 0 = black, 1 = `span` above it, clipped at `ceiling`."""
    for index in range(len(places)):
        place = places[index]
        samples, level, row = mosaic[place], black[place % 2], black_rows[place]
        for x in range(len(level)):
            dark = level[x] + row
            value = (np.float32(samples[x]) - dark) / span
            out[index, x] = value if value < ceiling else ceiling


@jit
def shade(numbers, tables, places, height, out):
    """Multiply by the gain maps (`develop.reference._apply_gain_map`)."""
    one, half, zero = np.float32(1), np.float32(0.5), np.float32(0)
    width = out.shape[1]
    for number in range(len(numbers)):
        top, left, bottom, right = numbers[number, :4].astype(np.int64)
        row_pitch, col_pitch = numbers[number, 4:6].astype(np.int64)
        origin_v, origin_h, spacing_v, spacing_h = numbers[number, 6:10]
        last_v, last_h = numbers[number, 10] - one, numbers[number, 11] - one
        right = min(right, width)
        for index in range(len(places)):
            place = places[index]
            if place < top or place >= bottom or (place - top) % row_pitch:
                continue
            v = ((np.float32(place) + half) / np.float32(height) - origin_v) / spacing_v
            v = min(max(v, zero), last_v)
            above = np.int64(v)
            below = min(above + 1, np.int64(last_v))
            v -= np.float32(above)
            line = tables[number, above] * (one - v) + tables[number, below] * v
            for x in range(left, right, col_pitch):
                h = ((np.float32(x) + half) / np.float32(width) - origin_h) / spacing_h
                h = min(max(h, zero), last_h)
                before = np.int64(h)
                after = min(before + 1, np.int64(last_h))
                h -= np.float32(before)
                out[index, x] *= line[before] * (one - h) + line[after] * h


@jit
def balance(gains, places, out):
    """Apply white balance."""
    for index in range(len(places)):
        even, odd = gains[places[index] % 2]
        for pair in range(out.shape[1] // 2):
            out[index, 2 * pair] *= even
            out[index, 2 * pair + 1] *= odd


@jit
def recover_highlights(red, green, blue, clip):
    """Apply `develop.reference.recover_highlights` to a pixel, clipped at 1, or not at all."""
    low_red = red if red < clip else clip
    low_green = green if green < clip else clip
    low_blue = blue if blue < clip else clip
    beyond = (red + green + blue - low_red - low_green - low_blue) * np.float32(1 / 3)
    return low_red + beyond, low_green + beyond, low_blue + beyond


@jit
def to_root(root, offset):
    """Square root of the rows inside the margins, and the margins mirrored."""
    least = np.float32(1e-6)
    width = root.shape[1] - 2 * HALO
    for row in range(len(root)):
        line = root[row]
        for x in range(HALO, HALO + width):
            value = line[x] + offset
            line[x] = np.sqrt(value if value > least else least)
        for beyond in range(1, HALO + 1):
            line[HALO - beyond] = line[HALO + beyond]
            line[HALO + width - 1 + beyond] = line[HALO + width - 1 - beyond]


@jit
def malvar(root, top, cfa, matrix, offset, clip, out):
    """Interpolate (`develop.demosaic`), recover highlights beyond `clip`, apply the matrix.

    All five estimates are made at every sample and the two that belong there are chosen: unlike a
    stride of two, that vectorises. Chunks are copied to arrays of a fixed shape, whose rows the
    compiler can tell apart.
    """
    two, four, five, six = np.float32(2), np.float32(4), np.float32(5), np.float32(6)
    half, eighth, more, zero = np.float32(0.5), np.float32(0.125), np.float32(1.5), np.float32(0)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.ravel()
    near = np.empty(5 * (CHUNK + 4), np.float32)
    done = np.empty(3 * CHUNK, np.float32)
    green_at = np.empty(CHUNK, np.uint8)
    size = CHUNK + 4
    width = out.shape[2]
    for row in range(out.shape[1]):
        here = cfa[(top + row) % 2]
        red_row = here[0] == RED or here[1] == RED
        for x in range(CHUNK):
            green_at[x] = here[x % 2] == GREEN
        for start in range(0, width, CHUNK):
            count = min(CHUNK, width - start)
            for line in range(5):
                near[line * size : line * size + count + 4] = root[
                    row + line, start : start + count + 4
                ]
            for x in range(CHUNK):
                centre = near[2 * size + x + 2]
                across = near[2 * size + x + 1] + near[2 * size + x + 3]
                along = near[size + x + 2] + near[3 * size + x + 2]
                diagonals = near[size + x + 1] + near[size + x + 3]
                diagonals += near[3 * size + x + 1] + near[3 * size + x + 3]
                far_across = near[2 * size + x] + near[2 * size + x + 4]
                far_along = near[x + 2] + near[4 * size + x + 2]
                far = far_across + far_along
                green = (four * centre + two * (across + along) - far) * eighth
                opposite = (six * centre + two * diagonals - more * far) * eighth
                base = five * centre - diagonals
                in_row = (base + four * across - far_across + half * far_along) * eighth
                in_column = (base + four * along - far_along + half * far_across) * eighth
                is_green = green_at[x] != 0
                own = in_row if is_green else centre  # the colour that this row holds
                other = in_column if is_green else opposite
                green = centre if is_green else green
                own = own if own > zero else zero
                other = other if other > zero else zero
                green = green if green > zero else zero
                red = own if red_row else other
                blue = other if red_row else own
                red = red * red - offset
                green = green * green - offset
                blue = blue * blue - offset
                red, green, blue = recover_highlights(red, green, blue, clip)
                done[x] = m00 * red + m01 * green + m02 * blue
                done[CHUNK + x] = m10 * red + m11 * green + m12 * blue
                done[2 * CHUNK + x] = m20 * red + m21 * green + m22 * blue
            for channel in range(3):
                out[channel, row, start : start + count] = done[
                    channel * CHUNK : channel * CHUNK + count
                ]


@jit
def quads(samples, row, cfa, pixels):
    """Fill red, green and blue of a row of 2x2 blocks, (3, w): the mean green, no highlight lost.

    Both samples of a row are read and one is chosen: unlike a stride of two that begins anywhere,
    that vectorises.
    """
    half, one = np.float32(0.5), np.float32(1)
    red_below = cfa[1, 0] == RED or cfa[1, 1] == RED
    red_left = cfa[0, 0] == RED or cfa[1, 0] == RED
    with_red, with_blue = samples[row], samples[row + 1]
    if red_below:
        with_red, with_blue = with_blue, with_red
    for x in range(pixels.shape[1]):
        first, second = with_red[2 * x], with_red[2 * x + 1]
        third, fourth = with_blue[2 * x], with_blue[2 * x + 1]
        red = first if red_left else second
        blue = fourth if red_left else third
        green = half * (second + third) if red_left else half * (first + fourth)
        pixels[RED, x], pixels[GREEN, x], pixels[BLUE, x] = recover_highlights(
            red, green, blue, one
        )


@jit
def sum_quads(samples, cfa, matrix, sums):
    """Sum Y, R - Y, B - Y of 2x2 blocks, and their squares, over rows of them, in float64."""
    sums[:] = 0.0
    pixels = np.empty((3, sums.shape[1]), np.float32)
    for row in range(0, len(samples), 2):
        quads(samples, row, cfa, pixels)
        add(pixels, matrix, sums)


@jit
def block_means(samples, cfa, matrix, factor, out):
    """Compute means of R, G, B over factor x factor samples, the last ones fewer, (3, r, w)."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.ravel()
    pixels = np.empty((3, samples.shape[1] // 2), np.float32)
    sums = np.empty_like(pixels)
    across = factor // 2
    for block in range(out.shape[1]):
        first_row, end_row = block * factor, min((block + 1) * factor, len(samples))
        quads(samples, first_row, cfa, sums)
        for row in range(first_row + 2, end_row, 2):
            quads(samples, row, cfa, pixels)
            for channel in range(3):
                for x in range(pixels.shape[1]):
                    sums[channel, x] += pixels[channel, x]
        for column in range(out.shape[2]):
            first, end = column * across, min((column + 1) * across, sums.shape[1])
            red, green, blue = sums[RED, first], sums[GREEN, first], sums[BLUE, first]
            for x in range(first + 1, end):
                red += sums[RED, x]
                green += sums[GREEN, x]
                blue += sums[BLUE, x]
            share = np.float32(1) / np.float32((end_row - first_row) // 2 * (end - first))
            out[RED, block, column] = (m00 * red + m01 * green + m02 * blue) * share
            out[GREEN, block, column] = (m10 * red + m11 * green + m12 * blue) * share
            out[BLUE, block, column] = (m20 * red + m21 * green + m22 * blue) * share


@jit
def sum_pixels(rows, sums):
    """Sum Y, R - Y, B - Y and their squares over rows (3, r, w), in float64."""
    sums[:] = 0.0
    matrix = np.eye(3, dtype=np.float32)
    for row in range(rows.shape[1]):
        add(rows[:, row], matrix, sums)


@jit
def add(pixels, matrix, sums):
    """Add Y, R - Y, B - Y of a row, and their squares, to the sums."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.ravel()
    y_red, y_green, y_blue = (
        np.float32(REC709_LUMINANCE[0]),
        np.float32(REC709_LUMINANCE[1]),
        np.float32(REC709_LUMINANCE[2]),
    )
    for x in range(sums.shape[1]):
        a, b, c = pixels[0, x], pixels[1, x], pixels[2, x]
        red = m00 * a + m01 * b + m02 * c
        green = m10 * a + m11 * b + m12 * c
        blue = m20 * a + m21 * b + m22 * c
        y = y_red * red + y_green * green + y_blue * blue
        red_minus, blue_minus = np.float64(red - y), np.float64(blue - y)
        y = np.float64(y)
        sums[0, x] += y
        sums[1, x] += red_minus
        sums[2, x] += blue_minus
        sums[3, x] += y * y
        sums[4, x] += red_minus * red_minus
        sums[5, x] += blue_minus * blue_minus


@jit
def block_statistics(sums, columns, rows, out):
    """Compute means of R, G, B and variances of Y, R - Y, B - Y from sums (6, w), into (6, w2).

    Each block takes `columns` of the sums, each of `rows` values. A variance is a small difference
    of large numbers, hence float64.
    """
    y_red, y_green, y_blue = REC709_LUMINANCE
    total = np.empty(6)
    for block in range(out.shape[1]):
        first = block * columns
        end = min(first + columns, sums.shape[1])
        count = rows * (end - first)
        for kind in range(6):
            total[kind] = 0.0
            for x in range(first, end):  # slices and their sums take ten times as long
                total[kind] += sums[kind, x]
        y, red_minus, blue_minus = total[0] / count, total[1] / count, total[2] / count
        out[0, block] = y + red_minus
        out[1, block] = y - (y_red * red_minus + y_blue * blue_minus) / y_green
        out[2, block] = y + blue_minus
        out[3, block] = max(total[3] / count - y**2, 0.0)
        out[4, block] = max(total[4] / count - red_minus**2, 0.0)
        out[5, block] = max(total[5] / count - blue_minus**2, 0.0)
