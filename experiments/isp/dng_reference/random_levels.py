"""Black and white levels and linearization tables of random legal DNGs, and what they store."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from experiments.isp.dng_reference.random_samples import Storage, rounded, scene
from experiments.isp.dng_reference.tiff_writer import (
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    Tag,
    rationals,
)


@dataclass(frozen=True)
class Levels:
    """Levels of a picture, and the tags that say them."""

    black: Float[np.ndarray, "h w planes"]  # of the active area
    white: Float[np.ndarray, " planes"]
    tags: dict[int, Tag]


def random_table(bits: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Return a LinearizationTable: a rising curve, which may end before the highest sample."""
    size = int(2**bits * rng.uniform(0.8, 1)) if bits <= 12 else int(rng.integers(1000, 5000))
    curve = np.linspace(0, 1, size) ** rng.uniform(1, 2)
    return np.round(curve * (2 ** int(rng.integers(bits if bits < 16 else 14, 17)) - 1)).astype(int)


def random_levels(
    shape: tuple[int, int, int],
    storage: Storage,
    table: Int[np.ndarray, " n"] | None,
    rng: np.random.Generator,
) -> Levels:
    """Draw black and white level; each tag may be absent where its default serves."""
    height, width, planes = shape
    most = float(table.max()) if table is not None else 2.0**storage.bits - 1
    most = 1.0 if storage.is_float else most
    tags: dict[int, Tag] = {}
    white = np.full(planes, most)
    if table is not None or (rng.random() < 0.8 and not storage.is_float):
        white = np.floor(most * rng.uniform(0.7, 0.98, planes if rng.random() < 0.5 else 1))
        tags[50717] = (
            LONG,
            white.astype(int).tolist() if planes == white.size else [int(white[0])] * planes,
        )
        white = np.resize(white, planes)
    elif storage.is_float and rng.random() < 0.7:
        white = np.full(planes, float(rng.choice([1, 1, 1000, 65535])))
        tags[50717] = (LONG, white.astype(int).tolist())
    black = np.zeros(shape)
    if rng.random() < 0.85:
        sizes = [(1, 1)] * 3 + [(2, 2)] * 3 + [(1, 2), (2, 1), (4, 4), (3, 2), (2, 6)]
        rows, columns = sizes[int(rng.integers(len(sizes)))]
        whole = rng.random() < 0.5 and not storage.is_float
        pattern = rng.uniform(0, 0.06, (rows, columns, planes)) * white.min()
        kind, values = RATIONAL, rationals(pattern.ravel().tolist(), 10_000 if most < 4e5 else 1)
        pattern = np.round(pattern * 10_000) / 10_000 if most < 4e5 else np.round(pattern)
        if whole:
            pattern = np.round(pattern)
            kind, values = LONG, pattern.astype(int).ravel().tolist()
        tags[50714] = (kind, values)
        if (rows, columns) != (1, 1) or rng.random() < 0.5:
            tags[50713] = (SHORT, [rows, columns])
        black = (
            black + np.tile(pattern, (height // rows + 1, width // columns + 1, 1))[:height, :width]
        )
        for code, axis in ((50715, 1), (50716, 0)):
            if rng.random() < 0.2:
                delta = np.round(rng.uniform(-0.01, 0.02, shape[axis]) * white.min() * 100) / 100
                tags[code] = (SRATIONAL, rationals(delta.tolist(), 100 if most < 1e7 else 1))
                black = black + (delta[:, None, None] if axis == 0 else delta[:, None])
    return Levels(black, white, tags)


def stored(
    frame: tuple[int, int],
    margins: list[int],
    levels: Levels,
    storage: Storage,
    table: Int[np.ndarray, " n"] | None,
    rng: np.random.Generator,
) -> Num[np.ndarray, "h w planes"]:
    """Return the samples of a scene: what the levels and the table turn into its light."""
    light = scene(*frame, len(levels.white), rng)
    rows, columns = np.arange(frame[0]) - margins[0], np.arange(frame[1]) - margins[1]
    height, width, _ = levels.black.shape
    black = levels.black[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    values = black + light * (levels.white - black)
    if table is not None:
        values = np.searchsorted(table, values.ravel()).reshape(values.shape).astype(float)
    return rounded(values, storage)
