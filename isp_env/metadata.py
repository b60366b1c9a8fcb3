"""What the file says beside its pixels: DNG tags (tifffile) and EXIF (exifread).

Tag numbers and formulas: DNG specification 1.7.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import exifread
import numpy as np
import tifffile
from jaxtyping import Float

from isp_env.errors import RawFileError
from isp_env.opcodes import GainMap, parse_gain_maps

log = logging.getLogger(__name__)

SIMULATED = "Simulated RAW"  # how the ImageDescription (270) of a simulated file begins

DNG_VERSION = 50706
CFA, LINEAR_RAW = 32803, 34892  # PhotometricInterpretation (262)

# Colour temperature in kelvin of EXIF LightSource codes, as in Adobe's DNG SDK.
ILLUMINANT_KELVIN = {
    **dict.fromkeys((3, 17), 2850.0),  # tungsten, standard light A
    24: 3200.0,  # ISO studio tungsten
    15: 3450.0,  # white fluorescent
    **dict.fromkeys((2, 14), 4150.0),  # fluorescent, cool white fluorescent
    23: 5000.0,  # D50
    13: 5050.0,  # day white fluorescent
    **dict.fromkeys((1, 4, 9, 18, 20), 5500.0),  # daylight, flash, fine weather, B, D55
    12: 6400.0,  # daylight fluorescent
    **dict.fromkeys((10, 19, 21), 6500.0),  # cloudy, C, D65
    **dict.fromkeys((11, 22), 7500.0),  # shade, D75
}
D50_XY = (0.3457, 0.3585)


@dataclass(frozen=True)
class DngTags:
    """Tags of a DNG's full-resolution picture; None where the file does not say."""

    frame: tuple[int, int]  # height, width of the stored picture
    active_area: tuple[int, int, int, int] | None  # 50829: top, left, bottom, right
    black: Float[np.ndarray, "rows cols samples"] | None  # 50714, from the active area's corner
    xyz_to_camera: Float[np.ndarray, "3 3"] | None  # 50721, 50722 at the as-shot white
    as_shot_neutral: Float[np.ndarray, "3"] | None  # 50728, or from 50729; G = 1
    noise_profile: tuple[float, float] | None  # 51041, mean of the planes
    baseline_exposure: float  # 50730, EV
    gain_maps: tuple[GainMap, ...]  # 51009


@dataclass(frozen=True)
class Exif:
    """The EXIF fields that a rendering needs; empty or None where the file does not say."""

    make: str = ""
    model: str = ""
    description: str = ""
    iso: float | None = None
    exposure_time: float | None = None  # seconds


def read_exif(path: Path) -> Exif:
    """EXIF of any RAW file; empty for a file whose EXIF cannot be parsed.

    LibRaw reads formats that exifread does not, so this never refuses a file.
    """
    try:
        with path.open("rb") as file:
            tags = exifread.process_file(file, details=False)
    except Exception as error:  # a parser of arbitrary bytes raises anything
        log.warning("%s: EXIF not readable: %s", path, error)
        return Exif()

    def text(name: str) -> str:
        return str(tags[name]).strip("\0 ") if name in tags else ""

    def number(name: str) -> float | None:
        for group in ("EXIF", "Image"):
            try:
                value = float(tags[f"{group} {name}"].values[0])
            except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
                continue  # absent, or a rational like 0/0
            if value > 0:
                return value
        return None

    return Exif(
        make=text("Image Make"),
        model=text("Image Model"),
        description=text("Image ImageDescription"),
        iso=number("ISOSpeedRatings"),
        exposure_time=number("ExposureTime"),
    )


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

    def values(code: int) -> np.ndarray | None:
        return _numbers(tags[code]) if code in tags else None

    matrix, neutral = _color(values)
    area, noise, baseline = values(50829), values(51041), values(50730)
    if noise is not None and not np.all((noise >= 0) & (noise < 1)):
        log.warning("%s: NoiseProfile %s is no noise of a sensor: left out", path, noise)
        noise = None
    if baseline is not None and not abs(baseline[0]) < 20:
        raise RawFileError(path, f"damaged DNG structure (BaselineExposure {baseline[0]:g} EV)")
    gain_maps = parse_gain_maps(tags[51009].value) if 51009 in tags else ()
    if any(m.top >= page.imagelength or m.left >= page.imagewidth for m in gain_maps):
        raise RawFileError(path, "damaged DNG structure (a gain map outside the picture)")
    return DngTags(
        frame=(page.imagelength, page.imagewidth),
        active_area=None if area is None else _rectangle(area),
        black=_black(values, page.samplesperpixel),
        xyz_to_camera=matrix,
        as_shot_neutral=neutral,
        noise_profile=None if noise is None else (noise[0::2].mean(), noise[1::2].mean()),
        baseline_exposure=0.0 if baseline is None else float(baseline[0]),
        gain_maps=gain_maps,
    )


def _rectangle(area: Float[np.ndarray, "4"]) -> tuple[int, int, int, int]:
    top, left, bottom, right = area.astype(int).tolist()
    return top, left, bottom, right


def _numbers(tag: tifffile.TiffTag) -> np.ndarray | None:
    """A numeric tag as float64 array; None where a rational has no value (0/0)."""
    numbers = np.atleast_1d(np.array(tag.value, np.float64))
    if tag.dtype in (tifffile.DATATYPE.RATIONAL, tifffile.DATATYPE.SRATIONAL):
        numerator, denominator = numbers.reshape(-1, 2).T
        numbers = None if np.any(denominator == 0) else numerator / denominator
    return numbers


def _black(
    values: Callable[[int], np.ndarray | None], samples: int
) -> Float[np.ndarray, "rows cols samples"] | None:
    """BlackLevel (50714) in its repeat pattern (50713), plus the mean of its deltas (50715/6)."""
    black = values(50714)
    if black is None:
        return None
    dim = values(50713)
    rows, cols = (1, 1) if dim is None else dim.astype(int)
    deltas = [delta.mean() for code in (50715, 50716) if (delta := values(code)) is not None]
    return black.reshape(rows, cols, samples) + sum(deltas)


def _color(
    values: Callable[[int], np.ndarray | None],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """XYZ-to-camera matrix at the as-shot white, and the as-shot neutral (G = 1)."""
    matrices = {}  # kelvin: AnalogBalance (50727) x CameraCalibration (50723/4) x ColorMatrix
    for matrix, calibration, illuminant in ((50721, 50723, 50778), (50722, 50724, 50779)):
        if (color := values(matrix)) is None or color.size != 9:
            continue
        color = color.reshape(3, 3)
        if (unit := values(calibration)) is not None:
            color = unit.reshape(3, 3) @ color
        if (balance := values(50727)) is not None:
            color = balance[:, None] * color
        light = values(illuminant)
        kelvin = ILLUMINANT_KELVIN.get(0 if light is None else int(light[0]), 6500.0)
        matrices.setdefault(kelvin, color)

    neutral, white_xy = values(50728), values(50729)
    if neutral is not None and np.all(neutral > 0) and neutral.size == 3:
        neutral = neutral / neutral[1]
        return (color_matrix_for_neutral(matrices, neutral) if matrices else None), neutral
    if white_xy is not None and matrices:
        matrix = interpolate_color_matrix(matrices, color_temperature(white_xy))
        neutral = matrix @ xy_to_xyz(white_xy)
        return matrix, neutral / neutral[1]
    return (interpolate_color_matrix(matrices, 6500.0) if matrices else None), None


def color_matrix_for_neutral(
    matrices: dict[float, np.ndarray], neutral: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """XYZ-to-camera matrix at the white whose camera RGB is `neutral`.

    White and matrix depend on each other: iterated from D50 to the fixed point (DNG specification,
    "Translating Camera Neutral Coordinates to White Balance xy Coordinates").
    """
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    xy = np.array(D50_XY)
    for _ in range(30):
        matrix = interpolate_color_matrix(matrices, color_temperature(xy))
        xyz = np.linalg.solve(matrix, neutral)
        xy = xyz[:2] / xyz.sum()
    return interpolate_color_matrix(matrices, color_temperature(xy))


def interpolate_color_matrix(
    matrices: dict[float, np.ndarray], kelvin: float
) -> Float[np.ndarray, "3 3"]:
    """The matrix at `kelvin`, linear in 1 / kelvin between one or two calibrated illuminants."""
    warm, cold = min(matrices), max(matrices)
    if warm == cold:
        return matrices[warm]
    share = (1 / kelvin - 1 / cold) / (1 / warm - 1 / cold)
    share = min(max(share, 0.0), 1.0)
    return share * matrices[warm] + (1 - share) * matrices[cold]


def color_temperature(xy: Float[np.ndarray, "2"]) -> float:
    """Correlated colour temperature in kelvin of a chromaticity (McCamy 1992)."""
    n = (xy[0] - 0.3320) / (0.1858 - xy[1])
    return float(np.clip(((449 * n + 3525) * n + 6823.3) * n + 5520.33, 1000, 40000))


def xy_to_xyz(xy: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3"]:
    """XYZ with Y = 1 of a chromaticity."""
    return np.array([xy[0], xy[1], 1 - xy.sum()]) / xy[1]
