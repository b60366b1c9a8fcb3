"""Random legal DNG files: file i depends on (seed, i) alone, so a failing one can be made again.

Levels, areas, crops, layouts, codecs, byte orders, orientations, tables, opcodes and the place of
the picture in the file are drawn independently of each other. Source: DNG specification 1.7.1.
Left out: mosaics that are no 2 x 2 Bayer pattern, and TrimBounds in OpcodeList1, of which the
specification does not say what the areas refer to.
"""

import struct
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from experiments.isp import random_opcodes as opcodes
from experiments.isp import reference_opcodes as kinds
from experiments.isp.random_samples import (
    Kind,
    Storage,
    encode_blocks,
    layout_tags,
    random_storage,
    rounded,
    scene,
)
from experiments.isp.tiff_writer import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    UNDEFINED,
    Directory,
    Tag,
    rationals,
    write_tiff,
)

LEAST = 24  # rows and columns of a picture: LibRaw, which identifies files, refuses fewer than 22
CFA, LINEAR_RAW, RGB = 32803, 34892, 2
BAYER = {"RGGB": (0, 1, 1, 2), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1), "BGGR": (2, 1, 1, 0)}
PHASE = {"RGGB": 0, "GRBG": 1, "GBRG": 2, "BGGR": 3}  # BayerPhase of an opcode
MATRIX = (0.9, -0.29, -0.07, -0.45, 1.24, 0.23, -0.09, 0.19, 0.71)  # XYZ to camera
PLACES = ("first", "child", "chained", "beside an enhanced picture", "after an enhanced picture")


@dataclass(frozen=True)
class RandomDng:
    """A DNG file, the samples that it stores and, in words, what was drawn for it."""

    content: bytes
    samples: Num[np.ndarray, "h w planes"]
    drawn: dict[str, Any]


@dataclass(frozen=True)
class Levels:
    """Levels of a picture, and the tags that say them."""

    black: Float[np.ndarray, "h w planes"]  # of the active area
    white: Float[np.ndarray, " planes"]
    tags: dict[int, Tag]


def random_dng(seed: int, number: int) -> RandomDng:
    """Return random DNG `number` of a seed."""
    rng = np.random.default_rng((seed, number))
    kind: Kind = rng.choice(["mosaic"] * 5 + ["rgb"] * 2 + ["grey"])
    planes = 3 if kind == "rgb" else 1
    pattern = str(rng.choice(list(BAYER)))
    margins = [int(m) for m in rng.integers(0, 10, 4)] if rng.random() < 0.6 else [0] * 4
    height, width = (int(n) for n in rng.integers(LEAST, 112, 2))
    frame = (height + margins[0] + margins[2], width + margins[1] + margins[3])
    has_table = bool(rng.random() < 0.15)
    storage = random_storage(kind, frame, has_table, rng)
    table = _table(storage.bits, rng) if has_table else None
    levels = _levels((height, width, planes), storage, table, rng)
    samples = _stored(frame, margins, levels, storage, table, rng)
    lists, samples = _opcode_lists(kind, pattern, samples, margins, storage, rng)
    if rng.random() < 0.15:
        lens = opcodes.random_lens(planes if kind == "grey" else 3, rng)
        lists[51022] = (UNDEFINED, opcodes.pack(lens, rng))
    area = (margins[0], margins[1], margins[0] + height, margins[1] + width)

    tags: dict[int, Tag] = {
        254: (LONG, [0]),
        256: (LONG, [frame[1]]),
        257: (LONG, [frame[0]]),
        262: (SHORT, [CFA if kind == "mosaic" else LINEAR_RAW]),
    }
    tags |= layout_tags(storage, planes) | levels.tags | lists
    if kind == "mosaic":
        tags |= {33421: (SHORT, [2, 2]), 33422: (BYTE, bytes(BAYER[pattern]))}
        if rng.random() < 0.5:
            tags |= {50710: (BYTE, bytes((0, 1, 2))), 50711: (SHORT, [1])}
    if any(margins) or rng.random() < 0.3:
        tags[50829] = (SHORT if max(area) < 100 else LONG, list(area))
    if table is not None:
        tags[50712] = (SHORT, table.tolist())
    drawn_opcodes = {
        code: [opcode.kind for opcode in kinds.parse(bytes(value))]
        for code, (_, value) in lists.items()
    }
    if kinds.TRIM not in drawn_opcodes.get(51009, []):
        tags |= _crops(height, width, rng)
    of_file = _file_tags(planes, rng)
    place = str(rng.choice(PLACES, p=[0.35, 0.3, 0.15, 0.1, 0.1]))
    raw = Directory(tags, encode_blocks(samples, storage), storage.is_tiled)
    content = write_tiff(_placed(raw, of_file, place, (height, width), rng), storage.order)
    drawn = {"kind": kind, "pattern": pattern, "frame": frame, "area": area, "place": place}
    drawn |= {"table": has_table, "levels": sorted(levels.tags), **asdict(storage)}
    drawn["opcodes"] = drawn_opcodes
    return RandomDng(content, samples, drawn)


def _table(bits: int, rng: np.random.Generator) -> Num[np.ndarray, " n"]:
    """Return a LinearizationTable: a rising curve, which may end before the highest sample."""
    size = int(2**bits * rng.uniform(0.8, 1)) if bits <= 12 else int(rng.integers(1000, 5000))
    curve = np.linspace(0, 1, size) ** rng.uniform(1, 2)
    return np.round(curve * (2 ** int(rng.integers(bits if bits < 16 else 14, 17)) - 1)).astype(int)


def _levels(
    shape: tuple[int, int, int],
    storage: Storage,
    table: Num[np.ndarray, " n"] | None,
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


def _stored(
    frame: tuple[int, int],
    margins: list[int],
    levels: Levels,
    storage: Storage,
    table: Num[np.ndarray, " n"] | None,
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


def _opcode_lists(
    kind: Kind,
    pattern: str,
    samples: Num[np.ndarray, "h w planes"],
    margins: list[int],
    storage: Storage,
    rng: np.random.Generator,
) -> tuple[dict[int, Tag], Num[np.ndarray, "h w planes"]]:
    """Draw OpcodeList1 and OpcodeList2; bad pixels are made bad in the samples.

    A list that mends pixels does nothing else: by which method is left to the reader, and what
    follows would make the choice unrecognisable.
    """
    height, width, planes = samples.shape
    lists: dict[int, Tag] = {}
    mends = kind == "mosaic" and not storage.is_float and storage.bits <= 16 and rng.random() < 0.15
    if mends:
        samples = samples.copy()
        phase = (int(margins[0] % 2), int(margins[1] % 2))  # of the frame's corner
        letters = np.roll(np.array(BAYER[pattern]).reshape(2, 2), phase, (0, 1)).ravel().tolist()
        corner = PHASE[next(name for name, p in BAYER.items() if list(p) == letters)]
        if rng.random() < 0.5:
            opcode, data, places = opcodes.bad_pixels((height, width), corner, rng)
            for row, column in places:
                samples[row, column] = rng.integers(0, 2**storage.bits)
        else:
            constant = 0
            opcode, data = kinds.BAD_CONSTANT, struct.pack(">2I", constant, corner)
            samples = np.maximum(samples, 1)
            for _ in range(int(rng.integers(1, 8))):
                samples[rng.integers(height), rng.integers(width)] = constant
        lists[51008] = (UNDEFINED, opcodes.pack([(opcode, data)], rng))
        return lists, samples
    if not storage.is_float and storage.bits <= 16 and rng.random() < 0.12:
        limit = float(samples.max())
        drawn = opcodes.random_points((planes, height, width), limit, rng)
        lists[51008] = (UNDEFINED, opcodes.pack(drawn, rng))
    if rng.random() < 0.3:
        shape = (planes, height - margins[0] - margins[2], width - margins[1] - margins[3])
        if rng.random() < 0.5:
            gain = (kinds.GAIN_MAP,)
            found = [o for _ in range(9) for o in opcodes.random_points(shape, 1.0, rng)]
            drawn = [o for o in found if o[0] in gain][:4]
        else:
            drawn = opcodes.random_points(shape, 1.0, rng)
        if rng.random() < 0.1 and min(shape[1:]) >= LEAST + 6:
            edges = rng.integers(0, 3, 4).tolist()
            bounds = (edges[0], edges[1], shape[1] - edges[2], shape[2] - edges[3])
            drawn.append((kinds.TRIM, struct.pack(">4i", *bounds)))
        lists[51009] = (UNDEFINED, opcodes.pack(drawn, rng))
    return lists, samples


def _crops(height: int, width: int, rng: np.random.Generator) -> dict[int, Tag]:
    """Draw DefaultCrop and DefaultUserCrop."""
    tags: dict[int, Tag] = {}
    if rng.random() < 0.6:
        top, left = np.round(rng.uniform(0, 5, 2), 1).tolist()
        rows = float(np.round(rng.uniform(0.7, 1) * (height - 5), 1))
        columns = float(np.round(rng.uniform(0.7, 1) * (width - 5), 1))
        if rng.random() < 0.5:
            numbers = [int(n) for n in (left, top, columns, rows)]
            tags |= {50719: (LONG, numbers[:2]), 50720: (SHORT, numbers[2:])}
        else:
            tags[50719] = (RATIONAL, rationals([left, top], 10))
            tags[50720] = (RATIONAL, rationals([columns, rows], 10))
    if rng.random() < 0.25:
        top, left = rng.uniform(0, 0.3, 2).tolist()
        bottom, right = rng.uniform(0.6, 1, 2).tolist()
        tags[51125] = (RATIONAL, rationals([top, left, bottom, right], 100_000))
    return tags


def _file_tags(planes: int, rng: np.random.Generator) -> dict[int, Tag]:
    """Draw the tags of the first directory, which speak for the file."""
    tags: dict[int, Tag] = {
        271: (ASCII, b"Test\0"),
        272: (ASCII, b"Random camera\0"),
        274: (SHORT, [int(rng.integers(1, 9))]),
        50706: (BYTE, bytes((1, 7, 1, 0))),
        50707: (BYTE, bytes((1, 7, 1, 0))),
        50708: (ASCII, b"Test Random camera\0"),
        50721: (SRATIONAL, rationals(MATRIX, 10_000)),
        50778: (SHORT, [21]),
    }
    if rng.random() < 0.7:
        tags[50730] = (SRATIONAL, rationals([float(np.round(rng.uniform(-2, 2), 2))], 100))
    neutral = [float(rng.uniform(0.3, 0.9)), 1.0, float(rng.uniform(0.3, 0.9))]
    if rng.random() < 0.8:
        tags[50728] = (RATIONAL, rationals(neutral, 1_000_000))
    else:
        tags[50729] = (RATIONAL, rationals([0.3457, 0.3585], 10_000))
    return tags


def _placed(
    raw: Directory,
    of_file: dict[int, Tag],
    place: str,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> list[Directory]:
    """Return the file's chain of directories with the raw picture in its place."""
    if place == "first":
        return [replace(raw, tags=of_file | dict(raw.tags))]
    rows, columns = 12, 16
    small = rng.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    preview: dict[int, Tag] = {
        254: (LONG, [1]),
        256: (SHORT, [columns]),
        257: (SHORT, [rows]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [1]),
        262: (SHORT, [RGB]),
        277: (SHORT, [3]),
        278: (SHORT, [rows]),
        284: (SHORT, [1]),
    }
    first = Directory(of_file | preview, [small.tobytes()])
    if place == "chained":
        return [first, raw]
    children = [raw]
    if "enhanced" in place:
        enhanced = _enhanced(size, rng)
        children = [enhanced, raw] if place.startswith("after") else [raw, enhanced]
    return [replace(first, children=children)]


def _enhanced(size: tuple[int, int], rng: np.random.Generator) -> Directory:
    """Return an enhanced picture of the size of the main one, with levels of its own."""
    height, width = size
    picture = np.round(60 + 180 * scene(height, width, 3, rng)).astype(np.uint8)
    tags: dict[int, Tag] = {
        254: (LONG, [16]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [1]),
        262: (SHORT, [LINEAR_RAW]),
        277: (SHORT, [3]),
        278: (LONG, [height]),
        284: (SHORT, [1]),
        50714: (LONG, [0, 0, 0]),
        50717: (LONG, [255, 255, 255]),
    }
    return Directory(tags, [picture.tobytes()])
