"""Code points of ITU-T H.273 in image files: PNG's cICP chunk, the `nclx` box of AVIF and HEIF."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
BOX_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes on the way to the colours (ISO/IEC 23008-12), and bytes before their first child."""
MOST_PROPERTIES = 2**20
"""Bytes; longer boxes of properties are not searched."""

CodePoints = tuple[int, int, bool]
"""Colour primaries, transfer characteristics, full range."""


def code_points(file: BinaryIO) -> CodePoints | None:
    """Find the code points of a PNG, AVIF or HEIF file; None where it has none.

    The position in the file is kept.
    """
    start = file.tell()
    try:
        head = file.read(12)
        file.seek(start)
        if head.startswith(PNG_SIGNATURE):
            return _png_code_points(file)
        if head[4:8] == b"ftyp":
            size = file.seek(0, 2)
            return next(_nclx(file, start, size), None)
        return None
    finally:
        file.seek(start)


def _png_code_points(file: BinaryIO) -> CodePoints | None:
    """Search the chunks before the pixels."""
    file.seek(len(PNG_SIGNATURE), 1)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            break
        if name == b"cICP" and length == 4:
            primaries, transfer, matrix, full = file.read(4)
            return (primaries, transfer, bool(full)) if matrix == 0 else None
        file.seek(length + 4, 1)
    return None


def _nclx(file: BinaryIO, start: int, end: int) -> Iterator[CodePoints]:
    """Walk the boxes between two positions; pixels are RGB of full range once decoded."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            head = 16
        size = size or end - start
        if size < head or start + size > end:
            return
        if name in BOX_CONTAINERS and size < MOST_PROPERTIES:
            yield from _nclx(file, start + head + BOX_CONTAINERS[name], start + size)
        elif name == b"colr" and file.read(4) == b"nclx":
            primaries, transfer = struct.unpack(">HH", file.read(4))
            yield primaries, transfer, True
        start += size
