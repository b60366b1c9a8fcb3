"""The reference reader against the writer of random DNGs, tifffile, and numbers found by hand."""

import struct

import numpy as np
import pytest
import tifffile

from experiments.isp.dng_reference.random_dng import random_dng
from experiments.isp.dng_reference.reference_dng import read_reference
from experiments.isp.dng_reference.reference_opcodes import parse, process
from experiments.isp.dng_reference.reference_samples import UnknownLayoutError
from experiments.isp.dng_reference.tiff_writer import (
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    UNDEFINED,
    ByteOrder,
    Directory,
    write_tiff,
)

HEIGHT, WIDTH = 4, 6
EVERYWHERE = (0, 0, HEIGHT, WIDTH, 0, 1, 1, 1)


@pytest.fixture
def write(tmp_path):
    """Write a small 16-bit DNG, all of whose samples are `value`, with tags of one's own."""

    def file(tags=None, value=1000, planes=1, order: ByteOrder = "<", samples=None, compression=1):
        if samples is None:
            samples = np.full((HEIGHT, WIDTH, planes), value, np.uint16)
        basic = {
            254: (LONG, [0]),
            256: (LONG, [WIDTH]),
            257: (LONG, [HEIGHT]),
            258: (SHORT, [16] * planes),
            259: (SHORT, [compression]),
            262: (SHORT, [32803 if planes == 1 else 34892]),
            277: (SHORT, [planes]),
            278: (LONG, [HEIGHT]),
            33421: (SHORT, [2, 2]),
            33422: (BYTE, bytes((0, 1, 1, 2))),
            50706: (BYTE, bytes((1, 7, 1, 0))),
        }
        content = samples.astype(f"{order}u2").tobytes()
        path = tmp_path / "file.dng"
        path.write_bytes(write_tiff([Directory(basic | (tags or {}), [content])], order))
        return path

    return file


def opcode_list(*opcodes):
    content = struct.pack(">I", len(opcodes))
    for kind, data in opcodes:
        content += struct.pack(">4I", kind, 0x01030000, 0, len(data)) + data
    return content


def test_the_samples_are_those_that_were_stored(tmp_path):
    kinds, by_tifffile = set(), 0
    for number in range(150):
        dng = random_dng(7, number)
        path = tmp_path / "file.dng"
        path.write_bytes(dng.content)
        np.testing.assert_array_equal(read_reference(path).samples, dng.samples, str(dng.drawn))
        drawn = dng.drawn
        kinds |= {(drawn["compression"], drawn["bits"], drawn["is_float"])}
        plain = drawn["interleave"] == (1, 1) and drawn["subtile"] == (1, 1)
        if plain and drawn["place"] == "first" and drawn["predictor"] in (1, 2):
            with tifffile.TiffFile(path) as tiff:
                found = tiff.pages.first.asarray()
            found = np.moveaxis(found, 0, 2) if drawn["is_planar"] else found
            np.testing.assert_array_equal(found.reshape(dng.samples.shape), dng.samples)
            by_tifffile += 1
    assert len(kinds) >= 12
    assert by_tifffile >= 20


def test_random_files_are_the_same_from_the_same_seed():
    assert random_dng(3, 5).content == random_dng(3, 5).content
    assert random_dng(3, 5).content != random_dng(4, 5).content


def test_black_and_white_are_as_the_specification_says(write):
    path = write(
        {
            50713: (SHORT, [2, 1]),
            50714: (RATIONAL, [100, 1, 200, 1]),
            50715: (SRATIONAL, [n for v in (0, 0, 0, 0, 0, -50) for n in (v, 1)]),
            50717: (LONG, [1200]),
        }
    )
    linear = read_reference(path).linear[0]
    # the scale is that of the highest black level: 1 / (1200 - 200)
    assert linear[0, 0] == pytest.approx(0.9)
    assert linear[1, 0] == pytest.approx(0.8)
    assert linear[1, 5] == pytest.approx(0.85)


def test_planes_have_levels_of_their_own(write):
    tags = {50714: (LONG, [0, 100, 200]), 50717: (LONG, [2000, 1900, 900])}
    linear = read_reference(write(tags, planes=3)).linear
    assert linear[:, 0, 0].tolist() == pytest.approx([0.5, 0.5, 1.0])


def test_a_table_ends_with_its_last_entry(write):
    samples = np.zeros((HEIGHT, WIDTH, 1), np.uint16)
    samples[0, :3, 0] = 1, 2, 60000
    path = write({50712: (SHORT, [0, 10, 65535]), 50717: (LONG, [65535])}, samples=samples)
    assert read_reference(path).linear[0, 0, :3].tolist() == pytest.approx([10 / 65535, 1, 1])


def test_interleaved_rows_and_columns_return_to_their_places(write):
    picture = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1).astype(np.uint16)
    stored = picture[[0, 3, 1, 2]][:, [0, 2, 4, 1, 3, 5]]  # three fields of rows, two of columns
    path = write({50975: (SHORT, [3]), 52547: (LONG, [2])}, samples=stored, order=">")
    np.testing.assert_array_equal(read_reference(path).samples, picture)


def test_crops_and_neutral(write):
    tags = {
        50829: (LONG, [1, 2, 4, 6]),
        50719: (RATIONAL, [5, 10, 15, 10]),
        50720: (RATIONAL, [25, 10, 14, 10]),
        51125: (RATIONAL, [0, 1, 1, 2, 1, 1, 1, 1]),
        50721: (SRATIONAL, [n for v in (1, 0, 0, 0, 2, 0, 0, 0, 1) for n in (v, 1)]),
        50729: (RATIONAL, [1, 4, 1, 2]),
    }
    reference = read_reference(write(tags))
    assert reference.area == (1, 2, 4, 6)
    # the default crop goes from row 1.5 to 2.9 and, shortened, from column 0.5 to 3; the user's
    # from the middle of the columns to the end
    assert reference.crop == pytest.approx((1.5, 1.75, 2.9, 3.0))
    # x, y = 1/4, 1/2: X, Y, Z = 1/2, 1, 1/2, and the camera doubles Y
    assert reference.neutral is not None
    assert reference.neutral.tolist() == pytest.approx([0.25, 1, 0.25])


@pytest.mark.parametrize(
    ("kind", "parameters", "wanted"),
    [
        (8, struct.pack(">I3d", 2, 0.25, 0, 1), [0.5, 0.5, 0.5]),  # 1/4 + x^2
        (7, struct.pack(">I2H", 2, 65535, 13107), [0.2, 0.2, 0.2]),  # ends with 1/5
        (10, struct.pack(">I4f", 4, 0.25, 0, 0.75, 0), [0.75, 0.5, 1.0]),
        (11, struct.pack(">I6f", 6, -1, 0, 0, 0, 0, 0), [0.0, 0.0, 0.0]),
        (12, struct.pack(">I4f", 4, 0.5, 1, 4, 1), [0.25, 0.5, 1.0]),
        (13, struct.pack(">I6f", 6, 0.1, 1, 1, 1, 1, 1), [0.05, 0.05, 0.05]),
        # two points down, at the top and the bottom edge; pixel centres at 1/8, 3/8, 5/8
        (9, struct.pack(">2I4dI2f", 2, 1, 1, 1, 0, 0, 1, 0, 1), [1 / 16, 3 / 16, 5 / 16]),
    ],
)
def test_opcodes_by_hand(kind, parameters, wanted):
    image = np.full((1, HEIGHT, WIDTH), 0.5)
    area = struct.pack(">4i4I", *EVERYWHERE)
    done = process(image, parse(opcode_list((kind, area + parameters))), 1.0, 1 / 65535).image
    assert done[0, :3, 0].tolist() == pytest.approx(wanted)


def test_opcodes_of_the_first_list_are_in_the_unit_of_the_samples(write):
    area = struct.pack(">4i4I", *EVERYWHERE)
    double = (8, area + struct.pack(">I2d", 1, 5, 2))
    less = (10, area + struct.pack(">I4f", 4, -5, -3000, 0, 65000))
    tags = {51008: (UNDEFINED, opcode_list(double, less)), 50717: (LONG, [65535])}
    linear = read_reference(write(tags)).linear[0, :, 0]
    assert (linear * 65535).tolist() == pytest.approx([2000, 0, 2005, 65535])


def test_pitch_and_planes_leave_the_others_alone():
    image = np.full((3, HEIGHT, WIDTH), 0.5)
    area = struct.pack(">4i4I", 1, 0, HEIGHT, WIDTH, 1, 5, 2, 3)
    done = process(image, parse(opcode_list((12, area + struct.pack(">I2f", 2, 0, 0)))), 1.0, 1.0)
    assert np.argwhere(done.image[1:] == 0).tolist() == [
        [plane, row, column] for plane in (0, 1) for row in (1, 3) for column in (0, 3)
    ]
    assert (done.image[0] == 0.5).all()


def test_bad_pixels_are_named_and_get_the_value_of_their_neighbours():
    image = np.full((1, HEIGHT, WIDTH), 7.0)
    image[0, 1, 2] = image[0, 3, 4] = 0
    by_list = struct.pack(">3I2I4I", 0, 1, 1, 1, 2, 3, 4, 4, 5)
    for opcode in ((4, struct.pack(">2I", 0, 0)), (5, by_list)):
        done = process(image, parse(opcode_list(opcode)), 65535.0, 1.0)
        assert (done.image == 7).all()
        assert np.argwhere(done.mended).tolist() == [[1, 2], [3, 4]]


def test_what_the_reference_does_not_know_it_refuses(write):
    with pytest.raises(UnknownLayoutError, match="52546"):
        read_reference(write(compression=52546))
    warp = opcode_list((1, struct.pack(">4i4I", *EVERYWHERE) + bytes(8)))
    with pytest.raises(NotImplementedError, match="opcode 1"):
        read_reference(write({51009: (UNDEFINED, warp)}))
