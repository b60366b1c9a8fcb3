"""TIFF 6.0 files from directories of tags: any byte order, trees and chains of directories.

tifffile writes no EXIF directories, no chains of one's own shape and no codecs that it does not
know; test files need all of them.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL, FLOAT, DOUBLE = (
    1,
    2,
    3,
    4,
    5,
    7,
    10,
    11,
    12,
)
FORMATS = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", UNDEFINED: "B", FLOAT: "f", DOUBLE: "d"}
RATIONALS = {RATIONAL: "I", SRATIONAL: "i"}
STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES, SUB_IFDS = 273, 279, 324, 325, 330

ByteOrder = Literal["<", ">"]
Tag = tuple[int, Sequence[float] | bytes]
"""Type and values."""


@dataclass(frozen=True)
class Directory:
    """One image file directory, the strips or tiles of its picture and its SubIFDs."""

    tags: Mapping[int, Tag]
    blocks: Sequence[bytes] = ()
    is_tiled: bool = False
    children: Sequence["Directory"] = field(default=())


def write_tiff(chain: Sequence[Directory], order: ByteOrder) -> bytes:
    """Return a TIFF file with these directories, one after the other as its main pictures."""
    file = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4  # where the offset of the next directory belongs
    for directory in chain:
        offset, following = _append(file, directory, order)
        struct.pack_into(order + "I", file, link, offset)
        link = following
    return bytes(file)


def rationals(values: Sequence[float], denominator: int = 0) -> Sequence[float]:
    """Return numerators and denominators; without a denominator the nearest fractions are taken."""
    pairs: list[float] = []
    for value in values:
        if denominator:
            pairs += [round(value * denominator), denominator]
        else:
            pairs += Fraction(value).limit_denominator(1_000_000).as_integer_ratio()
    return pairs


def _append(file: bytearray, directory: Directory, order: ByteOrder) -> tuple[int, int]:
    """Append a directory and what it refers to: its offset, and the place of its link."""
    tags = dict(directory.tags)
    if directory.blocks:
        codes = (TILE_OFFSETS, TILE_SIZES) if directory.is_tiled else (STRIP_OFFSETS, STRIP_SIZES)
        offsets = [_place(file, block) for block in directory.blocks]
        tags[codes[0]] = (LONG, offsets)
        tags[codes[1]] = (LONG, [len(block) for block in directory.blocks])
    if directory.children:
        tags[SUB_IFDS] = (LONG, [_append(file, child, order)[0] for child in directory.children])
    entries = []
    for code, (kind, values) in sorted(tags.items()):
        content = _packed(kind, values, order)
        count = len(values) // 2 if kind in RATIONALS else len(values)
        value = content.ljust(4, b"\0")
        if len(content) > 4:
            value = struct.pack(order + "I", _place(file, content))
        entries.append(struct.pack(order + "HHI", code, kind, count) + value)
    offset = _place(file, struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))
    return offset, len(file) - 4


def _place(file: bytearray, content: bytes) -> int:
    """Append bytes at an even offset."""
    file += bytes(len(file) % 2)
    offset = len(file)
    file += content
    return offset


def _packed(kind: int, values: Sequence[float] | bytes, order: ByteOrder) -> bytes:
    if isinstance(values, bytes):
        return values
    letter = RATIONALS.get(kind) or FORMATS[kind]
    return struct.pack(f"{order}{len(values)}{letter}", *values)
