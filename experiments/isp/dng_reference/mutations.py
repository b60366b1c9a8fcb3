"""Ways to damage a RAW file: bytes, and the numbers of TIFF directories and DNG opcodes.

A mutation changes the bytes in place and draws from its generator alone. Directories are found in
files of either byte order, along the chain and in SubIFDs and EXIF, as far as they can be followed.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

SUB_IFDS, EXIF = 330, 34665
OPCODE_LISTS = {51008, 51009, 51022}
SIZES = {256, 257, 258, 273, 277, 278, 279, 322, 323, 324, 325, SUB_IFDS, 50829}
LAYOUT = {258, 259, 262, 277, 284, 317, 339, 322, 323, 33421, 33422, 50710, 50711, 50713}
LAYOUT |= {50712, 50714, 50715, 50716, 50717, 50719, 50720, 50829, 50974, 50975, 51125, 52547}
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
MOST_DIRECTORIES = 20  # a chain may be a ring

Mutation = Callable[[bytearray, bytes, np.random.Generator], None]
"""Bytes to change, another file's bytes, the generator."""


@dataclass(frozen=True)
class Entry:
    """Where an entry of a directory lies, its byte order, and what it says."""

    place: int
    order: str
    code: int
    kind: int
    count: int

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return BYTES.get(self.kind, 1) * self.count


def flip_anywhere(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Flip some bytes, anywhere."""
    for place in rng.integers(0, len(data), rng.integers(1, 64)):
        data[place] = rng.integers(256)


def flip_structure(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Flip some bytes among the first 2,000."""
    for place in rng.integers(0, min(len(data), 2000), rng.integers(1, 16)):
        data[place] = rng.integers(256)


def truncate(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Cut off the end."""
    del data[int(rng.uniform(0, len(data))) :]


def edit_tags(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Change some numbers of the directories."""
    found = list(entries(data))
    for _ in range(rng.integers(1, 5)):
        if found:
            entry = found[rng.integers(len(found))]
            field_of = rng.choice([2, 4, 8])  # type, count, value
            letter = "H" if field_of == 2 else "I"
            struct.pack_into(entry.order + letter, data, entry.place + field_of, _odd(rng))


def edit_layout(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Change values of the tags that say how samples are stored, their levels and areas."""
    found = [entry for entry in entries(data) if entry.code in LAYOUT]
    for _ in range(rng.integers(1, 4)):
        if not found:
            return
        entry = found[rng.integers(len(found))]
        width = min(BYTES.get(entry.kind, 1), 4)
        place = _values(data, entry)
        if place is None or not entry.count:
            continue
        place += width * int(rng.integers(min(entry.count, 100)))
        if place + width <= len(data):
            letter = {1: "B", 2: "H", 4: "I"}[width]
            struct.pack_into(entry.order + letter, data, place, _odd(rng) % 256**width)


def bomb(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Make width, height, strip sizes or counts absurd."""
    found = [entry for entry in entries(data) if entry.code in SIZES]
    for number in rng.permutation(len(found))[: rng.integers(1, 4)]:
        entry = found[number]
        size = int(rng.choice([2**16 - 1, 2**20, 2**24, 2**31 - 1, 2**32 - 1, 0]))
        struct.pack_into(entry.order + "I", data, entry.place + 8, size)
        if rng.random() < 0.3:
            struct.pack_into(entry.order + "I", data, entry.place + 4, size)


def splice(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Lay part of another file over this one."""
    start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 4096))
    begin = int(rng.integers(0, max(1, len(other) - length)))
    part = other[begin : begin + length]
    data[start : start + len(part)] = part


def edit_opcodes(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Make sizes, counts, planes, pitches and coefficients of opcodes absurd."""
    found = [entry for entry in entries(data) if entry.code in OPCODE_LISTS]
    if not found:
        return
    entry = found[rng.integers(len(found))]
    start = _values(data, entry)
    if start is None:
        return
    opcodes = _opcodes(data, start, entry.size)
    for _ in range(rng.integers(1, 4)):
        begin = opcodes[rng.integers(len(opcodes))] if opcodes else start
        choice = rng.random()
        if choice < 0.1:
            place, content = start, struct.pack(">I", _huge(rng))  # how many opcodes
        elif choice < 0.3:
            field_of = 4 * int(rng.integers(4))  # number, version, flags, size
            place, content = begin + field_of, struct.pack(">I", _huge(rng))
        elif choice < 0.7:
            place = begin + 16 + 4 * int(rng.integers(0, 20))  # area, planes, pitches, counts
            content = struct.pack(">I", _huge(rng))
        else:
            number = float(rng.choice([np.nan, np.inf, -np.inf, 1e308, -1e30, 0, 1e-300]))
            place = begin + 16 + 4 * int(rng.integers(0, 30))
            content = struct.pack(">d", number)
            if rng.random() < 0.5:
                content = struct.pack(">f", np.clip(number, -1e38, 1e38))
        if start <= place and place + len(content) <= min(start + entry.size, len(data)):
            data[place : place + len(content)] = content


MUTATIONS: dict[str, Mutation] = {
    "flip anywhere": flip_anywhere,
    "flip structure": flip_structure,
    "truncate": truncate,
    "edit tags": edit_tags,
    "edit layout": edit_layout,
    "bomb": bomb,
    "splice": splice,
    "edit opcodes": edit_opcodes,
}


def has_opcodes(data: bytes | bytearray) -> bool:
    """Tell whether a file holds an opcode list."""
    return any(entry.code in OPCODE_LISTS for entry in entries(data))


def entries(data: bytes | bytearray) -> Iterator[Entry]:
    """Yield the entries of a TIFF's directories; nothing of other files."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 16:
        return
    waiting, seen = [struct.unpack_from(order + "I", data, 4)[0]], set[int]()
    while waiting and len(seen) < MOST_DIRECTORIES:
        start = waiting.pop(0)
        if start in seen or not 8 <= start <= len(data) - 2:
            continue
        seen.add(start)
        (count,) = struct.unpack_from(order + "H", data, start)
        end = start + 2 + 12 * count
        if end + 4 > len(data):
            continue
        for place in range(start + 2, end, 12):
            entry = Entry(place, order, *struct.unpack_from(order + "HHI", data, place))
            yield entry
            if entry.code in (SUB_IFDS, EXIF) and (values := _values(data, entry)) is not None:
                last = min(entry.count, MOST_DIRECTORIES, (len(data) - values) // 4)
                waiting += struct.unpack_from(f"{order}{last}I", data, values)
        waiting.append(struct.unpack_from(order + "I", data, end)[0])


def _values(data: bytes | bytearray, entry: Entry) -> int | None:
    """Locate the values of an entry; None beyond the end."""
    if entry.size <= 4:
        return entry.place + 8
    (place,) = struct.unpack_from(entry.order + "I", data, entry.place + 8)
    return place if place < len(data) else None


def _opcodes(data: bytes | bytearray, start: int, size: int) -> list[int]:
    """Locate the opcodes of a list."""
    places, place, end = [], start + 4, min(start + size, len(data))
    while place + 16 <= end:
        places.append(place)
        place += 16 + struct.unpack_from(">I", data, place + 12)[0]
    return places


def _odd(rng: np.random.Generator) -> int:
    return int(rng.choice([0, 1, 2, 255, 65535, int(rng.integers(0, 65536))]))


def _huge(rng: np.random.Generator) -> int:
    return int(
        rng.choice([0, 1, 3, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 1, int(rng.integers(99))])
    )
