"""Lossless JPEG that other people's decoders read back."""

import shutil
import subprocess

import numpy as np
import pytest
import rawpy

from isp_env.dng import write_dng
from isp_env.lossless_jpeg import encode_mosaic
from isp_env.raw import read_raw
from isp_env.samples import NIKON_D750
from isp_env.simulation import Capture, simulate


@pytest.fixture
def raw():
    photo = np.random.default_rng(0).uniform(0, 1, (3, 8, 10)).repeat(8, 1).repeat(8, 2)
    return simulate(photo, NIKON_D750, Capture(iso=800), np.random.default_rng(1))[0]


def test_libraw_reads_the_same_samples(raw, tmp_path):
    write_dng(raw, tmp_path / "a.dng", "lossless jpeg")
    write_dng(raw, tmp_path / "b.dng")
    read = read_raw(tmp_path / "a.dng").mosaic
    assert read is not None
    assert np.array_equal(read, raw.mosaic)
    assert (tmp_path / "a.dng").stat().st_size < (tmp_path / "b.dng").stat().st_size


def test_every_difference_from_none_to_the_largest(raw, tmp_path):
    """Noise over all 16 bits: every category, byte stuffing, differences that wrap around."""
    from dataclasses import replace

    noise = np.random.default_rng(2).integers(0, 65536, (64, 80)).astype(np.uint16)
    noise[:, 40:] >>= np.arange(64, dtype=np.uint16)[:, None] % 16
    noise[0, :4] = (0, 65535, 32768, 32767)
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
