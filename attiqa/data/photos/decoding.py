"""Image files of every kind as 8-bit sRGB, upright: what a viewer would show.

| in the file | what is done |
|---|---|
| EXIF orientation | applied |
| grey, grey and alpha, palette, 1 bit, YCbCr, HSV | converted to RGB |
| alpha, transparent palette entry or colour | composed over white, as on a page |
| embedded ICC profile | converted to sRGB (relative colorimetric, black point compensation) |
| colours that a PNG states by cICP, sRGB, gAMA, cHRM | converted to sRGB |
| AVIF and HEIC without a profile: code points (`nclx`) | converted to sRGB |
| gAMA within 2 % of 1/2.2 | sRGB's curve, as in browsers |
| a space that moves no colour by more than a level | sRGB: the pixels are left alone |
| profile that is broken or of another colour space | ignored as in browsers, with a warning |
| cHRM without colours, gAMA beyond 0.1 to 5 | that chunk is ignored, with a warning |
| PQ, HLG | refused: high dynamic range has no picture of standard range yet |
| CMYK | through its profile; without one by Pillow's plain formula |
| 16 bits per sample, PNG and TIFF | curves and primaries at 16 bits, then rounded to 8 |
| floating point TIFF of 16, 32 or 64 bits | values in [0, 1] are accepted, as 16 bits |
| WhiteIsZero | inverted |
| 32-bit integers, values outside [0, 1] | refused: their white is unknown |
| animation, several pages | the first frame |
| thumbnails and masks before the photograph in a TIFF | passed over |
| RAW: DNG, NEF and others that are laid out as TIFF | refused: to be developed first |
| truncated or broken data | refused |
| HEIC, JPEG XL | read with the extras `heif`, `jxl` |
| pipes, sockets, devices | refused before they are opened |
| more than 2 x `PIL.Image.MAX_IMAGE_PIXELS` (179 million) pixels | refused before decoding |

The last line is Pillow's guard against decompression bombs; whoever trusts larger files raises
Pillow's limit. Files are decoded whole: JPEG's cheaper decoding at half size (`Image.draft`) takes
means of 2 x 2 pixels, whose blur a model sees. The embedded one's scores of photographs of 9 and 12
megapixels change by up to 0.002, with four times its pixels left; with twice, by up to 0.008.
"""

import logging
import struct
import warnings
import zlib
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from attiqa.data.photos.code_points import CodePoints, code_points
from attiqa.data.photos.color_profiles import profile_to_srgb
from attiqa.data.photos.color_spaces import (
    Chromaticities,
    ColorSpace,
    code_point_space,
    icc_space,
    png_space,
)
from attiqa.data.photos.deep_images import (
    ORIENTATION,
    DeepImage,
    deep_colors,
    deep_grey,
    is_tiff,
    read_deep_tiff,
    to_8_bit,
)
from attiqa.data.photos.formats import open_photo, require_regular_file
from attiqa.data.photos.tiff_pages import photo_page
from attiqa.errors import ImageFileError

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
    ImageFileError,
)
"""What decoders are known to raise on broken files."""

STRIP = 256


def read_photo(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as the table above says.

    Memory while decoding is about seven bytes per pixel: Pillow's four and the three returned.

    Raises:
        ImageFileError: The file is missing or refused.
    """
    require_regular_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # half of our limit
            return _read(path)
    except DECODER_ERRORS as error:
        raise ImageFileError(f"{path}: cannot be read as an image: {error}") from error


def _read(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    # Pillow maps a file that it knows by name, and mixes up the rows of a turned TIFF then.
    with path.open("rb") as file:
        points = code_points(file)
        try:
            image = open_photo(file)
        except UnidentifiedImageError:
            if not is_tiff(path):
                raise
            return _deep_pixels(read_deep_tiff(path, photo_page(path)), None, str(path))
        with image:
            number = photo_page(path) if image.format == "TIFF" else 0
            if number:
                image.seek(number)
            deep = deep_colors(path, image, number)
            if deep is not None:
                return _deep_pixels(deep, _declared_space(image, points, str(path)), str(path))
            return _pixels(image, points, str(path))


def rgb_pixels(image: Image.Image, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    """Convert a PIL image as the table above says.

    Pillow itself opens 16-bit colour files with their upper eight bits, and knows no code points;
    `read_photo` has all.

    Args:
        image: Of any mode.
        name: For the warning about a profile.

    Raises:
        ImageFormatError: Numbers whose white is unknown.
    """
    return _pixels(image, None, name)


def _pixels(image: Image.Image, points: CodePoints | None, name: str) -> UInt8[np.ndarray, "h w 3"]:
    image.load()  # a TIFF turns itself while it is decoded, and then has no orientation any more
    space = _declared_space(image, points, name)
    if image.mode[0] in "IF":
        return _deep_pixels(deep_grey(image), space, name)
    profile = image.info.get("icc_profile")
    if image.getexif().get(ORIENTATION, 1) != 1 and not _decoded_upright(image):
        image = ImageOps.exif_transpose(image)
    colors, alpha = _split_alpha(image)
    if space is None and profile and colors.mode == "L":  # Little CMS resamples curves of grey
        space = _profile_space(profile, channels=1)
    if space is not None and colors.mode in ("L", "RGB"):
        if not space.is_srgb:
            samples = np.asarray(colors)
            colors = Image.fromarray(space.convert(samples.reshape(*samples.shape[:2], -1)))
    elif profile:
        colors = profile_to_srgb(colors, profile, name)
    return _composed(colors, alpha)


def _deep_pixels(
    deep: DeepImage, space: ColorSpace | None, name: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Convert colours at 16 bits where curves and primaries describe them, else at 8."""
    channels = deep.colors.shape[2]
    profile = deep.profile
    if space is None and profile:
        space = _profile_space(profile, channels)
        profile = None if space else profile
    if space is None or space.is_srgb:
        colors = Image.fromarray(to_8_bit(deep.colors).squeeze(2 if channels == 1 else ()))
    else:
        colors, profile = Image.fromarray(space.convert(deep.colors)), None
    if space is None and profile:
        colors = profile_to_srgb(colors, profile, name)
    alpha = None if deep.alpha is None else Image.fromarray(deep.alpha)
    if deep.orientation != 1:
        colors, alpha = (
            _turned(colors, deep.orientation),
            alpha and _turned(alpha, deep.orientation),
        )
    return _composed(colors, alpha)


def _profile_space(profile: bytes, channels: int) -> ColorSpace | None:
    """Read a profile as curves and primaries, where it is that and fits the image."""
    try:
        space = icc_space(profile)
    except ValueError:
        return None  # `profile_to_srgb` says what is wrong with it
    return space if space is not None and len(space.linear) == channels else None


def _declared_space(image: Image.Image, points: CodePoints | None, name: str) -> ColorSpace | None:
    """Find the colour space that a file states in other words than by a profile.

    In a PNG, cICP comes before a profile, a profile before sRGB, sRGB before gAMA and cHRM (PNG
    specification, third edition, table 13). None where the profile decides, or nothing is stated.

    Raises:
        ImageFormatError: High dynamic range, or code points that are unknown.
    """
    profile = image.info.get("icc_profile")  # Pillow has None where a chunk is broken
    if points and not (profile and image.format != "PNG"):
        return code_point_space(*points)
    if profile or "srgb" in image.info:
        return None
    if "icc_profile" in image.info:
        logger.warning("%s: the embedded colour profile is ignored: it is broken", name)
    gamma, chromaticities = image.info.get("gamma"), image.info.get("chromaticity")
    if chromaticities is not None:
        chromaticities = cast(Chromaticities, tuple(map(float, chromaticities)))
    if gamma is not None:
        gamma = gamma if _is_usable(gamma, None, name) else None
    if chromaticities is not None:
        chromaticities = chromaticities if _is_usable(None, chromaticities, name) else None
    if gamma is None and chromaticities is None:
        return None
    return png_space(gamma, chromaticities)


def _is_usable(gamma: float | None, chromaticities: Chromaticities | None, name: str) -> bool:
    """Tell whether colours can be as one chunk of a PNG states; a warning where not."""
    try:
        png_space(gamma, chromaticities)
    except ValueError as error:
        logger.warning("%s: the colours that the file states are ignored: %s", name, error)
        return False
    return True


def _decoded_upright(image: Image.Image) -> bool:
    """Tell whether EXIF's orientation is void: JPEG XL has its own (ISO/IEC 18181-2, annex A).

    A JPEG that was packed into JPEG XL is unpacked as a JPEG, which is turned by its EXIF.
    """
    return image.format == "JXL" and not getattr(image, "jpeg", False)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _composed(colors: Image.Image, alpha: Image.Image | None) -> UInt8[np.ndarray, "h w 3"]:
    """Lay colours over white."""
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


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Separate the colours, in a mode that profiles know, from the opacity."""
    if image.mode == "La":
        image = image.convert("LA")
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode == "LA":
        image = image.getchannel("L")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGBA").convert("RGB") if alpha else image.convert("RGB")
    return image, alpha
