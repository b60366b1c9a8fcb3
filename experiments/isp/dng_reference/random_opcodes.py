"""Random legal opcodes for the three opcode lists of a DNG (specification 1.7.1, chapter 7)."""

import struct
from collections.abc import Sequence

import numpy as np

from experiments.isp.dng_reference import reference_opcodes as kinds

VERSION = 0x01030000
POINT = (
    kinds.TABLE,
    kinds.POLYNOMIAL,
    kinds.GAIN_MAP,
    kinds.DELTA_ROW,
    kinds.DELTA_COLUMN,
    kinds.SCALE_ROW,
    kinds.SCALE_COLUMN,
)


def pack(opcodes: Sequence[tuple[int, bytes]], rng: np.random.Generator) -> bytes:
    """Return the value of an opcode list; flags are drawn, they change nothing in a full frame."""
    parts = [struct.pack(">I", len(opcodes))]
    for kind, data in opcodes:
        parts += [struct.pack(">4I", kind, VERSION, int(rng.integers(0, 4)), len(data)), data]
    return b"".join(parts)


def random_points(
    shape: tuple[int, int, int], limit: float, rng: np.random.Generator
) -> list[tuple[int, bytes]]:
    """Draw one to three opcodes that change each pixel by itself.

    Args:
        shape: Planes, rows and columns of the image.
        limit: The value of white in it: 1, or a sample.
        rng: The generator.
    """
    return [
        (kind, _point(int(kind), shape, limit, rng))
        for kind in rng.choice(POINT, rng.integers(1, 4)).tolist()
    ]


def bad_pixels(
    shape: tuple[int, int], phase: int, rng: np.random.Generator
) -> tuple[int, bytes, list[tuple[int, int]]]:
    """Draw a FixBadPixelsList: its kind, parameters, and the pixels that it names."""
    height, width = shape
    points = [
        (int(rng.integers(height)), int(rng.integers(width))) for _ in range(rng.integers(0, 6))
    ]
    rectangles = []
    for _ in range(rng.integers(0 if points else 1, 3)):
        top, left = int(rng.integers(height - 3)), int(rng.integers(width - 3))
        rectangles.append(
            (top, left, top + int(rng.integers(1, 4)), left + int(rng.integers(1, 4)))
        )
    data = struct.pack(">3I", phase, len(points), len(rectangles))
    for numbers in (*points, *rectangles):
        data += struct.pack(f">{len(numbers)}I", *numbers)
    inside = [
        (row, column)
        for top, left, bottom, right in rectangles
        for row in range(top, bottom)
        for column in range(left, right)
    ]
    return kinds.BAD_LIST, data, points + inside


def random_lens(planes: int, rng: np.random.Generator) -> list[tuple[int, bytes]]:
    """Draw one or two opcodes of OpcodeList3, near the identity, for so many planes."""
    center = rng.uniform(0.4, 0.6, 2).tolist()
    sets = int(rng.choice([1, planes]))
    radial = [
        [1, *rng.uniform(-0.02, 0.02, 3), *rng.uniform(-0.002, 0.002, 2)] for _ in range(sets)
    ]
    fisheye = [[1, *rng.uniform(-0.02, 0.02, 3)] for _ in range(sets)]
    higher = [
        [1, *rng.uniform(-0.01, 0.01, 14), *rng.uniform(-0.002, 0.002, 2), 0, 1]
        for _ in range(sets)
    ]
    gains = rng.uniform(0, 0.2, 5).tolist()
    found = {
        kinds.WARP: struct.pack(">I", sets) + _doubles(radial, center),
        kinds.FISHEYE: struct.pack(">I", sets) + _doubles(fisheye, center),
        kinds.WARP_2: struct.pack(">I", sets) + _doubles(higher, center) + struct.pack(">I", 0),
        kinds.VIGNETTE: struct.pack(">7d", *gains, *center),
    }
    return [
        (kind, found[kind]) for kind in rng.permutation(list(found))[: rng.integers(1, 3)].tolist()
    ]


def _doubles(sets: Sequence[Sequence[float]], center: Sequence[float]) -> bytes:
    numbers = [float(number) for one in (*sets, center) for number in one]
    return struct.pack(f">{len(numbers)}d", *numbers)


def _point(kind: int, shape: tuple[int, int, int], limit: float, rng: np.random.Generator) -> bytes:
    planes, height, width = shape
    top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
    bottom, right = int(rng.integers(top + 8, height + 1)), int(rng.integers(left + 8, width + 1))
    if rng.random() < 0.4:
        top, left, bottom, right = 0, 0, height, width
    plane = int(rng.integers(planes))
    count = int(rng.integers(1, planes - plane + 1))
    pitch = [int(n) for n in rng.integers(1, 4, 2)]
    area = struct.pack(">4i4I", top, left, bottom, right, plane, count, *pitch)
    rows, columns = -(-(bottom - top) // pitch[0]), -(-(right - left) // pitch[1])
    if kind == kinds.GAIN_MAP:
        return area + _gain_map(count if plane == 0 else 1, rng)
    if kind == kinds.TABLE:
        return area + _table(limit, rng)
    if kind == kinds.POLYNOMIAL:
        # about the identity: the terms of higher degree bend it by a few per cent of white
        terms = [0.01 * limit, 0.9, 0.08 / limit, -0.03 / limit**2][: int(rng.integers(2, 5))]
        terms = [float(term * rng.uniform(0.8, 1.2)) for term in terms]
        return area + struct.pack(f">I{len(terms)}d", len(terms) - 1, *terms)
    size = rows if kind in (kinds.DELTA_ROW, kinds.SCALE_ROW) else columns
    if kind in (kinds.DELTA_ROW, kinds.DELTA_COLUMN):
        values = rng.uniform(-0.02, 0.02, size) * limit
    else:
        values = rng.uniform(0.9, 1.1, size)
    return area + struct.pack(f">I{size}f", size, *values.tolist())


def _table(limit: float, rng: np.random.Generator) -> bytes:
    """Return a smooth curve; where it ends before 65,536 entries, the last one goes on."""
    most = 65535 if limit <= 1 else limit
    whole = rng.random() < 0.5
    x = np.arange(65536 if whole else int(most * rng.uniform(0.7, 1)) + 1)
    curve = x + 0.05 * most * np.sin(np.pi * np.minimum(x / most, 1)) * rng.uniform(-1, 1)
    entries = np.clip(np.round(curve), 0, 65535).astype(int).tolist()
    return struct.pack(f">I{len(entries)}H", len(entries), *entries)


def _gain_map(planes: int, rng: np.random.Generator) -> bytes:
    points = rng.integers(1, 7, 2).tolist()
    origin = rng.choice([0, 0, 0.05, -0.1], 2).tolist()
    spacing = [float(rng.uniform(0.8, 1.1)) / max(n - 1, 1) for n in points]
    map_planes = 1 if rng.random() < 0.6 else planes  # several only where they begin at plane 0
    gains = rng.uniform(0.8, 1.6, points[0] * points[1] * map_planes).tolist()
    return struct.pack(f">2I4dI{len(gains)}f", *points, *spacing, *origin, map_planes, *gains)
