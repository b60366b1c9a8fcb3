"""Finished photographs as files: JPEG, PNG and 16-bit TIFF with sRGB profile and camera EXIF."""

import logging
import struct
from pathlib import Path
from typing import Any

import exifread
import numpy as np
import tifffile
from exifread.utils import Ratio
from jaxtyping import Float
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

from isp_env.files import atomic_path

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".png", ".tif")
SOFTWARE = "attiqa"

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
# exifread's spelling where it is not Pillow's
PILLOW_NAMES = {"FocalLengthIn35mmFilm": "FocalLengthIn35mmFilm", "GPSDate": "GPSDateStamp"}


def srgb_profile() -> bytes:
    """An ICC profile of sRGB, the same bytes each time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # bytes 24..35 of the header (ICC.1:2022, 7.2)
    return profile[:24] + date + profile[36:]


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
    image: Float[Tensor, "3 h w"], path: Path, exif: Image.Exif | None = None, quality: int = 95
) -> None:
    """Write encoded sRGB in [0, 1]; the suffix chooses JPEG (8 bits), PNG (8) or TIFF (16).

    Args:
        image: The photograph, upright.
        path: Where; the file appears whole or not at all.
        exif: Metadata to embed (`camera_exif`); TIFF takes the camera's name and the date of it.
        quality: JPEG quality, 1..100.

    Raises:
        ValueError: The suffix is none of `SUFFIXES`.
    """
    exif = exif or camera_exif(None)
    pixels = image.detach().clamp(0, 1).permute(1, 2, 0).cpu()
    with atomic_path(path) as temporary:
        match path.suffix.lower():
            case ".jpg" | ".jpeg":
                picture = Image.fromarray((pixels * 255).round().byte().numpy())
                options = {"quality": quality, "icc_profile": srgb_profile(), "exif": exif}
                picture.save(temporary, "JPEG", **options)
            case ".png":
                picture = Image.fromarray((pixels * 255).round().byte().numpy())
                picture.save(temporary, "PNG", icc_profile=srgb_profile(), exif=exif)
            case ".tif" | ".tiff":
                deep = (pixels * 65535).round().numpy().astype(np.uint16)
                _write_tiff(deep, temporary, exif)
            case suffix:
                raise ValueError(f"{path}: expected one of {', '.join(SUFFIXES)}, got {suffix!r}")


def _write_tiff(pixels: np.ndarray, path: Path, exif: Image.Exif) -> None:
    """16-bit TIFF, deflate with horizontal differencing."""
    text = [(code, str(exif[code])) for code in (271, 272, 315, 33432) if code in exif]
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        iccprofile=srgb_profile(),
        software=SOFTWARE,
        datetime=str(exif[306]) if 306 in exif else None,
        metadata=None,
        extratags=[(code, "s", 0, value, True) for code, value in text],
    )


def _pillow_value(values: Any) -> Any:
    """A value of exifread as Pillow writes it; None where it is empty."""
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
