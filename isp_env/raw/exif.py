"""The EXIF fields of a RAW file that a rendering needs (exifread)."""

import logging
from dataclasses import dataclass
from pathlib import Path

import exifread

log = logging.getLogger(__name__)

SIMULATED = "Simulated RAW"  # how the ImageDescription (270) of a simulated file begins


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

    return Exif(
        make=text("Image Make"),
        model=text("Image Model"),
        description=text("Image ImageDescription"),
        iso=number("ISOSpeedRatings"),
        exposure_time=number("ExposureTime"),
    )
