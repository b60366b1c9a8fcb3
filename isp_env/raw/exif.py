"""The EXIF fields of a RAW file that a rendering needs (exifread)."""

import logging
from dataclasses import dataclass
from pathlib import Path

import exifread

log = logging.getLogger(__name__)

UNKNOWN_DISTANCE = 0xFFFFFFFF  # of a subject at infinity (EXIF 2.32, 4.6.6.7)
SIMULATED = "Simulated RAW"  # how the ImageDescription (270) of a simulated file begins


@dataclass(frozen=True)
class Exif:
    """The EXIF fields that a rendering needs; empty or None where the file does not say."""

    make: str = ""
    model: str = ""
    description: str = ""
    iso: float | None = None
    exposure_time: float | None = None  # seconds
    lens_make: str = ""
    lens_model: str = ""
    focal_length: float | None = None  # mm, not as if the film were 35 mm
    focal_range: tuple[float, float] | None = None  # mm, of the lens (LensSpecification)
    aperture: float | None = None  # f-number
    subject_distance: float | None = None  # metres; None also for "infinity"


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
        if name not in tags:
            return ""
        value = tags[name].values
        said = value.decode("latin-1") if isinstance(value, bytes) else str(tags[name])
        return said.strip("\0 ")

    def number(name: str) -> float | None:
        for group in ("EXIF", "Image"):
            try:
                value = float(tags[f"{group} {name}"].values[0])
            except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
                continue  # absent, or a rational like 0/0
            if value > 0:
                return value
        return None

    def focal_range() -> tuple[float, float] | None:
        try:
            low, high = (float(x) for x in tags["EXIF LensSpecification"].values[:2])
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        return (low, high) if 0 < low <= high else None

    distance = number("SubjectDistance")

    return Exif(
        make=text("Image Make"),
        model=text("Image Model"),
        description=text("Image ImageDescription"),
        iso=number("ISOSpeedRatings"),
        exposure_time=number("ExposureTime"),
        lens_make=text("EXIF LensMake"),
        lens_model=text("EXIF LensModel"),
        focal_length=number("FocalLength"),
        focal_range=focal_range(),
        aperture=number("FNumber"),
        subject_distance=distance if distance and distance < UNKNOWN_DISTANCE else None,
    )
