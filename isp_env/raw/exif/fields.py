"""EXIF as the bytes of TIFF directories (TIFF 6.0, section 2; Exif 2.32, CIPA DC-008).

Text is UTF-8 in fields of the type ASCII, as cameras and most programs write it.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from types import MappingProxyType

from PIL import ExifTags

EXIF_POINTER, GPS_POINTER = int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)
JPEG_BYTES = 65533 - len(b"Exif\0\0")
"""A segment of a JPEG file holds so much, less its length and its name."""


class Kind(IntEnum):
    """Types of fields."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    SRATIONAL = 10
    LONG8 = 16


FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
FORMATS |= {16: "Q", 17: "q", 18: "Q"}  # of BigTIFF
FRACTIONS = {Kind.RATIONAL: "I", Kind.SRATIONAL: "i"}
SIZES = {
    **{kind: struct.calcsize(code) for kind, code in FORMATS.items()},
    **dict.fromkeys(FRACTIONS, 8),
    **{Kind.ASCII: 1, Kind.UNDEFINED: 1, 129: 1},  # 129: UTF-8 of Exif 3.0
}


@dataclass(frozen=True)
class Field:
    """A field of a directory, in the file's own type.

    Attributes:
        kind: Number of the type.
        count: Values.
        data: Their bytes, little-endian.
    """

    kind: int
    count: int
    data: bytes

    @classmethod
    def text(cls, said: str) -> "Field":
        """Return text as UTF-8 with its NUL."""
        data = said.encode() + b"\0"
        return cls(Kind.ASCII, len(data), data)

    @classmethod
    def numbers(cls, kind: Kind, *values: int | tuple[int, int]) -> "Field":
        """Return integers, or rationals as pairs."""
        flat = [part for v in values for part in (v if isinstance(v, tuple) else (v,))]
        code = FRACTIONS.get(kind) or FORMATS[kind]
        return cls(kind, len(values), struct.pack(f"<{len(flat)}{code}", *flat))


Directory = Mapping[int, Field]


@dataclass(frozen=True)
class CameraExif:
    """EXIF of a photograph.

    Attributes:
        image: Fields of the first directory by their tags, without those that point to the others.
        photo: Of the Exif directory.
        gps: Of the GPS directory; empty where there is none.
        notes: What the RAW file says and is not carried over, and why.
    """

    image: Directory
    photo: Directory = field(default_factory=dict)
    gps: Directory = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def laid_out(self, start: int, more: Directory = MappingProxyType({})) -> tuple[bytes, int]:
        """Lay out the directories as in a TIFF stream from `start` on, and where the first is.

        Args:
            start: Even.
            more: Further fields of the first directory; ours come before them.
        """
        body, pointers = b"", {}
        for tag, directory in ((EXIF_POINTER, self.photo), (GPS_POINTER, self.gps)):
            if directory:
                pointers[tag] = Field.numbers(Kind.LONG, start + len(body))
                body += _encoded(directory, start + len(body))
        first = start + len(body)
        return body + _encoded({**more, **self.image, **pointers}, first), first

    def tobytes(self) -> bytes:
        """Return a TIFF stream, as JPEG and PNG embed it."""
        body, first = self.laid_out(8)
        return b"II*\0" + struct.pack("<I", first) + body

    def within(self, most: int) -> "CameraExif":
        """Return the same in at most `most` bytes: the longest texts are shortened or left out."""
        found = self
        while (excess := len(found.tobytes()) - most) > 0:
            parts = {name: dict(getattr(found, name)) for name in ("image", "photo", "gps")}
            texts = [(f.count, n, t) for n, d in parts.items() for t, f in d.items() if _is_text(f)]
            if not texts:
                raise ValueError(f"EXIF without text has {most + excess} bytes, more than {most}")
            length, name, tag = max(texts)
            kept = parts[name][tag].data[: max(0, length - 2 - excess)].decode("utf-8", "ignore")
            done = f"shortened to {len(kept)} characters" if kept else "left out"
            parts[name].pop(tag)
            if kept:
                parts[name][tag] = Field.text(kept)
            note = f"{_name(tag, name)} of {length - 1} bytes {done}: a JPEG file holds no more"
            found = replace(found, **parts, notes=(*found.notes, note))
        return found


def _encoded(directory: Directory, place: int) -> bytes:
    """Return a directory at the even offset `place`, its long values behind it."""
    entries, values = struct.pack("<H", len(directory)), b""
    beyond = place + 2 + 12 * len(directory) + 4
    for tag, found in sorted(directory.items()):
        inline = found.data.ljust(4, b"\0")
        if len(found.data) > 4:
            inline = struct.pack("<I", beyond + len(values))
            values += found.data + bytes(len(found.data) % 2)
        entries += struct.pack("<HHI", tag, found.kind, found.count) + inline
    return entries + bytes(4) + values


def _is_text(found: Field) -> bool:
    return found.kind == Kind.ASCII


def _name(tag: int, where: str) -> str:
    return (ExifTags.GPS if where == "gps" else ExifTags.Base)(tag).name
