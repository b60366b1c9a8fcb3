"""Finished photographs as files: JPEG, PNG and TIFF with colour profile and camera EXIF."""

import logging
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import exifread
import numpy as np
import tifffile
from exifread.utils import Ratio
from jaxtyping import UInt8, UInt16
from PIL import ExifTags, Image, TiffTags
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from isp_env.files import atomic_path
from isp_env.output_spaces import SRGB, OutputSpace

log = logging.getLogger(__name__)

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (".jpg", ".jpeg", ".png", *TIFF_SUFFIXES)
SOFTWARE = "attiqa"
DATE_TIME = re.compile(r"[0-9]{4}(:[0-9]{2}){2} [0-9]{2}(:[0-9]{2}){2}")

# What a rendering inherits from its RAW file. Orientation is not among it: the pixels are upright.
IMAGE_TAGS = ("Make", "Model", "DateTime", "Artist", "Copyright", "ImageDescription")
EXIF_TAGS = (
    *("ExposureTime", "FNumber", "ExposureProgram", "ISOSpeedRatings", "ExposureBiasValue"),
    *("DateTimeOriginal", "DateTimeDigitized", "OffsetTimeOriginal", "SubSecTimeOriginal"),
    *("MeteringMode", "Flash", "FocalLength", "FocalLengthIn35mmFilm", "LensMake", "LensModel"),
)
GPS_TAGS = (
    *("GPSLatitudeRef", "GPSLatitude", "GPSLongitudeRef", "GPSLongitude"),
    *("GPSAltitudeRef", "GPSAltitude", "GPSTimeStamp", "GPSDate"),
)
EXIF_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# exifread's spelling where it is not Pillow's
PILLOW_NAMES = {"FocalLengthIn35mmFilm": "FocalLengthIn35mmFilm", "GPSDate": "GPSDateStamp"}


def camera_exif(raw_path: Path | None) -> Image.Exif:
    """The camera's EXIF for a rendering of `raw_path`: Orientation 1, no thumbnail, no maker note.

    A file whose EXIF cannot be parsed gives an EXIF of our own two tags; that is logged.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Software] = SOFTWARE
    if raw_path is None:
        return exif
    try:
        with raw_path.open("rb") as file:
            found = exifread.process_file(file, details=False)
    except Exception as error:  # a parser of arbitrary bytes raises anything
        log.warning("%s: EXIF not carried over: %s", raw_path, error)
        return exif
    ifds = (
        (exif, "Image", IMAGE_TAGS, ExifTags.Base),
        (exif.get_ifd(ExifTags.IFD.Exif), "EXIF", EXIF_TAGS, ExifTags.Base),
        (exif.get_ifd(ExifTags.IFD.GPSInfo), "GPS", GPS_TAGS, ExifTags.GPS),
    )
    for ifd, group, names, codes in ifds:
        for name in names:
            tag = found.get(f"{group} {name}") or found.get(f"Image {name}")
            if tag is not None and (value := _pillow_value(tag.values)) is not None:
                ifd[codes[PILLOW_NAMES.get(name, name)]] = value
    return exif


def write_photograph(
    pixels: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"],
    path: Path,
    *,
    exif: Image.Exif | None = None,
    space: OutputSpace = SRGB,
    quality: int = 95,
) -> None:
    """Write finished pixels; the suffix chooses JPEG, PNG (8 bits) or TIFF (8 or 16).

    Args:
        pixels: Encoded RGB of `space`, upright.
        path: Where; the file appears whole or not at all.
        exif: Metadata to embed (`camera_exif`).
        space: Its profile is embedded.
        quality: JPEG quality, 1..100. Colour is kept at half the resolution below 98: at such
            qualities nobody sees it, and it takes 40 % less time.

    Raises:
        ValueError: The suffix is none of `SUFFIXES`, or it cannot hold 16 bits.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected one of {', '.join(SUFFIXES)}, got {suffix!r}")
    if pixels.dtype == np.uint16 and suffix not in TIFF_SUFFIXES:
        raise ValueError(f"{path}: 16 bits need one of {', '.join(TIFF_SUFFIXES)}")
    exif = _described(exif or camera_exif(None), pixels, space)
    with atomic_path(path) as temporary:
        if suffix in TIFF_SUFFIXES:
            _write_tiff(pixels, temporary, exif, space)
            return
        options: dict[str, Any] = {"icc_profile": space.icc_profile, "exif": exif}
        if suffix == ".png":
            Image.fromarray(pixels).save(temporary, "PNG", **options)
        else:
            options |= {"quality": quality, "subsampling": 0 if quality >= 98 else 2}
            Image.fromarray(pixels).save(temporary, "JPEG", **options)


def _described(exif: Image.Exif, pixels: np.ndarray, space: OutputSpace) -> Image.Exif:
    """With what EXIF says about the picture itself."""
    height, width, _ = pixels.shape
    ifd = exif.get_ifd(ExifTags.IFD.Exif)
    ifd[ExifTags.Base.ColorSpace] = 1 if space is SRGB else 65535  # sRGB, or uncalibrated
    ifd[ExifTags.Base.ExifImageWidth] = width
    ifd[ExifTags.Base.ExifImageHeight] = height
    return exif


def _write_tiff(pixels: np.ndarray, path: Path, exif: Image.Exif, space: OutputSpace) -> None:
    """TIFF, deflate with horizontal differencing."""
    text = [(code, _ascii(exif[code])) for code in (270, 271, 272, 315, 33432) if code in exif]
    date = str(exif.get(306, ""))
    directories = {code: ifd for code in EXIF_DIRECTORIES if (ifd := exif.get_ifd(code))}
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        byteorder="<",
        iccprofile=space.icc_profile,
        software=SOFTWARE,
        datetime=date if DATE_TIME.fullmatch(date) else None,  # tifffile refuses others
        metadata=None,
        extratags=[(code, "s", 0, value, True) for code, value in text],
    )
    if directories:
        _append_directories(path, directories)


def _ascii(value: Any) -> str:
    """Text as TIFF has it, in 7 bits; what is beyond becomes a question mark, as in a JPEG's."""
    return str(value).encode("ascii", "replace").decode()


def _append_directories(path: Path, directories: Mapping[ExifTags.IFD, Mapping[int, Any]]) -> None:
    """Add directories to a little-endian TIFF, and to its first one, which moves to the end.

    tifffile writes no EXIF, and Pillow no RGB of 16 bits.
    """
    with path.open("r+b") as file:
        (first,) = struct.unpack("<4xI", file.read(8))
        file.seek(first)
        (count,) = struct.unpack("<H", file.read(2))
        entries = [file.read(12) for _ in range(count)]
        for code, content in directories.items():
            directory = ImageFileDirectory_v2(group=code)
            for tag, value in content.items():
                directory[tag] = value
            place = _even_end(file)
            file.write(directory.tobytes(place))
            entries.append(struct.pack("<HHII", code, TiffTags.LONG, 1, place))
        place = _even_end(file)
        entries.sort(key=lambda entry: entry[1::-1])  # by code
        file.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
        file.seek(4)
        file.write(struct.pack("<I", place))


def _even_end(file: BinaryIO) -> int:
    """The end of a file, where a directory may begin."""
    if file.seek(0, os.SEEK_END) % 2:
        file.write(b"\0")
    return file.tell()


def _pillow_value(values: Any) -> Any:
    """A value of exifread as Pillow writes it; None where it is empty."""
    if isinstance(values, bytes):  # text that is not UTF-8
        values = values.decode("latin-1")
    if isinstance(values, str):
        return values.strip("\0 ") or None
    numbers = [
        IFDRational(v.num, v.den) if isinstance(v, Ratio) else v
        for v in values
        if not (isinstance(v, Ratio) and v.den == 0)
    ]
    if not numbers:
        return None
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
