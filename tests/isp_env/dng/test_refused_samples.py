"""Layouts and samples that are refused, with the reason."""

import struct
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import tifffile

from experiments.isp.dng_reference.tiff_writer import BYTE, LONG, SHORT
from isp_env.dng.lossless_jpeg import encode
from isp_env.dng.samples import read_samples
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.raw.dng_samples import dng_samples
from isp_env.raw.write_dng import write_dng
from tests.isp_env.raw.dng_files import (
    a_picture,
    mosaic_of,
    tags_of,
    write_blocks,
    write_parts,
)


def test_damaged_samples_are_refused(tmp_path):
    path = tmp_path / "a.dng"
    write_dng(a_picture(), path, "lossless jpeg")
    content = path.read_bytes()
    damaged = bytearray(content)
    start = content.index(b"\xff\xda") + 200
    damaged[start : start + 400] = bytes(400)
    path.write_bytes(damaged)
    with pytest.raises(RawFileError, match=r"a\.dng: damaged pixel data"):
        read_raw(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"part": (2**16, 2**16)}, "parts of 65536x65536 pixels"),
        ({"part": (2**16, 2**16), "is_tiled": True}, "parts of 65536x65536 pixels"),
        ({"offsets": (2**40,)}, "beyond the end"),
        ({"offsets": (2**64 - 1,)}, "beyond the end"),
        ({"sizes": (2**31,)}, "beyond the end"),
        ({"compression": 1, "is_tiled": True}, "tiles of .* bytes, not"),
        ({"compression": 52546}, "JPEG XL"),
        ({"compression": 9}, "VC-5"),
        ({"compression": 4711}, "codec 4711"),
        ({"bits": 40}, "samples of 40 bits"),
        ({"bits": 64, "is_float": True}, "floating point samples of 64 bits"),
        ({"compression": 8, "predictor": 99}, "predictor 99"),
        ({"compression": 8, "predictor": 2, "bits": 12}, "predictor 2 of samples of 12 bits"),
        ({"compression": 34892, "bits": 12}, "lossy JPEG of 12 bits"),
    ],
    ids=str,
)
def test_absurd_layouts_are_refused_before_memory_is_taken(change, reason, tmp_path):
    write_dng(a_picture(), tmp_path / "a.dng", "lossless jpeg")
    layout = tags_of(tmp_path / "a.dng").layout
    with (
        mock.patch.object(np, "empty", side_effect=AssertionError("memory taken")),
        pytest.raises(RawFileError, match=reason),
    ):
        read_samples(tmp_path / "a.dng", replace(layout, **change))


@pytest.mark.parametrize("shape", [(0, 80), (2**20, 2**20)])
def test_absurd_sizes_are_refused(shape, tmp_path):
    write_dng(a_picture(), tmp_path / "a.dng")
    with tifffile.TiffFile(tmp_path / "a.dng", mode="r+") as tiff:
        for code, size in zip((257, 256), shape, strict=True):
            tiff.pages.first.tags[code].overwrite(size)
    with pytest.raises(RawFileError):
        read_raw(tmp_path / "a.dng")


@pytest.mark.parametrize("kept", [5, 0])
def test_tiles_that_do_not_fill_the_picture_are_refused(kept, tmp_path):
    """Each of them is whole; with one too few, other memory would be shown."""
    raw = a_picture((64, 96))
    assert raw.mosaic is not None
    corners = [(y, x) for y in (0, 32) for x in (0, 32, 64)]
    tiles = [encode(raw.mosaic[y : y + 32, x : x + 32].reshape(32, 16, 2)) for y, x in corners]
    write_parts(tmp_path / "a.dng", raw, tiles, tile=(32, 32))
    assert np.array_equal(
        read_samples(tmp_path / "a.dng", tags_of(tmp_path / "a.dng").layout), raw.mosaic
    )
    with tifffile.TiffFile(tmp_path / "a.dng", mode="r+") as tiff:
        sizes = [len(tile) if i < kept else 0 for i, tile in enumerate(tiles)]
        tiff.pages.first.tags[325].overwrite(sizes)
    with pytest.raises(RawFileError, match=f"only {kept} of 6 parts"):
        read_raw(tmp_path / "a.dng")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({339: (SHORT, [2])}, "SampleFormat 2"),
        (
            {258: (SHORT, [8, 8, 16]), 262: (SHORT, [34892]), 277: (SHORT, [3])},
            "of different kinds",
        ),
        ({262: (SHORT, [34892]), 277: (SHORT, [2])}, "a picture of 2 planes"),
        ({50711: (SHORT, [3])}, r"layout \[3\]"),
        ({33422: (BYTE, bytes((0, 1, 1)))}, "without a CFAPattern"),
        ({50974: (SHORT, [2])}, "SubTileBlockSize"),
        ({50975: (SHORT, [0])}, "interleaved by"),
        ({278: (LONG, [0])}, "strips or tiles of 0x"),
    ],
    ids=str,
)
def test_pictures_that_cannot_be_read_are_refused_by_name(changes, reason, tmp_path):
    raw = a_picture()
    write_blocks(raw, tmp_path / "a.dng", [mosaic_of(raw).tobytes() * 3], changes)
    with pytest.raises(RawFileError, match=reason):
        read_raw(tmp_path / "a.dng")


@pytest.mark.parametrize("shape", [(64, 80), (60, 80)])
def test_what_libraw_decodes_must_be_the_picture_of_the_tags(shape, tmp_path):
    """Of lossless JPEG before DNG 1.1, which is left to it."""
    raw = a_picture()
    strip = encode(mosaic_of(raw).reshape(64, 40, 2))
    old = (50706, "B", 4, (1, 0, 0, 0), True)
    write_parts(tmp_path / "a.dng", raw, [strip], rows=64, extra=[old], drop=(50706,))
    decoded = SimpleNamespace(raw_image=np.full(shape, 7, np.uint16))
    tags = tags_of(tmp_path / "a.dng")
    if shape == (64, 80):
        found = dng_samples(tmp_path / "a.dng", tags, lambda: decoded)  # type: ignore[arg-type]
        assert (found.pixels == 7).all()
        return
    with pytest.raises(RawFileError, match="the tags say 64x80 pixels, LibRaw decodes 60x80"):
        dng_samples(tmp_path / "a.dng", tags, lambda: decoded)  # type: ignore[arg-type]


def test_list_1_before_a_table_that_libraw_has_applied_is_refused(tmp_path):
    raw = a_picture()
    strip = encode(mosaic_of(raw).reshape(64, 40, 2))
    half = struct.pack(">8i", *[0] * 5, 1, 1, 1) + struct.pack(">I2d", 1, 0.0, 0.5)
    opcodes = struct.pack(">5I", 1, 8, 0x01030000, 0, len(half)) + half
    extra = [
        (50706, "B", 4, (1, 0, 0, 0), True),
        (50712, "H", 3, (0, 1, 2), True),
        (51008, 7, len(opcodes), opcodes, True),
    ]
    write_parts(tmp_path / "a.dng", raw, [strip], rows=64, extra=extra, drop=(50706,))
    with pytest.raises(RawFileError, match="OpcodeList1 belongs before a table"):
        read_raw(tmp_path / "a.dng")
