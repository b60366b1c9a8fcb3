"""EXIF of cameras, carried over field by field."""

import struct
from fractions import Fraction
from pathlib import Path

import exifread
import numpy as np
import pytest
from exifread.tags.exif import EXIF_TAGS as EXIFREAD_TAGS
from exifread.tags.exif import GPS_TAGS as EXIFREAD_GPS
from PIL import ExifTags, Image

from isp_env.raw.exif import read_exif
from isp_env.raw.exif.camera import EXIF_TAGS, GPS_TAGS, IMAGE_TAGS, camera_exif
from isp_env.raw.exif.fields import SIZES, Kind
from isp_env.render.photograph import write_photograph
from tests.isp_env.raw.exif.streams import BLACK, DATE, GPS, IMAGE, PHOTO, directory, stream, value


@pytest.fixture
def carried(tmp_path):
    """Writes EXIF, carries it over into a JPEG file, and reads that with Pillow."""

    def carry(content: bytes) -> tuple[Image.Exif, tuple[str, ...]]:
        (tmp_path / "a.dng").write_bytes(content)
        exif = camera_exif(tmp_path / "a.dng")
        for suffix in (".png", ".tif", ".jpg"):
            write_photograph(BLACK, tmp_path / f"a{suffix}", exif=exif)
        with Image.open(tmp_path / "a.jpg") as picture:
            return picture.getexif(), exif.notes

    return carry


@pytest.mark.parametrize("names", [IMAGE_TAGS, EXIF_TAGS])
def test_every_name_is_one_of_pillows_and_exifreads(names):
    for name, (kind, count) in names.items():
        code = ExifTags.Base[name].value
        assert ExifTags.TAGS[code] == name
        if name != "StandardOutputSensitivity":  # which exifread does not have
            assert EXIFREAD_TAGS[code][0].lower() == name.lower()
        assert kind in SIZES
        assert count > 0


def test_every_name_of_gps_is_one_of_pillows_and_exifreads():
    spelt = {"GPSDateStamp": "GPSDate"}  # as exifread has it
    for name in GPS_TAGS:
        code = ExifTags.GPS[name].value
        assert EXIFREAD_GPS[code][0] == spelt.get(name, name)


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_tag_is_carried_over_in_both_byte_orders(carried, order):
    image = IMAGE | {0x0132: value(2, f"{DATE}\0".encode()), 0x0112: value(3, 6)}
    exif, notes = carried(stream(image, PHOTO, GPS, order))
    assert notes == ()
    assert {tag: exif[tag] for tag in (0x010F, 0x0110, 0x0112, 0x0132, 0x0131)} == {
        0x010F: "Maker",
        0x0110: "Camera",
        0x0112: 1,
        0x0132: DATE,
        0x0131: "attiqa",
    }
    photo = exif.get_ifd(0x8769)
    lens = photo.pop(0xA432)
    assert [float(x) for x in lens[:2]] == [24, 70]
    found = {tag: photo[tag] for tag in PHOTO if tag != 0xA432}
    assert found == {
        0x829A: Fraction(1, 250),
        0x829D: Fraction(28, 10),
        0x8827: 400,
        0x9003: DATE,
        0x9204: Fraction(-1, 3),
        0x9291: "24",
        0xA434: "Lens",
    }
    gps = exif.get_ifd(0x8825)
    assert gps == {
        0: b"\2\3\0\0",
        1: "S",
        2: (33.0, 7.0, 36.5),
        3: "E",
        4: (151.0, 30.0, 0.0),
        5: b"\1",
        6: 14.287,
        7: (5.0, 6.0, 7.0),
        29: "2026:03:04",
    }


def test_every_subsecond_and_offset_is_carried_over(carried):
    """SubSecTimeOriginal, as nearly every camera writes it, is spelt otherwise by Pillow."""
    tags = (0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292)
    exif, notes = carried(stream(IMAGE, {tag: value(2, b"+01:00\0") for tag in tags}))
    assert {tag: exif.get_ifd(0x8769)[tag] for tag in tags} == dict.fromkeys(tags, "+01:00")
    assert notes == ()


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ("Jürgen".encode(), "Jürgen"),
        ("Jürgen".encode("latin-1"), "Jürgen"),
        (b"Ansel\0Adams\0\0", "Ansel"),
        (b"\0\0late\0", "late"),
        (b"  spaces \0", "spaces"),
        (b"bell\x07 and \x1b[31mred", "bell and [31mred"),
        (b"\xed\xa0\x80", "í\xa0"),  # a surrogate is no UTF-8; its last byte controls
        (b"\0\0\0", None),
        (b"", None),
        (b"    ", None),
    ],
)
@pytest.mark.parametrize("kind", [1, 2, 7, 129])
def test_text(carried, stored, kept, kind):
    exif, _ = carried(stream({0x013B: value(kind, stored)}, {}))
    found = exif.get(0x013B)
    assert (found and found.encode("latin-1").decode()) == (kept and kept.strip())


@pytest.mark.parametrize(
    ("date", "kept"),
    [
        (DATE, True),
        ("    :  :     :  :  ", False),
        ("0000:00:00 00:00:00", False),
        ("0000", False),
        ("2024-05-06T07:08:09Z", False),
        ("2024:05:06 07h08:09é", False),
    ],
)
def test_dates_have_the_standards_form(carried, date, kept):
    exif, _ = carried(stream({0x0132: value(2, date.encode())}, {}))
    assert exif.get(0x0132) == (date if kept else None)


@pytest.mark.parametrize(
    ("tag", "stored", "kept", "noted"),
    [
        (0x829A, value(5, 0, 0), None, False),  # unknown, says the standard
        (0x829A, value(5, 1, 0), None, True),
        (0x829A, value(10, -1, 250), None, True),
        (0x829A, value(11, 0.5), Fraction(1, 2), False),
        (0x829A, value(12, float("nan")), None, True),
        (0x829A, value(12, float("inf")), None, True),
        (0x829A, value(12, 1e-300), Fraction(0), False),
        (0x829A, value(3, 2), Fraction(2), False),
        (0x829A, value(2, b"1/250\0"), Fraction(1, 250), False),
        (0x829A, value(2, b"1e999999999\0"), None, True),
        (0x829A, value(2, b"1/0\0"), None, True),
        (0x9204, value(10, 1, -3), Fraction(-1, 3), False),
        (0x9204, value(5, 4_000_000_000, 4_000_000_000), Fraction(1), False),
        (0x8827, value(3, 400, 800), 400, False),
        (0x8827, value(4, 102_400), None, True),
        (0x8827, value(2, b"800\0"), 800, False),
        (0x8827, value(2, b"high\0"), None, True),
        (0x8827, value(5, 1600, 2), 800, False),
        (0x8827, value(5, 1601, 2), None, True),
        (0x8827, value(9, -100), None, True),
        (0xA434, value(3, 7), None, True),
        (0xA432, value(5, 24, 1), None, True),
    ],
)
def test_values_of_another_type_are_converted_or_left_out(carried, tag, stored, kept, noted):
    exif, notes = carried(stream({}, PHOTO | {tag: stored}))
    assert exif.get_ifd(0x8769).get(tag) == kept
    assert len(notes) == noted
    assert all(ExifTags.TAGS[tag] in note for note in notes)
    assert exif.get_ifd(0x8769)[0x9003] == DATE


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({2: value(5, 0, 0, 0, 0, 0, 0)}, {1, 2}),
        ({2: value(5, 95, 1, 0, 1, 0, 1)}, {1, 2}),
        ({2: value(5, 33, 1)}, {1, 2}),
        ({2: value(5, 33, 1, 0, 0, 0, 0)}, {1, 2}),
        ({1: value(2, b"?\0")}, {1, 2}),
        ({1: value(2, b"\0\0")}, {1, 2}),
        ({4: value(5, 151, 1, 0, 0, 0, 0)}, {3, 4}),
        ({3: value(2, b"west\0")}, set()),
        ({6: value(5, 1, 0)}, {5, 6}),
        ({5: value(2, b"up\0")}, {5}),
        ({7: value(2, b"05:06:07\0")}, {7}),
        ({29: value(2, b"03/04/26\0")}, {29}),
    ],
)
def test_odd_places_are_left_out_and_the_rest_is_kept(carried, changed, missing):
    exif, _ = carried(stream(IMAGE, PHOTO, GPS | changed))
    assert set(exif.get_ifd(0x8825)) == {0, *GPS} - missing
    assert exif[0x0110] == "Camera"


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff(carried, order):
    def big(fields: dict, place: int) -> bytes:
        entries, beyond = b"", b""
        for tag, (kind, count, data) in sorted(fields.items()):
            inline = data.ljust(8, b"\0")
            if len(data) > 8:
                inline = struct.pack(f"{order}Q", place + 16 + 20 * len(fields) + len(beyond))
                beyond += data
            entries += struct.pack(f"{order}HHQ", tag, kind, count) + inline
        return struct.pack(f"{order}Q", len(fields)) + entries + bytes(8) + beyond

    time = struct.pack(f"{order}2I", 1, 250)  # 8 bytes: in its entry
    photo = big({0x829A: (5, 1, time), 0x9003: (2, 20, f"{DATE}\0".encode())}, 16)
    pointer = (18, 1, struct.pack(f"{order}Q", 16))
    image = big({0x0110: (2, 14, b"A long camera\0"), 0x8769: pointer}, 16 + len(photo))
    mark = {"<": b"II+\0", ">": b"MM\0+"}[order]
    head = mark + struct.pack(f"{order}HHQ", 8, 0, 16 + len(photo))
    exif, notes = carried(head + photo + image)
    assert notes == ()
    assert exif[0x0110] == "A long camera"
    found = exif.get_ifd(0x8769)
    assert (found[0x829A], found[0x9003]) == (Fraction(1, 250), DATE)


@pytest.mark.parametrize("minutes", [(33, 1, 7, 1, 0, 0), (33, 1, 7, 1)])
def test_a_place_without_seconds_is_kept(carried, minutes):
    exif, notes = carried(stream(IMAGE, PHOTO, GPS | {2: value(5, *minutes)}))
    assert exif.get_ifd(0x8825)[2] == (33.0, 7.0, 0.0)
    assert notes == ()


def test_what_describes_a_place_is_kept_where_it_is_valid(carried):
    more = {
        **{11: value(5, 3, 2), 12: value(2, b"K\0"), 13: value(5, 5, 1)},
        **{16: value(2, b"T\0"), 17: value(5, 90, 1), 18: value(2, b"TOKYO\0")},
    }
    gps = carried(stream(IMAGE, PHOTO, GPS | more))[0].get_ifd(0x8825)
    kept = {tag: gps[tag] for tag in more}
    assert kept == {11: 1.5, 12: "K", 13: 5.0, 16: "T", 17: 90.0, 18: "TOKYO"}
    wrong = {12: value(2, b"?\0"), 17: value(5, 361, 1)}
    exif, notes = carried(stream(IMAGE, PHOTO, GPS | more | wrong))
    assert set(exif.get_ifd(0x8825)) == {0, *GPS, 11, 18}
    assert len(notes) == 2


def test_apex_and_high_iso(carried, tmp_path):
    apex = {
        **{0x8827: value(3, 65535), 0x8831: value(4, 90_000), 0x8833: value(4, 102_400)},
        **{0x9201: value(10, 8, 1), 0x9202: value(5, 4, 1)},
    }
    photo = carried(stream(IMAGE, apex))[0].get_ifd(0x8769)
    kept = {0x8827: 65535, 0x8831: 90_000, 0x8833: 102_400, 0x9201: 8, 0x9202: 4}
    assert {tag: photo[tag] for tag in apex} == kept
    found = read_exif(tmp_path / "a.dng")
    assert (found.iso, found.exposure_time, found.aperture) == (102_400, 1 / 256, 4)
    carried(stream(IMAGE, {0x9201: value(10, -2, 1)}))
    assert read_exif(tmp_path / "a.dng").exposure_time == 4


@pytest.mark.parametrize(
    ("stored", "kept"),
    [(b"Ann\0Ed\0", "Ann; Ed"), (b" \0Ed\0", "Ed"), (b"Ann\0", "Ann"), (b"Ann\0\0", "Ann")],
)
def test_both_copyrights_are_kept(carried, stored, kept):
    assert carried(stream({0x8298: value(2, stored)}, {}))[0][0x8298] == kept


def test_files_that_hold_a_tiff_stream(carried):
    """JPEG and Fujifilm's RAF, Canon's CR3, Minolta's MRW, Olympus's ORF, Panasonic's RW2."""
    tiff = stream(IMAGE, PHOTO)
    parts = [stream(fields, {}) for fields in (IMAGE, PHOTO)]
    boxes = b"".join(
        b"\0\0\1\0" + name + x for name, x in zip((b"CMT1", b"CMT2"), parts, strict=True)
    )
    files = (
        b"\xff\xd8\xff\xe1\1\0Exif\0\0" + tiff,
        b"FUJIFILMCCD-RAW " + bytes(132) + b"\xff\xd8\xff\xe1\1\0Exif\0\0" + tiff,
        b"\0\0\0\x18ftypcrx " + bytes(40) + boxes,
        b"\0MRM\0\0\1\0\0TTW\0\0\1\0" + stream(IMAGE, PHOTO, order=">"),
        b"IIRO" + tiff[4:],
        b"IIU\0" + tiff[4:],
    )
    for content in files:
        exif, _ = carried(content)
        assert exif[0x0110] == "Camera", content[:16]
        assert exif.get_ifd(0x8769)[0x8827] == 400, content[:16]


def test_damaged_exif_costs_no_picture(carried):
    whole = stream(IMAGE, PHOTO, GPS)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(4, len(whole), rng.integers(1, 12)):
            damaged[place] = rng.integers(256)
        carried(bytes(damaged[: rng.integers(5, len(whole)) if rng.random() < 0.3 else None]))


@pytest.mark.parametrize(
    "content",
    [b"", b"II*\0", b"II*\0" + b"\xff" * 40, b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0"],
)
def test_unreadable_exif_is_left_out(carried, content):
    exif, _ = carried(content)
    assert exif[0x0112] == 1
    assert 0x010F not in exif


def test_a_field_beyond_the_end_is_noted(carried):
    content = stream(PHOTO, {}) + directory("<", {}, 0)
    exif, notes = carried(
        stream({0x010E: (2, 70_000, struct.pack("<I", 8)), **IMAGE}, {}) + content
    )
    assert "ImageDescription left out: 70000 bytes, and the file ends before" in notes
    assert exif[0x0110] == "Camera"


@pytest.mark.data
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_umlauts_of_a_file_are_kept(data, tmp_path, suffix):
    exif = camera_exif(data / "faults" / "raw" / "d3_01_artist_utf8.dng")
    write_photograph(BLACK, tmp_path / f"a{suffix}", exif=exif)
    with Image.open(tmp_path / f"a{suffix}") as picture:
        artist = picture.getexif()[0x013B]
    assert artist.encode("latin-1").decode() == "Jürgen Müller"


@pytest.mark.data
def test_real_files_are_carried_over_without_a_note(data):
    """What exifread finds of our tags is what is carried over."""
    for path in sorted((data / "raw" / "cameras").iterdir()):
        exif = camera_exif(path)
        assert exif.notes == ()
        with path.open("rb") as file:
            found = exifread.process_file(file, details=False)
        for names, group in ((IMAGE_TAGS, "Image"), (EXIF_TAGS, "EXIF")):
            fields = exif.image if group == "Image" else exif.photo
            for name in names:
                tag = ExifTags.Base[name].value
                told = found.get(f"{group} {EXIFREAD_TAGS.get(tag, (name,))[0]}")
                if names[name][0] == Kind.ASCII and told and str(told.values).strip():
                    assert fields[tag].data[:-1].decode() == told.values.strip(), (path, name)
                if names[name] == (Kind.RATIONAL, 1) and told and told.values[0].den:
                    pair = struct.unpack("<2I", fields[tag].data)
                    assert Fraction(*pair) == told.values[0], (path, name)


@pytest.mark.data
def test_a_long_description_is_shortened(data, tmp_path):
    exif = camera_exif(data / "faults" / "raw" / "d3_14_desc_60k.dng")
    (note,) = write_photograph(BLACK, Path(tmp_path / "a.jpg"), exif=exif)
    assert "ImageDescription of 70000 bytes shortened" in note
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.getexif()[0x0110] == "Kit"
