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
from jaxtyping import Num

from experiments.isp.dng_reference import random_opcodes as opcodes
from experiments.isp.dng_reference import reference_opcodes as kinds
from experiments.isp.dng_reference.random_levels import random_levels, random_table, stored
from experiments.isp.dng_reference.random_samples import (
    Kind,
    Storage,
    encode_blocks,
    layout_tags,
    random_storage,
    scene,
)
from experiments.isp.dng_reference.tiff_writer import (
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
    table = random_table(storage.bits, rng) if has_table else None
    levels = random_levels((height, width, planes), storage, table, rng)
    samples = stored(frame, margins, levels, storage, table, rng)
    lists, samples = _opcode_lists(kind, pattern, samples, margins, storage, rng)
    if rng.random() < 0.15:
        lens = opcodes.random_lens(planes if kind == "grey" else 3, rng)
        lists[51022] = opcodes.pack(lens, rng)
    area = (margins[0], margins[1], margins[0] + height, margins[1] + width)

    tags: dict[int, Tag] = {
        254: (LONG, [0]),
        256: (LONG, [frame[1]]),
        257: (LONG, [frame[0]]),
        262: (SHORT, [CFA if kind == "mosaic" else LINEAR_RAW]),
    }
    tags |= layout_tags(storage, planes) | levels.tags
    tags |= {code: (UNDEFINED, content) for code, content in lists.items()}
    if kind == "mosaic":
        tags |= {33421: (SHORT, [2, 2]), 33422: (BYTE, bytes(BAYER[pattern]))}
        if rng.random() < 0.5:
            tags |= {50710: (BYTE, bytes((0, 1, 2))), 50711: (SHORT, [1])}
    if any(margins) or rng.random() < 0.3:
        tags[50829] = (SHORT if max(area) < 100 else LONG, list(area))
    if table is not None:
        tags[50712] = (SHORT, table.tolist())
    drawn_opcodes = {
        code: [opcode.kind for opcode in kinds.parse(content)] for code, content in lists.items()
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


def _opcode_lists(
    kind: Kind,
    pattern: str,
    samples: Num[np.ndarray, "h w planes"],
    margins: list[int],
    storage: Storage,
    rng: np.random.Generator,
) -> tuple[dict[int, bytes], Num[np.ndarray, "h w planes"]]:
    """Draw OpcodeList1 and OpcodeList2; bad pixels are made bad in the samples.

    A file whose list mends pixels has no other opcodes of the first two lists: by which method is
    left to the reader, and what follows would make the choice unrecognisable.
    """
    height, width, planes = samples.shape
    is_whole = not storage.is_float and storage.bits <= 16
    if kind == "mosaic" and is_whole and rng.random() < 0.15:
        content, samples = _mended(pattern, samples, margins, 2**storage.bits, rng)
        return {51008: content}, samples
    lists: dict[int, bytes] = {}
    if is_whole and rng.random() < 0.12:
        limit = float(samples.max())
        drawn = opcodes.random_points((planes, height, width), limit, rng)
        lists[51008] = opcodes.pack(drawn, rng)
    if rng.random() < 0.3:
        shape = (planes, height - margins[0] - margins[2], width - margins[1] - margins[3])
        drawn = opcodes.random_points(shape, 1.0, rng)
        if rng.random() < 0.5:  # gain maps alone are what most cameras write
            many = [one for _ in range(9) for one in opcodes.random_points(shape, 1.0, rng)]
            drawn = [(number, data) for number, data in many if number == kinds.GAIN_MAP][:4]
        if rng.random() < 0.1 and min(shape[1:]) >= LEAST + 6:
            edges = rng.integers(0, 3, 4).tolist()
            bounds = (edges[0], edges[1], shape[1] - edges[2], shape[2] - edges[3])
            drawn.append((kinds.TRIM, struct.pack(">4i", *bounds)))
        lists[51009] = opcodes.pack(drawn, rng)
    return lists, samples


def _mended(
    pattern: str,
    samples: Num[np.ndarray, "h w planes"],
    margins: list[int],
    end: int,
    rng: np.random.Generator,
) -> tuple[bytes, Num[np.ndarray, "h w planes"]]:
    """Return a list with an opcode for bad pixels, and samples of which these are bad."""
    height, width, _ = samples.shape
    of_area = np.array(BAYER[pattern]).reshape(2, 2)
    of_frame = tuple(np.roll(of_area, margins[:2], (0, 1)).ravel().tolist())
    corner = PHASE[next(name for name, colors in BAYER.items() if colors == of_frame)]
    samples = samples.copy()
    if rng.random() < 0.5:
        opcode, data, places = opcodes.bad_pixels((height, width), corner, rng)
        for row, column in places:
            samples[row, column] = rng.integers(0, end)
    else:
        opcode, data = kinds.BAD_CONSTANT, struct.pack(">2I", 0, corner)
        samples = np.maximum(samples, 1)
        for _ in range(int(rng.integers(1, 8))):
            samples[rng.integers(height), rng.integers(width)] = 0
    return opcodes.pack([(opcode, data)], rng), samples


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
    if size[0] % 2:  # as some writers do; the first directory's is meant
        raw = replace(raw, tags={**raw.tags, 274: (SHORT, [1])})
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
    picture = np.round(5 + 235 * scene(height, width, 3, rng)).astype(np.uint8)
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
