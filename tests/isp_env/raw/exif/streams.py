"""EXIF written byte by byte."""

import struct

import numpy as np

BLACK = np.zeros((8, 8, 3), np.uint8)


DATE = "2026:03:04 05:06:07"


def value(kind: int, *values: float | bytes) -> tuple[int, int, tuple | bytes]:
    """A field as (type, count, values); text as bytes, rationals as numerators, denominators."""
    if isinstance(values[0], bytes):
        return kind, len(values[0]), values[0]
    return kind, len(values) // (2 if kind in (5, 10) else 1), values


def directory(order: str, fields: dict, place: int) -> bytes:
    """A TIFF directory, written here without the code under test."""
    codes = {1: "B", 3: "H", 4: "I", 5: "I", 9: "i", 10: "i", 11: "f", 12: "d"}
    entries, beyond = b"", b""
    for tag, (kind, count, values) in sorted(fields.items()):
        data = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
        )
        inline = data.ljust(4, b"\0")
        if len(data) > 4:
            inline = struct.pack(f"{order}I", place + 6 + 12 * len(fields) + len(beyond))
            beyond += data + bytes(len(data) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, count) + inline
    return struct.pack(f"{order}H", len(fields)) + entries + bytes(4) + beyond


def stream(image: dict, photo: dict, gps: dict | None = None, order: str = "<") -> bytes:
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    body, place, image = b"", 8, dict(image)
    for tag, fields in ((0x8769, photo), (0x8825, gps or {})):
        if fields:
            image[tag] = value(4, place)
            part = directory(order, fields, place)
            body, place = body + part, place + len(part)
    return head + struct.pack(f"{order}I", place) + body + directory(order, image, place)


IMAGE = {
    0x010F: value(2, b"Maker\0"),
    0x0110: value(2, b"Camera\0"),
    0x0132: value(2, b"    :  \0"),
}


PHOTO = {
    0x829A: value(5, 1, 250),
    0x829D: value(5, 28, 10),
    0x8827: value(3, 400),
    0x9003: value(2, f"{DATE}\0".encode()),
    0x9204: value(10, -1, 3),
    0x9291: value(2, b"24\0"),
    0xA432: value(5, 24, 1, 70, 1, 0, 0, 0, 0),
    0xA434: value(2, b"Lens\0"),
}


GPS = {
    1: value(2, b"S\0"),
    2: value(5, 33, 1, 7, 1, 365, 10),
    3: value(2, b"E\0"),
    4: value(5, 151, 1, 30, 1, 0, 1),
    5: value(1, 1),
    6: value(5, 14287, 1000),
    7: value(5, 5, 1, 6, 1, 7, 1),
    29: value(2, b"2026:03:04\0"),
}
