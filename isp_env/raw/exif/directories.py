"""Directories of EXIF in RAW files: TIFF, BigTIFF and what hides a TIFF stream inside.

TIFF 6.0, section 2; BigTIFF design (Adobe and AWare Systems); Exif 2.32, 4.6.3.
"""

import re
import struct
from collections.abc import Mapping
from typing import BinaryIO

from isp_env.raw.exif.fields import EXIF_POINTER, FRACTIONS, GPS_POINTER, SIZES, Directory, Field

MOST_BYTES = 1 << 24  # of a field that is read: more is damage
MOST_ENTRIES = 0xFFFF  # of a directory, as in TIFF, whatever BigTIFF allows
TIFF = re.compile(rb"II[*+U]\0|IIR[OS]|MM\0[*+]|MMOR")  # TIFF, BigTIFF, Panasonic's, Olympus's
INSIDE = re.compile(rb"(Exif\0\0|CMT[124]|\0TTW....)(?=II\*\0|MM\0\*)", re.DOTALL)
"""What a TIFF stream follows: in JPEG and RAF files, in Canon's CR3, in Minolta's MRW."""
SEARCHED = 1 << 20  # bytes of such files, from the beginning


def read_directories(
    file: BinaryIO, wanted: Mapping[int, str], notes: list[str]
) -> tuple[Directory, Directory, Directory]:
    """Return the first directory of a RAW file, its Exif and its GPS directory.

    Args:
        file: At its beginning.
        wanted: Names of the tags that are read, those of the two pointers among them.
        notes: What cannot be read is added.
    """
    head = file.read(SEARCHED)
    if TIFF.match(head):
        return _chained(file, 0, wanted, notes)
    streams = {match[1][:4]: match.end() for match in reversed(list(INSIDE.finditer(head)))}
    if place := streams.get(b"Exif") or streams.get(b"\0TTW"):
        return _chained(file, place, wanted, notes)
    first, second, third = (
        _fields(file, streams[name], 0, wanted, notes) if name in streams else {}
        for name in (b"CMT1", b"CMT2", b"CMT4")
    )
    return first, second, third


def _chained(
    file: BinaryIO, base: int, wanted: Mapping[int, str], notes: list[str]
) -> tuple[Directory, Directory, Directory]:
    """Return the first directory of a stream, and the two that it points to."""
    first = _fields(file, base, 0, wanted, notes)
    places = (
        int.from_bytes(first[tag].data[:8], "little") if tag in first else 0
        for tag in (EXIF_POINTER, GPS_POINTER)
    )
    second, third = (_fields(file, base, place, wanted, notes) if place else {} for place in places)
    return first, second, third


def _fields(
    file: BinaryIO, base: int, place: int, wanted: Mapping[int, str], notes: list[str]
) -> dict[int, Field]:
    """Return the wanted fields of a directory, little-endian; of the first one for `place` 0."""
    file.seek(base)
    head = file.read(8)
    order, ends = ("<", "little") if head.startswith(b"I") else (">", "big")
    big = head[2:4] in (b"+\0", b"\0+")  # BigTIFF: offsets and counts of 8 bytes
    start = file.read(8) if big else head[4:]
    layout, room, counted = (f"{order}HHQ8s", 8, 8) if big else (f"{order}HHI4s", 4, 2)
    file.seek(base + (place or int.from_bytes(start, ends)))
    length = struct.calcsize(layout)
    count = min(int.from_bytes(file.read(counted), ends), MOST_ENTRIES)
    entries, found = file.read(length * count), {}
    for tag, kind, values, inline in struct.iter_unpack(
        layout, entries[: len(entries) // length * length]
    ):
        if tag not in wanted or tag in found or kind not in SIZES:
            continue
        size = values * SIZES[kind]
        if size > room:
            file.seek(base + int.from_bytes(inline, ends))
            data = file.read(min(size, MOST_BYTES))
        else:
            data = inline[:size]
        if len(data) < size:
            notes.append(f"{wanted[tag]} left out: {size} bytes, and the file ends before")
            continue
        step = 4 if kind in FRACTIONS else SIZES[kind]
        if order == ">" and step > 1:
            data = b"".join(data[i : i + step][::-1] for i in range(0, size, step))
        found[tag] = Field(kind, values, data)
    return found
