"""The EXIF fields of a RAW file that a rendering needs."""

import struct
from dataclasses import dataclass
from pathlib import Path

from PIL.ExifTags import Base

from isp_env.raw.exif.camera import read_fields
from isp_env.raw.exif.fields import FORMATS, FRACTIONS, Directory, Field, Kind

MOST_SHORT = 65535
UNKNOWN_DISTANCE = 0xFFFFFFFF  # of a subject at infinity (EXIF 2.32, 4.6.6.7)
SENSITIVITIES = (
    *(Base.ISOSpeedRatings, Base.RecommendedExposureIndex),
    *(Base.ISOSpeed, Base.StandardOutputSensitivity),
)
MOST_APEX = 64  # beyond it is damage
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
    """Return the EXIF of any RAW file; empty where it has none that can be read."""
    found = read_fields(path)
    distance = _number(found.photo, Base.SubjectDistance)
    return Exif(
        make=_text(found.image, Base.Make),
        model=_text(found.image, Base.Model),
        description=_text(found.image, Base.ImageDescription),
        iso=_number(found.photo, *SENSITIVITIES),
        exposure_time=_number(found.photo, Base.ExposureTime)
        or _power(found.photo, Base.ShutterSpeedValue, -1.0),
        lens_make=_text(found.photo, Base.LensMake),
        lens_model=_text(found.photo, Base.LensModel),
        focal_length=_number(found.photo, Base.FocalLength),
        focal_range=_focal_range(found.photo),
        aperture=_number(found.photo, Base.FNumber) or _power(found.photo, Base.ApertureValue, 0.5),
        subject_distance=distance if distance and distance < UNKNOWN_DISTANCE else None,
    )


def _text(directory: Directory, tag: Base) -> str:
    return directory[tag].data.rstrip(b"\0").decode() if tag in directory else ""


def _number(directory: Directory, *tags: Base) -> float | None:
    """The first of these that is above 0; an ISO of 65535, "so much or more", if none says more."""
    found = [_numbers(directory[tag])[:1] for tag in tags if tag in directory]
    positive = [values[0] for values in found if values and values[0] > 0]
    return next((x for x in positive if x != MOST_SHORT), positive[0] if positive else None)


def _power(directory: Directory, tag: Base, factor: float) -> float | None:
    """Return 2 to the power of `factor` times an APEX value; None where there is none."""
    values = _numbers(directory[tag]) if tag in directory else []
    return 2.0 ** (factor * values[0]) if values and abs(values[0]) <= MOST_APEX else None


def _focal_range(directory: Directory) -> tuple[float, float] | None:
    field = directory.get(Base.LensSpecification)
    low, high, *_ = _numbers(field) if field else (0.0, 0.0)
    return (low, high) if 0 < low <= high else None


def _numbers(field: Field) -> list[float]:
    """Return numbers of a field; 0 for what is unknown."""
    if code := FRACTIONS.get(Kind(field.kind)):
        pairs = struct.iter_unpack(f"<2{code}", field.data)
        return [top / bottom if bottom else 0.0 for top, bottom in pairs]
    return [float(value) for (value,) in struct.iter_unpack(f"<{FORMATS[field.kind]}", field.data)]
