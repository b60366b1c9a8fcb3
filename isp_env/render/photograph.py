"""Finished photographs as files: JPEG, PNG and TIFF with colour profile and camera EXIF."""

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image
from PIL.ExifTags import Base

from isp_env.color.output_spaces import SRGB, OutputSpace
from isp_env.errors import IspEnvError
from isp_env.files import atomic_path
from isp_env.raw.exif import camera_exif
from isp_env.raw.exif.fields import JPEG_BYTES, CameraExif, Field, Kind

__all__ = ["SUFFIXES", "TIFF_SUFFIXES", "camera_exif", "encode_photograph", "write_photograph"]

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (".jpg", ".jpeg", ".png", *TIFF_SUFFIXES)
JPEG_SIDE = 65_500  # pixels, libjpeg's limit
EXIF_MARKER, ICC_MARKER = 0xE1, 0xE2  # APP1 and APP2 (T.81, B.2.4.6)
ICC_PART = 65_519  # bytes of a profile that an APP2 segment holds (ICC.1:2022, B.4)


class PictureTooLargeError(IspEnvError):
    """A format does not hold so many pixels."""


def write_photograph(
    pixels: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"],
    path: Path,
    *,
    exif: CameraExif | None = None,
    space: OutputSpace = SRGB,
    quality: int = 95,
) -> tuple[str, ...]:
    """Write finished pixels; the suffix chooses JPEG, PNG (8 bits) or TIFF (8 or 16).

    Args:
        pixels: Encoded RGB of `space`, upright.
        path: Where; the file appears whole or not at all.
        exif: Metadata to embed (`camera_exif`).
        space: Its profile is embedded.
        quality: JPEG quality, 1..100. Colour is kept at half the resolution below 98: at such
            qualities nobody sees it, and it takes 40 % less time.

    Returns:
        The notes of `exif`, and what of it the format does not hold.

    Raises:
        ValueError: The suffix is none of `SUFFIXES`, or it cannot hold 16 bits.
        PictureTooLargeError: JPEG does not hold so many pixels a side.
    """
    with atomic_path(path) as temporary:
        return encode_photograph(pixels, temporary, exif=exif, space=space, quality=quality)


def encode_photograph(
    pixels: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"],
    path: Path,
    *,
    exif: CameraExif | None = None,
    space: OutputSpace = SRGB,
    quality: int = 95,
) -> tuple[str, ...]:
    """Write finished pixels as `write_photograph` does, in place: a failure leaves a part."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected one of {', '.join(SUFFIXES)}, got {suffix!r}")
    if pixels.dtype == np.uint16 and suffix not in TIFF_SUFFIXES:
        raise ValueError(f"{path}: 16 bits need one of {', '.join(TIFF_SUFFIXES)}")
    exif = _described(exif or camera_exif(None), pixels, space)
    if suffix in TIFF_SUFFIXES:
        _write_tiff(pixels, path, exif, space)
        return exif.notes
    if suffix == ".png":
        image = Image.fromarray(pixels)
        image.save(path, "PNG", exif=exif.tobytes(), icc_profile=space.icc_profile)
        return exif.notes
    if max(pixels.shape) > JPEG_SIDE:
        told = f"a JPEG holds {JPEG_SIDE:,} pixels a side, not {max(pixels.shape):,}"
        raise PictureTooLargeError(f"{told}: choose another format, or a smaller size")
    exif = exif.within(JPEG_BYTES)
    _write_jpeg(pixels, path, exif, space, quality)
    return exif.notes


def _described(exif: CameraExif, pixels: np.ndarray, space: OutputSpace) -> CameraExif:
    """Add what EXIF says about the picture itself."""
    height, width, _ = pixels.shape
    own = {
        Base.ExifVersion: Field(Kind.UNDEFINED, 4, b"0232"),
        # sRGB, or uncalibrated
        Base.ColorSpace: Field.numbers(Kind.SHORT, 1 if space is SRGB else 65535),
        Base.ExifImageWidth: Field.numbers(Kind.LONG, width),
        Base.ExifImageHeight: Field.numbers(Kind.LONG, height),
    }
    return replace(exif, photo={**exif.photo, **own})


def _write_jpeg(
    pixels: UInt8[np.ndarray, "h w 3"],
    path: Path,
    exif: CameraExif,
    space: OutputSpace,
    quality: int,
) -> None:
    """Write baseline JPEG; Pillow would write the same bytes, by way of a copy with four channels.

    EXIF and the profile follow the segment that makes the file JFIF.
    """
    subsampling = "444" if quality >= 98 else "420"
    encoded = memoryview(imagecodecs.jpeg8_encode(pixels, quality, subsampling=subsampling))
    jfif = 4 + int.from_bytes(encoded[4:6], "big")  # SOI, APP0
    profile = space.icc_profile
    parts = [profile[start : start + ICC_PART] for start in range(0, len(profile), ICC_PART)]
    with path.open("wb") as file:
        file.write(encoded[:jfif])
        file.write(_segment(EXIF_MARKER, b"Exif\0\0" + exif.tobytes()))
        for number, part in enumerate(parts, start=1):
            head = b"ICC_PROFILE\0" + bytes((number, len(parts)))
            file.write(_segment(ICC_MARKER, head + part))
        file.write(encoded[jfif:])


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def _write_tiff(pixels: np.ndarray, path: Path, exif: CameraExif, space: OutputSpace) -> None:
    """Write TIFF, deflate with horizontal differencing."""
    import tifffile  # slow to import

    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        byteorder="<",
        iccprofile=space.icc_profile,
        software=False,
        metadata=None,
    )
    _add_exif(path, exif)


def _add_exif(path: Path, exif: CameraExif) -> None:
    """Add EXIF to a little-endian TIFF, whose first directory moves to the end.

    tifffile writes no EXIF and no text beyond ASCII, and Pillow no RGB of 16 bits.
    """
    with path.open("r+b") as file:
        (first,) = struct.unpack("<4xI", file.read(8))
        file.seek(first)
        (count,) = struct.unpack("<H", file.read(2))
        entries = struct.iter_unpack("<HHI4s", file.read(12 * count))
        fields = {tag: Field(kind, values, data) for tag, kind, values, data in entries}
        body, first = exif.laid_out(_even_end(file), fields)
        file.write(body)
        file.seek(4)
        file.write(struct.pack("<I", first))


def _even_end(file: BinaryIO) -> int:
    """Return the end of a file, where a directory may begin."""
    if file.seek(0, os.SEEK_END) % 2:
        file.write(b"\0")
    return file.tell()
