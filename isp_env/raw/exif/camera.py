"""EXIF of RAW files, carried over into photographs.

The fields are read as bytes and checked against the type that the standard gives each: one that
does not fit is left out and noted, and the others are kept.
"""

import logging
import re
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from PIL import ExifTags
from PIL.ExifTags import Base

from isp_env.raw.exif.directories import read_directories
from isp_env.raw.exif.fields import (
    EXIF_POINTER,
    FORMATS,
    FRACTIONS,
    GPS_POINTER,
    CameraExif,
    Directory,
    Field,
    Kind,
)

log = logging.getLogger(__name__)

SOFTWARE = "attiqa"
TEXTS = (Kind.BYTE, Kind.ASCII, Kind.UNDEFINED, 129)
RANGES = {Kind.BYTE: 0xFF, Kind.SHORT: 0xFFFF, Kind.LONG: 0xFFFFFFFF}

# What a rendering inherits, by Pillow's names: the type, and how many numbers. Orientation is not
# among it, because the pixels are upright.
IMAGE_TAGS: Mapping[str, tuple[Kind, int]] = {
    **dict.fromkeys(("ImageDescription", "Make", "Model"), (Kind.ASCII, 1)),
    **dict.fromkeys(("DateTime", "Artist", "Copyright"), (Kind.ASCII, 1)),
}
EXIF_TAGS: Mapping[str, tuple[Kind, int]] = {
    **dict.fromkeys(("ExposureTime", "FNumber", "FocalLength"), (Kind.RATIONAL, 1)),
    **dict.fromkeys(("ExposureProgram", "ISOSpeedRatings", "SensitivityType"), (Kind.SHORT, 1)),
    **dict.fromkeys(("StandardOutputSensitivity", "ISOSpeed"), (Kind.LONG, 1)),
    "RecommendedExposureIndex": (Kind.LONG, 1),
    **dict.fromkeys(("ShutterSpeedValue", "ExposureBiasValue"), (Kind.SRATIONAL, 1)),
    "ApertureValue": (Kind.RATIONAL, 1),
    **dict.fromkeys(("MeteringMode", "Flash", "FocalLengthIn35mmFilm"), (Kind.SHORT, 1)),
    **dict.fromkeys(("DateTimeOriginal", "DateTimeDigitized"), (Kind.ASCII, 1)),
    **dict.fromkeys(("OffsetTime", "OffsetTimeOriginal", "OffsetTimeDigitized"), (Kind.ASCII, 1)),
    **dict.fromkeys(("SubsecTime", "SubsecTimeOriginal", "SubsecTimeDigitized"), (Kind.ASCII, 1)),
    "SubjectDistance": (Kind.RATIONAL, 1),
    "LensSpecification": (Kind.RATIONAL, 4),
    **dict.fromkeys(("LensMake", "LensModel"), (Kind.ASCII, 1)),
}
GPS_TAGS: Mapping[str, tuple[Kind, int]] = {
    **dict.fromkeys(("GPSLatitudeRef", "GPSLongitudeRef", "GPSDateStamp"), (Kind.ASCII, 1)),
    **dict.fromkeys(("GPSLatitude", "GPSLongitude", "GPSTimeStamp"), (Kind.RATIONAL, 3)),
    "GPSAltitudeRef": (Kind.BYTE, 1),
    **dict.fromkeys(("GPSAltitude", "GPSDOP", "GPSSpeed", "GPSImgDirection"), (Kind.RATIONAL, 1)),
    **dict.fromkeys(("GPSSpeedRef", "GPSImgDirectionRef", "GPSMapDatum"), (Kind.ASCII, 1)),
}
DATE = "[0-9]{4}:[0-9]{2}:[0-9]{2}"
DATES = {
    **dict.fromkeys(
        ("DateTime", "DateTimeOriginal", "DateTimeDigitized"),
        re.compile(f"{DATE} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}"),
    ),
    "GPSDateStamp": re.compile(DATE),
}
NUMBER = re.compile(rb"[+-]?[0-9]{1,9}(\.[0-9]{0,9}|/[1-9][0-9]{0,8})?")
UNKNOWN_TOO = ("LensSpecification",)  # 0/0 is one of its values (Exif 2.32, 4.6.5)
COORDINATES = {
    "GPSLatitude": ("GPSLatitudeRef", "NS", 90),
    "GPSLongitude": ("GPSLongitudeRef", "EW", 180),
}
MEASURED = {
    "GPSSpeed": ("GPSSpeedRef", "KMN", None),
    "GPSImgDirection": ("GPSImgDirectionRef", "TM", 360),
}
WANTED = {
    **{Base[name].value: name for name in (*IMAGE_TAGS, *EXIF_TAGS)},
    **{ExifTags.GPS[name].value: name for name in GPS_TAGS},
    EXIF_POINTER: "the Exif directory",
    GPS_POINTER: "the GPS directory",
}


def camera_exif(raw_path: Path | None) -> CameraExif:
    """Return the camera's EXIF for a rendering of `raw_path`: upright, no thumbnail, no maker note.

    This never refuses a file: what cannot be carried over is logged, and named in `notes`.
    """
    carried = read_fields(raw_path) if raw_path else CameraExif({})
    for note in carried.notes:
        log.warning("%s: %s", raw_path, note)
    own: dict[int, Field] = {
        Base.Orientation: Field.numbers(Kind.SHORT, 1),
        Base.Software: Field.text(SOFTWARE),
    }
    return replace(carried, image={**carried.image, **own})


def read_fields(path: Path) -> CameraExif:
    """The fields of `IMAGE_TAGS`, `EXIF_TAGS` and `GPS_TAGS` of a RAW file; never refuses one."""
    notes: list[str] = []
    image, photo, gps = {}, {}, {}
    try:
        with path.open("rb") as file:
            first, second, third = read_directories(file, WANTED, notes)
        image = _carried(first, IMAGE_TAGS, "image", notes)
        photo = _carried({**first, **second}, EXIF_TAGS, "photo", notes)
        gps = _located(_carried(third, GPS_TAGS, "gps", notes), notes)
    except Exception as error:  # a parser of arbitrary bytes raises anything
        notes.append(f"EXIF not carried over: {error or type(error).__name__}")
    return CameraExif(image, photo, gps, tuple(notes))


def _carried(
    fields: Directory, tags: Mapping[str, tuple[Kind, int]], where: str, notes: list[str]
) -> dict[int, Field]:
    """Take over `tags` in the type of the standard; those without content are left out."""
    carried = {}
    codes = ExifTags.GPS if where == "gps" else Base
    for name, (kind, count) in tags.items():
        code = codes[name].value
        if code not in fields:
            continue
        try:
            if kind == Kind.ASCII:
                found = _dated(name, _text(fields[code], name == "Copyright"))
            else:
                stored = _filled(fields[code]) if name in COORDINATES else fields[code]
                found = _numbers(stored, kind, count, name in UNKNOWN_TOO)
        except (ValueError, OverflowError) as error:
            notes.append(f"{name} left out: {error}")
            continue
        if found is not None:
            carried[code] = found
    return carried


def _text(stored: Field, both: bool = False) -> Field | None:
    """Text in UTF-8: up to its first NUL, Latin-1 where it is no UTF-8; None where it is blank.

    With `both`, what follows the first NUL counts, too (Exif 2.32, 4.6.4: the photographer's
    copyright, then the editor's).
    """
    if stored.kind not in TEXTS:
        raise ValueError(f"expected text, found values of type {stored.kind}")
    parts = [part.strip() for part in stored.data.split(b"\0") if part.strip()]
    data = b"; ".join(parts[: 2 if both else 1])
    try:
        said = data.decode()
    except UnicodeDecodeError:
        said = data.decode("latin-1")
    said = "".join(c for c in said if c in "\t\n\r" or unicodedata.category(c) != "Cc").strip()
    return Field.text(said) if said else None


def _dated(name: str, found: Field | None) -> Field | None:
    """Return text; of a date the standard's form, and None where nothing is filled in."""
    if found is None or name not in DATES:
        return found
    said = found.data[:-1].decode()
    if not re.search("[1-9]", said):
        return None
    if not DATES[name].fullmatch(said):
        raise ValueError(f"{said[:40]!r} is not in the form YYYY:MM:DD hh:mm:ss")
    return found


def _numbers(stored: Field, kind: Kind, count: int, unknown_too: bool) -> Field | None:
    """Return the first `count` numbers as `kind`; None where they are 0/0, which says "unknown"."""
    pairs = _pairs(stored)
    if len(pairs) < count:
        raise ValueError(f"{len(pairs)} values, expected {count}")
    pairs = pairs[:count]
    unknown = [pair == (0, 0) for pair in pairs]
    if all(unknown) or (any(unknown) and not unknown_too):
        return None
    if kind not in FRACTIONS:
        return Field.numbers(kind, *(_whole(pair, RANGES[kind]) for pair in pairs))
    return Field.numbers(kind, *(_fraction(p, kind == Kind.SRATIONAL, unknown_too) for p in pairs))


def _pairs(stored: Field) -> list[tuple[int, int]]:
    """Return numbers of any type as numerators and denominators."""
    if stored.kind in FRACTIONS:
        code = FRACTIONS[Kind(stored.kind)]
        return list(struct.iter_unpack(f"<2{code}", stored.data))
    if stored.kind in (Kind.ASCII, Kind.UNDEFINED, 129):
        said = stored.data.split(b"\0")[0].strip()
        if said and not NUMBER.fullmatch(said):
            raise ValueError(f"{said[:20]!r} is no number")
        return [Fraction(said.decode()).as_integer_ratio()] if said else []
    values = (v for (v,) in struct.iter_unpack(f"<{FORMATS[stored.kind]}", stored.data))
    return [(v if isinstance(v, int) else Fraction(v)).as_integer_ratio() for v in values]


def _whole(pair: tuple[int, int], most: int) -> int:
    if pair[1] == 0 or pair[0] % pair[1]:
        raise ValueError(f"{pair[0]}/{pair[1]} is no whole number")
    value = pair[0] // pair[1]
    if not 0 <= value <= most:
        raise ValueError(f"{value} is not from 0 to {most}")
    return value


def _fraction(pair: tuple[int, int], signed: bool, unknown_too: bool) -> tuple[int, int]:
    """Return a rational in 32 bits for each part."""
    if unknown_too and pair == (0, 0):
        return pair
    if pair[1] == 0:
        raise ValueError(f"{pair[0]}/0 is no number")
    least, most = (-(2**31), 2**31 - 1) if signed else (0, 2**32 - 1)
    if least <= pair[0] <= most and 0 < pair[1] <= most:
        return pair
    value = Fraction(*pair)
    if not least <= value <= most:
        raise ValueError(f"{float(value):g} is not from {least} to {most}")
    near = value.limit_denominator(max(1, int(2**31 / max(1, abs(value)))))
    return near.numerator, near.denominator


def _located(gps: dict[int, Field], notes: list[str]) -> dict[int, Field]:
    """Coordinates only with their hemisphere and inside the globe; with the version of the tags."""
    for name, (beside, letters, most) in COORDINATES.items():
        value, letter = ExifTags.GPS[name].value, ExifTags.GPS[beside].value
        if value not in gps and letter not in gps:
            continue
        said = gps[letter].data[:1].decode("latin-1").upper() if letter in gps else ""
        degrees = _degrees(gps[value]) if value in gps else None
        if said and said in letters and degrees is not None and degrees <= most:
            gps[letter] = Field.text(said)
            continue
        if degrees is not None:
            notes.append(f"{name} left out: {degrees:g} degrees {said or 'of no hemisphere'}")
        gps.pop(value, None)
        gps.pop(letter, None)
    for name, (beside, letters, most) in MEASURED.items():
        value, letter = ExifTags.GPS[name].value, ExifTags.GPS[beside].value
        said = gps[letter].data[:1].decode("latin-1").upper() if letter in gps else ""
        measured = struct.unpack("<2I", gps[value].data) if value in gps else None
        known = bool(said) and said in letters
        if measured and known and (most is None or measured[0] <= most * measured[1]):
            gps[letter] = Field.text(said)
            continue
        if measured:
            notes.append(f"{name} left out: {measured[0] / measured[1]:g} {said or 'of no unit'}")
        gps.pop(value, None)
        gps.pop(letter, None)
    if ExifTags.GPS.GPSAltitude not in gps:
        gps.pop(ExifTags.GPS.GPSAltitudeRef, None)
    if not gps:
        return {}
    return {**gps, ExifTags.GPS.GPSVersionID: Field.numbers(Kind.BYTE, 2, 3, 0, 0)}


def _filled(coordinate: Field) -> Field:
    """Return degrees and minutes with seconds of 0 where these are unknown or not given."""
    pairs = _pairs(coordinate)
    if coordinate.kind != Kind.RATIONAL or len(pairs) < 2 or (0, 0) in pairs[:2]:
        return coordinate
    seconds = pairs[2] if len(pairs) > 2 and pairs[2] != (0, 0) else (0, 1)
    return Field.numbers(Kind.RATIONAL, *pairs[:2], seconds)


def _degrees(coordinate: Field) -> float:
    parts = struct.iter_unpack("<2I", coordinate.data)
    return sum(num / den / scale for (num, den), scale in zip(parts, (1, 60, 3600), strict=True))
