"""How the samples of a DNG's picture lie in the file, and which picture of the file is meant."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tifffile

from isp_env.errors import RawFileError

CFA, LINEAR_RAW = 32803, 34892  # PhotometricInterpretation (262)
MAIN, ENHANCED = 0, 16  # NewSubfileType (254)
MOST_PAGES = 100
MOST_PIXELS = 600_000_000  # that a file may declare: four times the largest sensor on sale

NONE, LOSSLESS_JPEG, LOSSY_JPEG = 1, 7, 34892  # Compression (259)
DEFLATE = (8, 32946)
CODECS = {
    5: "LZW",
    6: "old-style JPEG",
    9: "VC-5 (GoPro GPR)",
    32767: "Sony ARW",
    32773: "PackBits",
    34713: "Nikon NEF",
    50000: "Zstandard",
    50002: "JPEG XL",
    52546: "JPEG XL",
    65000: "Kodak",
    65535: "Pentax PEF",
}


@dataclass(frozen=True)
class Layout:
    """Strips or tiles of the samples.

    Attributes:
        shape: Height and width of the picture.
        samples: Of each pixel.
        bits: Of each sample.
        is_float: Whether they are floating point numbers.
        compression: Tag 259.
        predictor: Tag 317.
        is_planar: Whether the parts of one plane come after those of another.
        part: Rows and columns of each strip or tile.
        is_tiled: Tiles are padded beyond the edges; of strips, the last may have fewer rows.
        offsets: Of the parts in the file.
        sizes: Their bytes.
        byte_order: "<" or ">".
        reverses_bits: FillOrder (266) 2.
        row_fields: RowInterleaveFactor (50975).
        column_fields: ColumnInterleaveFactor (52547).
        block: SubTileBlockSize (50974), rows and columns.
        is_old: Written before DNG 1.1, whose lossless JPEG is another.
    """

    shape: tuple[int, int]
    samples: int
    bits: int
    is_float: bool
    compression: int
    predictor: int
    is_planar: bool
    part: tuple[int, int]
    is_tiled: bool
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    byte_order: str
    reverses_bits: bool
    row_fields: int
    column_fields: int
    block: tuple[int, int]
    is_old: bool

    @property
    def is_plain(self) -> bool:
        """Whether the parts lie side by side as in any TIFF: all that LibRaw knows."""
        return (self.row_fields, self.column_fields, self.block) == (1, 1, (1, 1))


def raw_page(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPage:
    """Find the page with the sensor's samples: the main picture, else an enhanced one, the largest.

    Raises:
        RawFileError: There is none.
    """
    pages = [page for page in _pages(tiff) if page.photometric in (CFA, LINEAR_RAW)]
    if not pages:
        raise RawFileError(path, "no picture with CFA or LinearRaw pixels in the DNG")

    def rank(page: tifffile.TiffPage) -> tuple[int, int]:
        kinds = (MAIN, ENHANCED)
        kind = int(page.subfiletype)
        order = len(kinds) - kinds.index(kind) if kind in kinds else 0
        return order, page.imagewidth * page.imagelength

    return max(pages, key=rank)


def _pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """Yield the chain of directories, and below each its SubIFDs."""
    left = list[tifffile.TiffPage]()
    for number in range(MOST_PAGES):
        try:
            left.append(tiff.pages[number].aspage())
        except IndexError:  # the end of the chain, or of what is sound of it
            break
    for _ in range(MOST_PAGES):
        if not left:
            return
        page = left.pop(0)
        yield page
        left += [sub.aspage() for sub in (page.pages or ())]


def layout_of(page: tifffile.TiffPage, version: tuple[int, ...], path: Path) -> Layout:
    """Read the tags that say how the samples lie.

    Raises:
        RawFileError: They contradict each other, or parts of the picture are missing.
    """

    def number(code: int, default: int) -> int:
        value = page.tags[code].value if code in page.tags else default
        return int(value[0] if isinstance(value, tuple) else value)

    shape = page.imagelength, page.imagewidth
    if not 0 < shape[0] * shape[1] <= MOST_PIXELS:
        told = f"{shape[0]}x{shape[1]}"
        raise RawFileError(path, f"declares {told} pixels: more than {MOST_PIXELS:,} or none")
    samples, bits = page.samplesperpixel, _same(page, 258, 1, path)
    kind = _same(page, 339, 1, path)
    if not 1 <= samples <= 8 or kind not in (1, 3, 4):  # 4: undefined, as whole numbers
        raise RawFileError(path, f"{samples} samples of a pixel in SampleFormat {kind}")
    is_planar = number(284, 1) == 2 and samples > 1
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    else:
        rows, columns = min(number(278, shape[0]), shape[0]), shape[1]
    if not (0 < rows <= 1 << 20 and 0 < columns <= 1 << 20):
        raise RawFileError(path, f"strips or tiles of {rows}x{columns} pixels")
    needed = math.ceil(shape[0] / rows) * math.ceil(shape[1] / columns)
    needed *= samples if is_planar else 1
    offsets, sizes = (tuple(map(int, x)) for x in (page.dataoffsets, page.databytecounts))
    if int(page.compression) == NONE and needed == 1:
        whole = rows * -(-columns * samples * bits // 8)
        if not sizes or sizes[0] == 0 or offsets[0] + sizes[0] > path.stat().st_size:
            sizes = (whole,)  # of the only part: it can be computed
    # LibRaw leaves what it does not decode as it found it: another picture's memory
    present = sum(1 for offset, size in zip(offsets, sizes, strict=False) if offset and size)
    if present < needed or len(offsets) != len(sizes):
        raise RawFileError(path, f"only {present} of {needed} parts of the picture are in it")
    block = page.tags[50974].value if 50974 in page.tags else (1, 1)
    if not isinstance(block, tuple) or len(block) != 2 or min(block) < 1:
        raise RawFileError(path, f"SubTileBlockSize {block}: expected two numbers from 1")
    fields = number(50975, 1), number(52547, 1)
    if min(fields) < 1:
        raise RawFileError(path, f"rows and columns interleaved by {fields}")
    return Layout(
        shape=shape,
        samples=samples,
        bits=bits,
        is_float=kind == 3,
        compression=int(page.compression),
        predictor=int(page.predictor),
        is_planar=is_planar,
        part=(rows, columns),
        is_tiled=page.is_tiled,
        offsets=offsets[:needed],
        sizes=sizes[:needed],
        byte_order=page.parent.byteorder,
        reverses_bits=number(266, 1) == 2,
        row_fields=fields[0],
        column_fields=fields[1],
        block=(int(block[0]), int(block[1])),
        is_old=version < (1, 1),
    )


def _same(page: tifffile.TiffPage, code: int, default: int, path: Path) -> int:
    """Return a number that is the same for all samples of a pixel."""
    value = page.tags[code].value if code in page.tags else default
    values = {int(x) for x in (value if isinstance(value, tuple) else (value,))}
    if len(values) != 1:
        raise RawFileError(path, f"samples of different kinds in one pixel (tag {code}: {value})")
    return values.pop()
