"""Mutations change what they say, in files of either byte order, and nothing else."""

import struct

import numpy as np
import pytest

from experiments.isp.dng_reference.mutations import (
    LAYOUT,
    MUTATIONS,
    OPCODE_LISTS,
    entries,
    has_opcodes,
)
from experiments.isp.dng_reference.tiff_writer import (
    LONG,
    SHORT,
    UNDEFINED,
    Directory,
    Tag,
    write_tiff,
)

# one opcode: number, version, flags, size, then 88 bytes
OPCODES = struct.pack(">5I", 1, 8, 0x01030000, 0, 88) + bytes(range(88))


def tiff(order, opcodes=True):
    child: dict[int, Tag] = {256: (LONG, [40]), 50974: (SHORT, [1, 1]), 50714: (LONG, [1, 2, 3, 4])}
    if opcodes:
        child[51009] = (UNDEFINED, OPCODES)
    first = Directory({254: (LONG, [1])}, children=[Directory(child, [b"samples" * 99])])
    return write_tiff([first, Directory({257: (LONG, [30])})], order)


def changed(before, after):
    return [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]


@pytest.mark.parametrize("order", ["<", ">"])
def test_entries_of_all_directories_are_found(order):
    found = list(entries(tiff(order)))
    assert {entry.code for entry in found} == {254, 330, 256, 257, 273, 279, 50714, 50974, 51009}
    assert {entry.order for entry in found} == {order}
    levels = next(entry for entry in found if entry.code == 50714)
    assert (levels.kind, levels.count) == (LONG, 4)


def test_a_ring_of_directories_ends():
    data = bytearray(tiff("<"))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)  # the next one is itself
    assert len(list(entries(data))) == 8


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0" + bytes(99), b"FUJIFILM" * 9])
def test_other_files_have_no_entries(data):
    assert list(entries(data)) == []
    assert not has_opcodes(data)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_changes_a_file_and_depends_on_the_generator_alone(name, order):
    data, mutants = tiff(order), []
    for _ in range(2):
        made = [bytearray(data) for _ in range(40)]
        for number, mutant in enumerate(made):
            MUTATIONS[name](mutant, data, np.random.default_rng(number))
        mutants.append(made)
    assert mutants[0] == mutants[1]
    assert sum(mutant != data for mutant in mutants[0]) > 25


@pytest.mark.parametrize("order", ["<", ">"])
def test_opcodes_are_damaged_within_their_list(order):
    data, places = tiff(order), set()
    start = data.index(OPCODES)
    for number in range(200):
        mutant = bytearray(data)
        MUTATIONS["edit opcodes"](mutant, data, np.random.default_rng(number))
        places |= set(changed(data, mutant))
    assert min(places) >= start
    assert max(places) < start + len(OPCODES)
    assert len(places) > len(OPCODES) // 2
    assert any(place < start + 4 for place in places)  # the count of opcodes, too
    without = bytearray(tiff(order, opcodes=False))
    MUTATIONS["edit opcodes"](without, data, np.random.default_rng(0))
    assert without == tiff(order, opcodes=False)


@pytest.mark.parametrize("order", ["<", ">"])
def test_layout_tags_get_other_values(order):
    data, codes = tiff(order), set()
    for number in range(100):
        mutant = bytearray(data)
        MUTATIONS["edit layout"](mutant, data, np.random.default_rng(number))
        before = {
            entry.code: bytes(data[entry.place : entry.place + 12]) for entry in entries(data)
        }
        after = {e.code: bytes(mutant[e.place : e.place + 12]) for e in entries(mutant)}
        codes |= {code for code in before if before[code] != after[code]}
        assert bytes(mutant).count(b"samples" * 99) == 1
    assert codes <= LAYOUT
    assert 50974 in codes
    assert not codes & OPCODE_LISTS
