"""The tags of a DNG's full-resolution picture (tifffile). Tag numbers: DNG specification 1.7."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import tifffile
from jaxtyping import Float, UInt8

from isp_env.dng.color_matrices import calibration_of, matrix_and_neutral, rec709_by_forward_matrix
from isp_env.dng.opcodes import GainMap, parse_gain_maps
from isp_env.errors import RawFileError

log = logging.getLogger(__name__)

DNG_VERSION = 50706
LOSSLESS_JPEG = 7  # Compression (259)
LINEARIZATION_TABLE = 50712
BAYER = ([[0, 1], [1, 2]], [[1, 0], [2, 1]], [[1, 2], [0, 1]], [[2, 1], [1, 0]])
CFA, LINEAR_RAW = 32803, 34892  # PhotometricInterpretation (262)

# How many numbers a tag has for a camera of three colours; others are left out.
SIZES = {
    50719: ("DefaultCropOrigin", 2),
    50720: ("DefaultCropSize", 2),
    50721: ("ColorMatrix1", 9),
    50722: ("ColorMatrix2", 9),
    50723: ("CameraCalibration1", 9),
    50724: ("CameraCalibration2", 9),
    50727: ("AnalogBalance", 3),
    50728: ("AsShotNeutral", 3),
    50729: ("AsShotWhiteXY", 2),
    50964: ("ForwardMatrix1", 9),
    50965: ("ForwardMatrix2", 9),
}


@dataclass(frozen=True)
class JpegParts:
    """The strips or tiles of a mosaic that is stored as lossless JPEG, row by row."""

    offsets: tuple[int, ...]  # of each in the file
    sizes: tuple[int, ...]  # bytes
    shape: tuple[int, int]  # rows and columns of each
    is_tiled: bool  # tiles are padded beyond the edges; of strips, the last may have fewer rows
    is_plain: bool  # the samples are as they were coded: no table, no differences of before DNG 1.1


@dataclass(frozen=True)
class DngTags:
    """Tags of a DNG's full-resolution picture; None where the file does not say."""

    frame: tuple[int, int]  # height, width of the stored picture
    active_area: tuple[int, int, int, int] | None  # 50829: top, left, bottom, right
    black: Float[np.ndarray, "rows cols samples"] | None  # 50714, from the active area's corner
    black_rows: Float[np.ndarray, " h"] | None  # 50716, added to `black` in each row
    black_columns: Float[np.ndarray, " w"] | None  # 50715, in each column
    crop: tuple[int, int, int, int] | None  # 50719, 50720: top, left, bottom, right in the area
    camera_to_rec709: Float[np.ndarray, "3 3"] | None  # from 50964, 50965 at the as-shot white
    xyz_to_camera: Float[np.ndarray, "3 3"] | None  # 50721, 50722 at the as-shot white
    as_shot_neutral: Float[np.ndarray, "3"] | None  # 50728, or from 50729; G = 1
    noise_profile: tuple[float, float] | None  # 51041, mean of the planes
    baseline_exposure: float  # 50730, EV
    gain_maps: tuple[GainMap, ...]  # 51009
    white: float | None  # 50717, saturation level of the first sample
    cfa: UInt8[np.ndarray, "2 2"] | None  # 33422, from the active area's corner, if Bayer
    jpeg: JpegParts | None  # None where the picture is no mosaic or is stored otherwise
    left_out: tuple[str, ...]  # what the file says and cannot be used, and why


def read_dng_tags(path: Path) -> DngTags | None:
    """The tags of a DNG file, or None for any other kind of file.

    Raises:
        RawFileError: The file says it is a DNG, but its tags cannot be parsed or parts of its
            picture are missing.
    """
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    try:
        with tifffile.TiffFile(path) as tiff:
            first = tiff.pages.first
            return _parse_dng(first, path) if DNG_VERSION in first.tags else None
    except RawFileError:
        raise
    except Exception as error:  # a parser of arbitrary bytes raises anything
        reason = f"damaged DNG structure ({type(error).__name__}: {error})"
        raise RawFileError(path, reason) from error


def _parse_dng(first: tifffile.TiffPage, path: Path) -> DngTags:
    pages = [first, *(page.aspage() for page in first.pages or ())]
    raw_pages = [page for page in pages if page.photometric in (CFA, LINEAR_RAW)]
    if not raw_pages:
        raise RawFileError(path, "no picture with CFA or LinearRaw pixels in the DNG")
    page = max(raw_pages, key=lambda page: page.imagewidth * page.imagelength)
    # LibRaw leaves what it does not decode as it found it: another picture's memory
    parts = zip(page.dataoffsets, page.databytecounts, strict=True)
    present = sum(1 for offset, size in parts if offset and size)
    needed = math.prod(page.chunked)
    if present < needed:
        raise RawFileError(path, f"only {present} of {needed} parts of the picture are in it")
    tags = {tag.code: tag for tag in (*first.tags, *page.tags)}  # the picture's own tags win

    malformed: dict[int, str] = {}

    def values(code: int) -> np.ndarray | None:
        return None if code not in tags or code in malformed else _numbers(tags[code])

    for code, (name, size) in SIZES.items():
        if (numbers := values(code)) is not None and numbers.size != size:
            malformed[code] = f"{name} has {numbers.size} values, not {size}: left out"
        elif numbers is None and code in tags:
            malformed[code] = f"{name} is no number: left out"
    left_out = [*malformed.values()]
    calibration = calibration_of(values)
    matrix, neutral = matrix_and_neutral(calibration, values)
    area, noise, baseline = values(50829), values(51041), values(50730)
    if noise is not None and (noise.size % 2 or not noise.size):
        left_out.append(f"NoiseProfile has {noise.size} values, not two for each plane: left out")
        noise = None
    elif noise is not None and not np.all((noise >= 0) & (noise < 1)):
        left_out.append(f"NoiseProfile {noise.tolist()} is no noise of a sensor: left out")
        noise = None
    white = values(50717)
    to_rec709 = rec709_by_forward_matrix(calibration, matrix, neutral)
    if calibration.forward and to_rec709 is None:
        left_out.append("ForwardMatrix cannot be used: colours by ColorMatrix alone")
    if baseline is not None and not abs(baseline[0]) < 20:
        raise RawFileError(path, f"damaged DNG structure (BaselineExposure {baseline[0]:g} EV)")
    gain_maps = parse_gain_maps(tags[51009].value) if 51009 in tags else ()
    if any(m.top >= page.imagelength or m.left >= page.imagewidth for m in gain_maps):
        raise RawFileError(path, "damaged DNG structure (a gain map outside the picture)")
    return DngTags(
        frame=(page.imagelength, page.imagewidth),
        active_area=None if area is None else _rectangle(area),
        black=_black(values, page.samplesperpixel),
        black_rows=values(50716),
        black_columns=values(50715),
        crop=_crop(values),
        camera_to_rec709=to_rec709,
        xyz_to_camera=matrix,
        as_shot_neutral=neutral,
        noise_profile=None if noise is None else (noise[0::2].mean(), noise[1::2].mean()),
        baseline_exposure=0.0 if baseline is None else float(baseline[0]),
        gain_maps=gain_maps,
        white=None if white is None or not white.size else float(white[0]),
        cfa=_bayer(values),
        jpeg=_jpeg_parts(page, tags),
        left_out=tuple(left_out),
    )


def _rectangle(area: Float[np.ndarray, "4"]) -> tuple[int, int, int, int]:
    top, left, bottom, right = area.astype(int).tolist()
    return top, left, bottom, right


def _numbers(tag: tifffile.TiffTag) -> np.ndarray | None:
    """A numeric tag as float64 array; None where a rational has no value (0/0)."""
    value = list(tag.value) if isinstance(tag.value, bytes) else tag.value
    numbers = np.atleast_1d(np.array(value, np.float64))
    if tag.dtype in (tifffile.DATATYPE.RATIONAL, tifffile.DATATYPE.SRATIONAL):
        if numbers.size != 2 * tag.count:  # of more than 1,024, tifffile reads the first half only
            parent = cast(tifffile.TiffFile, tag.parent)
            file = parent.filehandle
            file.seek(tag.valueoffset)
            signed = tag.dtype == tifffile.DATATYPE.SRATIONAL
            kind = parent.byteorder + ("i4" if signed else "u4")
            numbers = np.frombuffer(file.read(8 * tag.count), kind).astype(np.float64)
        numerator, denominator = numbers.reshape(-1, 2).T
        numbers = None if np.any(denominator == 0) else numerator / denominator
    return numbers


def _black(
    values: Callable[[int], np.ndarray | None], samples: int
) -> Float[np.ndarray, "rows cols samples"] | None:
    """BlackLevel (50714) in its repeat pattern (50713)."""
    black = values(50714)
    if black is None:
        return None
    dim = values(50713)
    rows, cols = (1, 1) if dim is None else dim.astype(int)
    if not black.size:
        return None
    return black.reshape(rows, cols, samples)


def _bayer(values: Callable[[int], np.ndarray | None]) -> UInt8[np.ndarray, "2 2"] | None:
    """CFAPattern (33422) if it is 2x2 (33421) of red, green and blue in a rectangular layout."""
    size, pattern, planes, layout = (values(code) for code in (33421, 33422, 50710, 50711))
    if size is None or pattern is None or size.tolist() != [2, 2] or pattern.size != 4:
        return None
    usual = layout is None or layout.tolist() == [1]
    usual &= planes is None or planes.tolist() == [0, 1, 2]
    found = pattern.reshape(2, 2).astype(np.uint8)
    return found if usual and found.tolist() in BAYER else None


def _jpeg_parts(page: tifffile.TiffPage, tags: dict[int, tifffile.TiffTag]) -> JpegParts | None:
    if page.photometric != CFA or page.compression != LOSSLESS_JPEG or page.samplesperpixel != 1:
        return None
    version = tags[DNG_VERSION].value
    is_new = isinstance(version, (bytes, tuple)) and tuple(version) >= (1, 1)
    rows, columns = page.chunks
    offsets, sizes = (tuple(map(int, x)) for x in (page.dataoffsets, page.databytecounts))
    is_plain = is_new and LINEARIZATION_TABLE not in tags
    return JpegParts(offsets, sizes, (rows, columns), page.is_tiled, is_plain)


def _crop(
    values: Callable[[int], np.ndarray | None],
) -> tuple[int, int, int, int] | None:
    """DefaultCropOrigin (50719) and DefaultCropSize (50720), which say column before row."""
    origin, size = values(50719), values(50720)
    if origin is None or size is None:
        return None
    left, top = np.round(origin).astype(int).tolist()
    width, height = np.round(size).astype(int).tolist()
    return top, left, top + height, left + width
