"""`RawImage` -> DNG file that LibRaw, dcraw and exiftool read. Tags: DNG specification 1.7."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile

from isp_env.dng.layout import CFA, LINEAR_RAW, LOSSLESS_JPEG
from isp_env.dng.lossless_jpeg import encode_mosaic
from isp_env.dng.opcode_lists import pack_gain_maps
from isp_env.dng.tags import DNG_VERSION
from isp_env.files import atomic_path
from isp_env.raw.exif import SIMULATED
from isp_env.raw.image import RawImage

SOFTWARE = "attiqa isp_env"
DESCRIPTION = f"{SIMULATED}: made from a photograph, not by a camera"
EXIF_IFD = 34665
EXIF_IFD_PLACE = 34664  # no tag of any standard; tifffile refuses to write 34665
D65 = 21  # EXIF LightSource

# tifffile's extratags: code, type, count, value, first page only
Tag = tuple[int, int | str, int, object, bool]


def write_dng(
    raw: RawImage, path: Path | str, compression: Literal["none", "lossless jpeg"] = "none"
) -> None:
    """Write the active area as a DNG 1.4; an existing file is replaced at once.

    A mosaic is written as CFA (2x2 or 6x6), anything else as LinearRaw. Files of simulated images
    say so in ImageDescription.

    Raises:
        ValueError: There are no pixels, or they are not uint16; they are to be compressed and are
            no mosaic of an even width; or opcodes of the demosaiced picture are not yet applied.
        OSError: The file cannot be written.
    """
    if raw.mosaic is not None:
        pixels, photometric = raw.mosaic, CFA
    elif raw.linear is not None:
        pixels, photometric = np.moveaxis(raw.linear, 0, 2), LINEAR_RAW
    else:
        raise ValueError("the image has neither a mosaic nor linear pixels")
    if raw.opcodes:
        raise ValueError("opcodes of list 3 are not written: apply them first")
    if pixels.dtype != np.uint16:
        raise ValueError(f"DNG pixels must be uint16, these are {pixels.dtype}")
    compressed = compression == "lossless jpeg"
    if compressed and photometric != CFA:
        raise ValueError("only a mosaic is written as lossless JPEG")
    segment = encode_mosaic(pixels) if compressed else b""
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            pixels[:2, :2] if compressed else pixels,  # a place for the segment, see below
            byteorder="<",
            photometric=photometric,
            planarconfig="contig" if photometric == LINEAR_RAW else None,
            description=DESCRIPTION if raw.simulated else None,
            software=SOFTWARE,
            metadata=None,
            extratags=_tags(raw, pixels),
        )
        if compressed:
            _replace_strip(temporary, pixels.shape[:2], segment)
        _append_exif(temporary, raw)


def _tags(raw: RawImage, pixels: np.ndarray) -> list[Tag]:
    make, model = (name.encode("ascii", "replace").decode() for name in (raw.make, raw.model))
    tags = [
        (271, "s", 0, make, True),
        (272, "s", 0, model, True),
        (274, "H", 1, raw.orientation, True),
        (EXIF_IFD_PLACE, "I", 1, 0, True),  # `_append_exif` makes it 34665
        (DNG_VERSION, "B", 4, (1, 4, 0, 0), True),
        (50707, "B", 4, (1, 3, 0, 0), True),  # DNGBackwardVersion: OpcodeList2 came with 1.3
        (50708, "s", 0, f"{make} {model}".strip() or "Unknown camera", True),  # UniqueCameraModel
        (50713, "H", 2, raw.black.shape if raw.mosaic is not None else (1, 1), True),
        _rational(50714, raw.black),  # BlackLevel in the repeat pattern of 50713
        (50717, "I", 1, round(raw.white), True),
        _rational(50721, raw.xyz_to_camera, signed=True),  # ColorMatrix1
        (50778, "H", 1, D65, True),  # CalibrationIlluminant1
        _rational(50728, raw.as_shot_neutral),
        _rational(50730, raw.baseline_exposure, signed=True),
        (50829, "I", 4, (0, 0, *pixels.shape[:2]), True),  # ActiveArea
    ]
    if raw.mosaic is not None and raw.cfa is not None:
        tags += [
            (33421, "H", 2, raw.cfa.shape, True),  # CFARepeatPatternDim
            (33422, "B", raw.cfa.size, tuple(raw.cfa.ravel().tolist()), True),  # CFAPattern
        ]
    top, left, bottom, right = raw.crop
    if (top, left, bottom, right) != (0, 0, *pixels.shape[:2]):
        tags += [
            (50719, "H", 2, (left, top), True),  # DefaultCropOrigin
            (50720, "H", 2, (right - left, bottom - top), True),  # DefaultCropSize
        ]
    for code, deltas in ((50715, raw.black_columns), (50716, raw.black_rows)):
        if deltas is not None:
            tags.append(_rational(code, deltas, signed=True))  # BlackLevelDeltaH, BlackLevelDeltaV
    if raw.noise_profile:
        tags.append((51041, "d", 2, raw.noise_profile, True))
    if raw.gain_maps:
        opcodes = pack_gain_maps(raw.gain_maps)
        tags.append((51009, 7, len(opcodes), opcodes, True))  # OpcodeList2
    return tags


def _rational(code: int, values: float | np.ndarray, *, signed: bool = False) -> Tag:
    """Return a (signed) rational tag, within 5e-7 for numbers below 2,000."""
    pairs = []
    for number in np.ravel(values).tolist():
        limit = int(2e9 / max(abs(number), 2000))  # numerator and denominator fit 32 bits
        pairs += Fraction(number).limit_denominator(limit).as_integer_ratio()
    return (code, "2i" if signed else "2I", len(pairs) // 2, tuple(pairs), True)


def _replace_strip(path: Path, shape: tuple[int, int], segment: bytes) -> None:
    """Put a lossless JPEG in the place of the only strip; tifffile does not encode them."""
    with path.open("r+b") as file:
        offset = file.seek(0, 2)
        file.write(segment + bytes(len(segment) % 2))
    numbers = {256: shape[1], 257: shape[0], 278: shape[0], 259: LOSSLESS_JPEG}
    numbers |= {273: offset, 279: len(segment)}  # StripOffsets, StripByteCounts
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for code, number in numbers.items():
            tiff.pages.first.tags[code].overwrite(number)


def _append_exif(path: Path, raw: RawImage) -> None:
    """Put ExposureTime (33434) and ISOSpeedRatings (34855) in an EXIF directory at the file's end.

    tifffile writes no EXIF directory, and LibRaw takes the ISO from nowhere else.
    """
    time = Fraction(raw.exposure_time or 0).limit_denominator(1_000_000)
    iso = round(raw.iso or 0)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[EXIF_IFD_PLACE].offset
    with path.open("r+b") as file:
        offset = file.seek(0, 2)
        offset += file.write(bytes(offset % 2))  # directories begin on an even byte
        time_offset = offset + 2 + 2 * 12 + 4  # after the count, two entries and the next offset
        file.write(struct.pack("<H", 2))
        file.write(struct.pack("<HHII", 33434, 5, 1, time_offset))  # RATIONAL
        file.write(struct.pack("<HHIHH", 34855, 3, 1, min(iso, 65535), 0))  # SHORT
        file.write(struct.pack("<III", 0, time.numerator, time.denominator))
        file.seek(place)
        file.write(struct.pack("<HHII", EXIF_IFD, 4, 1, offset))  # LONG
