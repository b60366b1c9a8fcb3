"""What a DNG's picture is by the specification, slowly: an independent oracle for RAW readers.

Source: DNG 1.7.1 and TIFF 6.0; directories by tifffile, samples by `reference_samples`. Where the
specification leaves something open, as Adobe's DNG SDK does; each such place says so. Written
without a look at `isp_env`, and for correct files: what it does not know it refuses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float, Int, Num

from experiments.isp.dng_reference.reference_opcodes import TABLE as MAP_TABLE
from experiments.isp.dng_reference.reference_opcodes import Processed, parse, process
from experiments.isp.dng_reference.reference_samples import (
    FLOATS,
    Layout,
    UnknownLayoutError,
    read_samples,
)

CFA, LINEAR_RAW = 32803, 34892
MAIN, ENHANCED = 0, 16  # NewSubFileType
ORIENTATION = 274
REPEAT_DIM, BLACK, DELTA_H, DELTA_V, WHITE = 50713, 50714, 50715, 50716, 50717
TABLE, AREA, CROP_ORIGIN, CROP_SIZE, USER_CROP = 50712, 50829, 50719, 50720, 51125
LIST_1, LIST_2 = 51008, 51009
NEUTRAL, WHITE_XY, COLOR_MATRIX, EXPOSURE = 50728, 50729, 50721, 50730

MOST_GAIN = 4  # by which list 2 may multiply what rounding left open after list 1
TABLE_STEPS = 3  # 16-bit steps by which rounding before and after a table may differ

Area = tuple[int, int, int, int]
"""Top, left, bottom, right."""


@dataclass(frozen=True)
class Reference:
    """The main picture of a DNG, up to demosaicing."""

    samples: Num[np.ndarray, "frame_h frame_w planes"]  # as stored, in the picture's order
    linear: Float[np.ndarray, "planes h w"]  # reference values after OpcodeList2, at most 1
    mended: Bool[np.ndarray, "h w"]  # by an opcode for bad pixels: any method will do there
    clipped: Bool[np.ndarray, "planes h w"]  # at 1 by an opcode of list 2: light may be kept there
    step: Float[np.ndarray, " planes"]  # of `linear` from one sample value to the next; of floats 0
    is_clipped: bool  # below black as well, by opcodes of list 2
    black: Float[np.ndarray, "planes h w"]  # in the unit of the samples
    white: Float[np.ndarray, " planes"]
    area: Area  # active area in the frame, less what TrimBounds took
    cfa: Int[np.ndarray, "rows cols"] | None  # from the area's corner: 0 R, 1 G, 2 B, ...
    crop: tuple[float, ...]  # default and user crop in the area, not rounded
    has_user_crop: bool
    orientation: int
    neutral: Float[np.ndarray, " planes"] | None  # G = 1
    baseline_exposure: float


def read_reference(path: Path | str) -> Reference:
    """Return the main picture of a DNG.

    Raises:
        UnknownLayoutError: The reference does not know how its samples are stored.
        NotImplementedError: It holds opcodes in a list where they do not belong.
    """
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        page = _main_page(tiff)
        file = tiff.filehandle
        tags = {tag.code: _value(tag) for tag in (*first.tags, *page.tags)}
        # the first directory speaks for the file; the levels and layout are each picture's own
        of_picture = {tag.code for tag in page.tags}
        raw_only = {TABLE, REPEAT_DIM, BLACK, DELTA_H, DELTA_V, WHITE, AREA, LIST_1, LIST_2}
        raw_only |= {CROP_ORIGIN, CROP_SIZE, USER_CROP, 33421, 33422, 50974, 50975, 52547}
        tags = {code: v for code, v in tags.items() if code in of_picture or code not in raw_only}
        if ORIENTATION in first.tags:  # TIFF/EP: how to show the file, said in its first directory
            tags[ORIENTATION] = _value(first.tags[ORIENTATION])
        blocks = []
        for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            blocks.append(file.read(size))
        layout = _layout(page, tags, tiff.byteorder)
    return _linear(read_samples(blocks, layout), layout, tags, page.photometric == CFA)


def _main_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the largest raw picture of full resolution; the enhanced one only for want of it."""
    pages = [page for page in _tree(tiff) if page.photometric in (CFA, LINEAR_RAW)]
    kinds = [page.subfiletype for page in pages]
    wanted = MAIN if MAIN in kinds else ENHANCED
    pages = [page for page in pages if page.subfiletype == wanted]
    return max(pages, key=lambda page: page.imagewidth * page.imagelength)


def _tree(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    for main in tiff.pages:
        page = main.aspage()
        yield page
        for child in page.pages or ():
            yield child.aspage()


def _value(tag: tifffile.TiffTag) -> np.ndarray:
    """Return a tag's numbers as float64, or its bytes."""
    with_type = {1: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4"}
    with_type |= {11: "f4", 12: "f8", 2: "u1", 13: "u4"}
    parent = tag.parent
    assert isinstance(parent, tifffile.TiffFile)
    order, file = parent.byteorder, parent.filehandle
    kind = np.dtype(with_type[int(tag.dtype)]).newbyteorder(order)
    pairs = 2 if int(tag.dtype) in (5, 10) else 1
    file.seek(tag.valueoffset)
    numbers = np.frombuffer(file.read(kind.itemsize * pairs * tag.count), kind)
    if pairs == 1:
        return numbers if kind.itemsize == 1 else numbers.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return numbers[::2].astype(np.float64) / numbers[1::2]


def _layout(page: tifffile.TiffPage, tags: dict[int, np.ndarray], order: str) -> Layout:
    def number(code: int, default: int) -> int:
        return int(tags[code][0]) if code in tags else default

    subtile = tags.get(50974, np.ones(2)).astype(int).tolist()
    return Layout(
        height=page.imagelength,
        width=page.imagewidth,
        samples=number(277, 1),
        bits=number(258, 1),
        sample_format=number(339, 1),
        compression=number(259, 1),
        predictor=number(317, 1),
        order=order,
        block=(page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(number(278, page.imagelength), page.imagelength), page.imagewidth),
        is_tiled=page.is_tiled,
        is_planar=number(284, 1) == 2,
        subtile=(subtile[0], subtile[1]),
        interleave=(number(50975, 1), number(52547, 1)),
    )


def _linear(
    samples: Num[np.ndarray, "h w planes"],
    layout: Layout,
    tags: dict[int, np.ndarray],
    is_mosaic: bool,
) -> Reference:
    """Map stored values to linear reference values (chapter 5), with lists 1 and 2 (chapter 7)."""
    frame = np.moveaxis(samples, 2, 0).astype(np.float64)
    limit = (
        float("inf")
        if layout.sample_format == FLOATS
        else 2.0 ** (32 if layout.bits > 16 else 16) - 1
    )
    area = _area(tags.get(AREA), layout)
    first = process(frame, parse(tags[LIST_1].tobytes()) if LIST_1 in tags else [], limit, 1.0)
    if first.bounds != (0, 0, layout.height, layout.width):
        raise UnknownLayoutError("TrimBounds in OpcodeList1: the specification says not what of")
    frame, slope = first.image, 1.0
    if LIST_1 in tags and layout.sample_format != FLOATS:
        frame = np.round(frame)  # the samples stay whole numbers
    if TABLE in tags:
        table = tags[TABLE]
        frame = table[np.minimum(frame, len(table) - 1).astype(int)]
        # what rounds to the next number may be anywhere up to the table's next entry
        slope = float(np.diff(table).max()) if LIST_1 in tags else 1.0
    top, left, bottom, right = area
    active = frame[:, top:bottom, left:right]
    black = _black(tags, active.shape, is_mosaic)
    default = 1.0 if layout.sample_format == FLOATS else 2.0**layout.bits - 1
    white = np.resize(tags.get(WHITE, np.array([default])), layout.samples).astype(np.float64)
    scale = 1 / (white - black.max((1, 2)))
    values = np.minimum((active - black) * scale[:, None, None], 1)
    fine = scale * slope if layout.sample_format != FLOATS else 0 * scale
    none = np.zeros(values.shape, bool)
    second = Processed(values, none[0], none, (0, 0, *values.shape[1:]))
    if LIST_2 in tags:
        opcodes = parse(tags[LIST_2].tobytes())
        second = process(values, opcodes, 1.0, 1 / 65535)
        fine = MOST_GAIN * fine if LIST_1 in tags else fine
        if any(opcode.kind == MAP_TABLE for opcode in opcodes):
            fine = np.maximum(fine, TABLE_STEPS / 65535)
    trim = second.bounds
    mended = first.mended[top:bottom, left:right][trim[0] : trim[2], trim[1] : trim[3]]
    inner = (slice(None), slice(trim[0], trim[2]), slice(trim[1], trim[3]))
    pattern = None
    if is_mosaic:
        rows, columns = tags[33421].astype(int)
        pattern = tags[33422].reshape(rows, columns).astype(int)
        pattern = np.roll(pattern, (-trim[0], -trim[1]), (0, 1))
    return Reference(
        samples=samples,
        linear=second.image,
        mended=mended | second.mended,
        clipped=second.clipped,
        step=fine,
        is_clipped=LIST_2 in tags,
        black=black[inner],
        white=white,
        area=(top + trim[0], left + trim[1], top + trim[2], left + trim[3]),
        cfa=pattern,
        crop=_crop(tags, second.image.shape[1:]),
        has_user_crop=USER_CROP in tags,
        orientation=int(tags[ORIENTATION][0]) if ORIENTATION in tags else 1,
        neutral=_neutral(tags),
        baseline_exposure=float(np.nan_to_num(tags.get(EXPOSURE, np.zeros(1))[0])),  # 0/0: unknown
    )


def _area(value: np.ndarray | None, layout: Layout) -> Area:
    if value is None:
        return 0, 0, layout.height, layout.width
    top, left, bottom, right = value.astype(int).tolist()
    return top, left, bottom, right


def _black(
    tags: dict[int, np.ndarray], shape: tuple[int, ...], is_mosaic: bool
) -> Float[np.ndarray, "planes h w"]:
    """Return the computed black level of each pixel of the active area."""
    planes, height, width = shape
    dim = tags.get(REPEAT_DIM, np.ones(2)).astype(int)
    levels = tags.get(BLACK, np.zeros(dim.prod() * planes))
    if levels.size == 4 and REPEAT_DIM not in tags and is_mosaic:
        dim = np.array((2, 2))  # not legal, but common: one for each position of a Bayer mosaic
    pattern = levels.reshape(*dim, planes)  # samples vary fastest
    rows, columns = np.arange(height) % dim[0], np.arange(width) % dim[1]
    black = np.moveaxis(pattern[rows[:, None], columns], 2, 0).astype(np.float64)
    if DELTA_V in tags:
        black = black + tags[DELTA_V][:, None]
    if DELTA_H in tags:
        black = black + tags[DELTA_H]
    return black


def _crop(tags: dict[int, np.ndarray], shape: tuple[int, ...]) -> tuple[float, ...]:
    """Return DefaultCrop and DefaultUserCrop, of which no rounding is specified, in pixels.

    A crop beyond the area is no legal one; what is inside is taken.
    """
    height, width = shape
    crop = [0.0, 0.0, float(height), float(width)]
    if CROP_ORIGIN in tags and CROP_SIZE in tags:
        (left, top), (columns, rows) = tags[CROP_ORIGIN], tags[CROP_SIZE]
        crop = [top, left, min(top + rows, height), min(left + columns, width)]
    if USER_CROP in tags:  # fractions of the default crop
        top, left, bottom, right = tags[USER_CROP].tolist()
        rows, columns = crop[2] - crop[0], crop[3] - crop[1]
        crop = [
            crop[0] + top * rows,
            crop[1] + left * columns,
            crop[0] + bottom * rows,
            crop[1] + right * columns,
        ]
    return tuple(float(edge) for edge in crop)


def _neutral(tags: dict[int, np.ndarray]) -> Float[np.ndarray, " planes"] | None:
    """Return AsShotNeutral, or that of AsShotWhiteXY by ColorMatrix1 where it is the only one."""
    if NEUTRAL in tags:
        return tags[NEUTRAL] / tags[NEUTRAL][1]
    if WHITE_XY not in tags or COLOR_MATRIX not in tags:
        return None
    x, y = tags[WHITE_XY]
    camera = tags[COLOR_MATRIX].reshape(3, 3) @ np.array([x / y, 1, (1 - x - y) / y])
    return camera / camera[1]
