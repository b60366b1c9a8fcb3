"""Lossless JPEG that other people's decoders read back, and a decoder that reads what they do."""

import shutil
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import rawpy

from isp_env.compiled import lossless_jpeg as compiled
from isp_env.dng.lossless_jpeg import (
    UnsupportedJpegError,
    count_components,
    decode,
    encode,
    encode_mosaic,
)
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate


@pytest.fixture
def raw():
    photo = np.random.default_rng(0).uniform(0, 1, (3, 8, 10)).repeat(8, 1).repeat(8, 2)
    return simulate(photo, NIKON_D750, Capture(iso=800), np.random.default_rng(1))[0]


def _every_category() -> np.ndarray:
    noise = np.random.default_rng(2).integers(0, 65536, (64, 80)).astype(np.uint16)
    noise[:, 40:] >>= np.arange(64, dtype=np.uint16)[:, None] % 16
    noise[0, :4] = (0, 65535, 32768, 32767)
    return noise


def _decoded(content, shape) -> np.ndarray:
    picture = np.zeros(shape, np.uint16)
    decode(content, picture)
    return picture


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def test_libraw_reads_the_same_samples(raw, tmp_path):
    write_dng(raw, tmp_path / "a.dng", "lossless jpeg")
    write_dng(raw, tmp_path / "b.dng")
    with rawpy.imread(str(tmp_path / "a.dng")) as file:
        assert np.array_equal(file.raw_image, raw.mosaic)
    assert (tmp_path / "a.dng").stat().st_size < (tmp_path / "b.dng").stat().st_size


def test_every_difference_from_none_to_the_largest(raw, tmp_path):
    """Noise over all 16 bits: every category, byte stuffing, differences that wrap around."""
    noise = _every_category()
    write_dng(replace(raw, mosaic=noise, crop=(0, 0, 64, 80)), tmp_path / "a.dng", "lossless jpeg")
    with rawpy.imread(str(tmp_path / "a.dng")) as file:
        assert np.array_equal(file.raw_image, noise)


@pytest.mark.skipif(shutil.which("dcraw") is None, reason="dcraw is not installed")
def test_dcraw_reads_the_same_samples(raw, tmp_path):
    write_dng(raw, tmp_path / "a.dng", "lossless jpeg")
    subprocess.run(["dcraw", "-D", "-4", str(tmp_path / "a.dng")], check=True)
    content = (tmp_path / "a.pgm").read_bytes()
    samples = np.frombuffer(content[-raw.mosaic.size * 2 :], ">u2").reshape(raw.mosaic.shape)
    assert np.array_equal(samples, raw.mosaic)


def test_what_cannot_be_encoded():
    with pytest.raises(ValueError, match="even width"):
        encode_mosaic(np.zeros((4, 5), np.uint16))
    with pytest.raises(ValueError, match="more than 12 bits"):
        encode_mosaic(np.full((4, 4), 4096, np.uint16), 12)


@pytest.mark.parametrize("components", [1, 2, 3, 4])
def test_what_was_encoded_is_decoded(components):
    picture = _every_category().reshape(64, -1, 1)[:, : 80 // components * components]
    picture = picture.reshape(64, -1, components)
    content = _bytes(encode(picture) + b"more of the file")
    assert np.array_equal(_decoded(content, picture.shape), picture)


@pytest.mark.parametrize("components", [1, 2, 4])
def test_components_are_counted_without_decoding(components):
    content = encode(np.ones((4, 4, components), np.uint16))
    assert count_components(_bytes(content)) == components
    assert count_components(_bytes(content[:20])) == 0


@pytest.mark.parametrize("precision", [2, 8, 12, 16])
def test_the_first_sample_is_predicted_by_half_the_range(precision):
    picture = np.full((3, 4, 1), (1 << precision) - 1, np.uint16)
    assert np.array_equal(_decoded(_bytes(encode(picture, precision)), picture.shape), picture)


def test_each_component_may_have_its_own_table():
    picture = _every_category().reshape(64, 40, 2)
    content = bytearray(encode(picture))
    table = content.index(b"\xff\xc4")
    size = struct.unpack_from(">H", content, table + 2)[0] + 2
    second = bytearray(content[table : table + size])
    second[4] = 1
    content[table + size : table + size] = second
    scan = content.index(b"\xff\xda", table + 2 * size)
    content[scan + 8] = 0x10  # table of the second component
    assert np.array_equal(_decoded(_bytes(bytes(content)), picture.shape), picture)
    content[scan + 8] = 0x20
    with pytest.raises(UnsupportedJpegError, match="headers"):
        _decoded(_bytes(bytes(content)), picture.shape)


@pytest.mark.parametrize("cut", [0, 1, 3, 20, 100, 0.5, 0.9, 0.999])
def test_a_truncated_picture_is_refused(cut):
    content = encode(_every_category().reshape(64, 40, 2))
    size = round(cut * (len(content) - 2)) if isinstance(cut, float) else cut
    with pytest.raises(UnsupportedJpegError):
        _decoded(_bytes(content[:size]), (64, 80))


def test_rare_kinds_are_refused():
    content = encode(_every_category().reshape(64, 40, 2))
    frame, scan = content.index(b"\xff\xc3"), content.index(b"\xff\xda")
    changes = {
        "predictor": (scan + 9, 8),
        "transform": (scan + 11, 1),
        "subsampling": (frame + 11, 0x21),
        "marker": (frame + 1, 0xC0),
        "components": (frame + 9, 5),
    }
    for place, value in changes.values():
        changed = bytearray(content)
        assert changed[place] != value
        changed[place] = value
        with pytest.raises(UnsupportedJpegError):
            _decoded(_bytes(bytes(changed)), (64, 80))
    restarts = content[:scan] + b"\xff\xdd\0\4\0\10" + content[scan:]
    with pytest.raises(UnsupportedJpegError):
        _decoded(_bytes(restarts), (64, 80))
    with pytest.raises(UnsupportedJpegError, match="64x40x2 samples, not 100"):
        _decoded(_bytes(content), 100)


def test_damaged_bytes_are_decoded_or_refused():
    """Whatever stands in the file, nothing but this error comes of it."""
    rng = np.random.default_rng(3)
    content = encode((_every_category() >> 6).reshape(64, 40, 2))
    refused = 0
    for _ in range(300):
        changed = _bytes(content).copy()
        places = rng.integers(0, len(changed), rng.integers(1, 9))
        places[0] = rng.integers(0, 80)  # one of them in the headers
        changed[places] = rng.integers(0, 256, len(places))
        try:
            _decoded(changed, (64, 80))
        except UnsupportedJpegError:
            refused += 1
    assert 100 < refused < 300


def test_damaged_bytes_lead_nowhere_else(monkeypatch):
    """The loops as Python, where an index out of bounds raises."""
    for name in ("decode", "decoding_table", "extend"):
        monkeypatch.setattr(compiled, name, getattr(compiled, name).py_func)
    rng = np.random.default_rng(4)
    content = encode(rng.integers(0, 65536, (4, 3, 2)).astype(np.uint16))
    table = content.index(b"\xff\xc4")
    outcomes = set()
    for number in range(400):
        changed = _bytes(content).copy()
        places = rng.integers(table, len(changed), rng.integers(1, 4))
        if number % 2:
            places[0] = table + 5 + rng.integers(0, 33)  # the prefix code
        changed[places] = rng.integers(0, 256, len(places)) if number % 4 < 3 else 255
        try:
            with np.errstate(over="ignore"):  # unsigned numbers wrap around, as they are to
                _decoded(changed if number % 5 else changed[: rng.integers(20, 90)], (4, 6))
            outcomes.add("decoded")
        except UnsupportedJpegError as error:
            outcomes.add(str(error).split(" ")[2])
    assert {"decoded", "unusual", "truncated"} <= outcomes


@pytest.mark.parametrize(
    ("counts", "categories"),
    [
        ([0] * 14 + [45, 255], [3] * 300),  # more than a table may hold
        ([3] + [0] * 15, [1, 2, 3]),  # three codes of one bit
        ([1] + [0] * 15, [17]),
        ([2] + [0] * 15, [1]),
        ([0] * 16, []),
    ],
)
def test_tables_that_are_no_prefix_code_are_refused(counts, categories):
    content = encode(np.ones((4, 4, 1), np.uint16))
    table = content.index(b"\xff\xc4")
    size = struct.unpack_from(">H", content, table + 2)[0] + 2
    other = bytes((0, *counts, *categories))
    segment = b"\xff\xc4" + struct.pack(">H", len(other) + 2) + other
    with pytest.raises(UnsupportedJpegError, match="headers"):
        _decoded(_bytes(content[:table] + segment + content[table + size :]), (4, 4))
