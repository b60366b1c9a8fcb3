"""Image files of every kind as 8-bit sRGB, upright: what a viewer would show.

| in the file | what is done |
|---|---|
| EXIF orientation | applied |
| grey, grey and alpha, palette, 1 bit, YCbCr, HSV | converted to RGB |
| alpha, transparent palette entry or colour | composed over white, as on a page |
| embedded ICC profile | converted to sRGB (relative colorimetric, black point compensation) |
| profile that is broken or of another colour space | ignored as in browsers, with a warning |
| CMYK | through its profile; without one by Pillow's plain formula |
| 16 bits per sample, PNG and TIFF | rounded to 8: `round(v / 257)`, neither clipped nor cut |
| floating point TIFF | values in [0, 1] are accepted |
| 32-bit integers, values outside [0, 1] | refused: their white is unknown |
| animation, several pages | the first frame |
| truncated or broken data | refused |
| more than 2 x `PIL.Image.MAX_IMAGE_PIXELS` (179 million) pixels | refused before decoding |

The last line is Pillow's guard against decompression bombs; whoever trusts larger files raises
Pillow's limit. Files are decoded whole: JPEG's cheaper decoding at half size (`Image.draft`) would
give a file another score than its pixels have.
"""

import logging
import struct
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageFile, ImageOps

from attiqa.errors import ImageFileError, ImageFormatError

logger = logging.getLogger(__name__)

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What decoders are known to raise on broken files."""

ORIENTATION = 0x0112  # tags of EXIF and TIFF
BITS_PER_SAMPLE = 0x0102
PLANAR_CONFIGURATION = 0x011C
STRIP = 256
TO_8_BIT = np.round(np.arange(65536) / 257).astype(np.uint8)


def read_photo(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as the table above says.

    Memory while decoding is about seven bytes per pixel: Pillow's four and the three returned.

    Raises:
        ImageFileError: The file is missing or refused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # half of our limit
            # Pillow maps a file that it knows by name, and mixes up the rows of a turned TIFF then.
            with path.open("rb") as file, Image.open(file) as image:
                return rgb_pixels(_sixteen_bits(path, image) or image, str(path))
    except DECODER_ERRORS as error:
        raise ImageFileError(f"{path}: cannot be read as an image: {error}") from error


def rgb_pixels(image: Image.Image, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    """Convert a PIL image as the table above says.

    Pillow itself opens 16-bit colour files with their upper eight bits; `read_photo` has all.

    Args:
        image: Of any mode.
        name: For the warning about a profile.

    Raises:
        ImageFormatError: Numbers whose white is unknown.
    """
    image.load()  # a TIFF turns itself while it is decoded, and then has no orientation any more
    profile = image.info.get("icc_profile")
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        image = _numbers_to_grey(image)
    colors, alpha = _split_alpha(image)
    if profile:
        colors = _to_srgb(colors, profile, name)
    if colors.mode != "RGB":
        colors = colors.convert("RGB")
    if alpha is not None:
        colors = Image.composite(colors, Image.new("RGB", colors.size, "white"), alpha)
    return _copy_pixels(colors)


def _copy_pixels(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Copy an RGB image in strips: at once, Pillow would hold three copies for a moment."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        pixels[top : top + STRIP] = np.asarray(strip)
    return pixels


def _numbers_to_grey(image: Image.Image) -> Image.Image:
    """Bring 16-bit and floating-point grey to 8 bits."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray(TO_8_BIT[values])
    if image.mode == "F" and values.min() >= 0 and values.max() <= 1:
        return Image.fromarray(np.round(values * 255).astype(np.uint8))
    raise ImageFormatError(
        f"expected 8 or 16 bits, or floats in [0, 1]; found {values.dtype} in "
        f"[{values.min():g}, {values.max():g}]"
    )


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Separate the colours, in a mode that profiles know, from the opacity."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode == "LA":
        image = image.getchannel("L")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGBA").convert("RGB") if alpha else image.convert("RGB")
    return image, alpha


def _to_srgb(image: Image.Image, profile: bytes, name: str) -> Image.Image:
    """Convert from an embedded profile to sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return image
        converted = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        logger.warning("%s: the embedded colour profile is ignored: %s", name, error)
        return image
    assert converted is not None  # it is None only when converting in place
    return converted


def _sixteen_bits(path: Path, image: ImageFile.ImageFile) -> Image.Image | None:
    """Round a file of 16 bits in several channels; None for any other file.

    Pillow keeps the upper byte of such samples. Told that the bytes are in the other order, it
    keeps the lower one; 16-bit grey and alpha are four bytes a pixel, like 8-bit RGBA.
    """
    if image.format == "TIFF" and _has_deep_planes(image):
        planes = tifffile.imread(path, key=0)[: len(image.getbands())]  # the rest is no colour
        bands = [Image.fromarray(TO_8_BIT[plane]) for plane in planes]
        return _labelled_as(Image.merge(image.mode, bands), image)
    raw = _raw_mode(image.tile[0].args) if image.tile else ""
    if image.format not in ("PNG", "TIFF") or not raw.startswith(("RGB", "LA")) or ";16" not in raw:
        return None
    channels, order = raw.split(";16")
    little = order == "L" or (order == "N" and sys.byteorder == "little")
    other = "RGBA" if channels == "LA" else f"{channels};16{'B' if little else 'L'}"
    with path.open("rb") as file, Image.open(file) as again:
        again.tile = [tile._replace(args=_with_raw_mode(tile.args, other)) for tile in again.tile]
        low = np.asarray(again)
    if channels == "LA":
        high, low = low[..., ::2], low[..., 1::2]
    else:
        high = np.asarray(image)
    return _labelled_as(Image.fromarray(TO_8_BIT[high.astype(np.uint16) << 8 | low]), image)


def _labelled_as(pixels: Image.Image, image: ImageFile.ImageFile) -> Image.Image:
    """Give pixels the orientation and the colour profile of the file that they are from."""
    pixels.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    pixels.info["icc_profile"] = image.info.get("icc_profile")
    return pixels


def _has_deep_planes(image: Image.Image) -> bool:
    """Whether a TIFF keeps 16-bit channels one after the other, which Pillow misreads."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(BITS_PER_SAMPLE, ())
    return tags.get(PLANAR_CONFIGURATION) == 2 and len(bits) > 1 and 16 in bits


def _raw_mode(arguments: str | tuple | None) -> str:
    """Find the layout of the bytes among the arguments of Pillow's decoder."""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_raw_mode(arguments: str | tuple | None, raw_mode: str) -> str | tuple:
    return (raw_mode, *arguments[1:]) if isinstance(arguments, tuple) else raw_mode
