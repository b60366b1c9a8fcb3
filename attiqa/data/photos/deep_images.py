"""Images of more than eight bits per sample: every bit, where Pillow keeps the upper eight.

Pillow decodes what it can; TIFF files whose layout it does not know or misreads (floating point in
colours, 16-bit planes, premultiplied 16-bit alpha, big-endian WhiteIsZero and others) are decoded
by tifffile. Samples come out as 16-bit codes: floating point in [0, 1] is brought to them, too.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float, UInt8, UInt16
from PIL import Image, ImageFile

from attiqa.data.photos.formats import open_photo
from attiqa.errors import ImageFileError, ImageFormatError

ORIENTATION = 0x0112  # tags of EXIF and TIFF
BITS_PER_SAMPLE = 0x0102
COMPRESSION = 0x0103
PHOTOMETRIC = 0x0106
PLANAR_CONFIGURATION = 0x011C
EXTRA_SAMPLES = 0x0152

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2  # of PhotometricInterpretation
PREMULTIPLIED, STRAIGHT = 1, 2  # of ExtraSamples

FULL = 65535
HALF_A_LEVEL = 0.5 / 255
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class DeepImage:
    """Samples of an image as they lie in the file.

    Attributes:
        colors: Grey or RGB, all 16 bits used.
        alpha: Opacity, not multiplied into the colours; None where all is opaque.
        profile: Embedded ICC profile.
        orientation: As in EXIF: how the samples are to be turned.
    """

    colors: UInt16[np.ndarray, "h w c"]
    alpha: UInt8[np.ndarray, "h w"] | None = None
    profile: bytes | None = None
    orientation: int = 1


def to_8_bit(samples: UInt16[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Round `v / 257`."""
    return _TO_8_BIT[samples]


_TO_8_BIT = np.round(np.arange(FULL + 1) / 257).astype(np.uint8)


def unit_to_16_bit(values: Float[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """Bring floating point to 16-bit codes.

    Raises:
        ImageFormatError: A value is not finite, or outside [0, 1] by more than rounding.
    """
    low, high = values.min(), values.max()
    if not (low >= -HALF_A_LEVEL and high <= 1 + HALF_A_LEVEL):
        raise ImageFormatError(
            f"expected 8 or 16 bits, or floats in [0, 1]; found {values.dtype} in "
            f"[{low:g}, {high:g}]"
        )
    return np.round(values.astype(np.float64).clip(0, 1) * FULL).astype(np.uint16)


def deep_grey(image: Image.Image) -> DeepImage:
    """Take 16-bit or floating-point grey from a decoded PIL image.

    Raises:
        ImageFormatError: Numbers whose white is unknown.
    """
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        codes = values.astype(np.uint16)
        bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
        if bits < 16:
            codes = (codes.astype(np.uint32) * FULL // (2**bits - 1)).astype(np.uint16)
    elif image.mode == "I" and image.format == "PPM":  # Pillow brings any white to 65535
        codes = values.astype(np.uint16)
    elif image.mode == "F":
        codes = unit_to_16_bit(values)
    else:
        raise ImageFormatError(
            f"expected 8 or 16 bits, or floats in [0, 1]; found {values.dtype} in "
            f"[{values.min():g}, {values.max():g}]"
        )
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        codes = FULL - codes
    transparent = image.info.get("transparency")
    return DeepImage(
        codes[..., None],
        None if transparent is None else _opaque_where(codes != transparent),
        image.info.get("icc_profile"),
        image.getexif().get(ORIENTATION, 1),
    )


def deep_colors(path: Path, image: ImageFile.ImageFile, number: int = 0) -> DeepImage | None:
    """Read a file of 16 bits in several channels that Pillow has opened; None for any other file.

    The image is at the page of that number.

    Pillow keeps the upper byte of such samples. Told that the bytes are in the other order, it
    keeps the lower one; 16-bit grey and alpha are four bytes a pixel, like 8-bit RGBA.

    Raises:
        ImageFileError: Its compression needs an extra.
    """
    if image.format == "TIFF" and _is_misread(image):
        return read_deep_tiff(path, number)
    raw = _raw_mode(image.tile[0].args) if image.tile else ""
    if image.format not in ("PNG", "TIFF") or not raw.startswith(("RGB", "LA")) or ";16" not in raw:
        return None
    channels, order = raw.split(";16")
    little = order == "L" or (order == "N" and sys.byteorder == "little")
    other = "RGBA" if channels == "LA" else f"{channels};16{'B' if little else 'L'}"
    with path.open("rb") as file, open_photo(file) as again:
        again.seek(number)
        again.tile = [tile._replace(args=_with_raw_mode(tile.args, other)) for tile in again.tile]
        low = np.asarray(again)
    if channels == "LA":
        high, low = low[..., ::2], low[..., 1::2]
    else:
        high = np.asarray(image)
    samples = high.astype(np.uint16) << 8 | low
    colors, alpha = samples, None
    if samples.shape[2] in (2, 4):
        colors, alpha = samples[..., :-1], to_8_bit(samples[..., -1])
    elif (transparent := image.info.get("transparency")) is not None:
        alpha = _opaque_where((colors != transparent).any(axis=2))
    orientation = image.getexif().get(ORIENTATION, 1)  # a TIFF is turned when it is decoded
    return DeepImage(colors, alpha, image.info.get("icc_profile"), orientation)


def is_tiff(path: Path) -> bool:
    """Tell whether a file begins as TIFF or BigTIFF files do."""
    with path.open("rb") as file:
        return file.read(4).startswith(TIFF_SIGNATURES)


def read_deep_tiff(path: Path, number: int = 0) -> DeepImage:
    """Read a page of a TIFF file whose layout Pillow does not know.

    Raises:
        ImageFileError: The compression is not known.
        ImageFormatError: Colours or numbers that have no known meaning.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages[number]
        assert isinstance(page, tifffile.TiffPage)  # a frame only where the caller asks for one
        _require_photograph(page)
        try:
            samples = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise ImageFileError(
                f"TIFF compression {page.compression} of {page.dtype} samples is not known to "
                "the imagecodecs that is installed: pip install --upgrade imagecodecs"
            ) from error
        profile = page.iccprofile
        orientation = page.tags.valueof(ORIENTATION, 1)
    planes = page.planarconfig == 2 and page.samplesperpixel > 1
    samples = samples.reshape((-1, page.imagelength, page.imagewidth)) if planes else samples
    samples = np.moveaxis(samples, 0, 2) if planes else samples
    samples = samples.reshape(page.imagelength, page.imagewidth, -1)
    return _divided(_codes(samples, page), page, profile, orientation)


def _require_photograph(page: tifffile.TiffPage) -> None:
    pixels, most = page.imagelength * page.imagewidth, Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > 2 * most:
        raise Image.DecompressionBombError(
            f"image size ({pixels} pixels) exceeds limit of {2 * most} pixels"
        )
    if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        raise ImageFormatError(
            f"TIFF colours {page.photometric!r} of {page.dtype} samples: expected grey or RGB; "
            "convert the file to 8 or 16-bit RGB"
        )


def _codes(samples: np.ndarray, page: tifffile.TiffPage) -> UInt16[np.ndarray, "h w c"]:
    """Bring samples of any type to 16-bit codes."""
    if samples.dtype.kind == "f":
        return unit_to_16_bit(samples)
    bits = page.bitspersample
    if samples.dtype.kind in "bu" and bits <= 16:
        if bits == 16:
            return samples.astype(np.uint16)
        return (samples.astype(np.uint32) * FULL // (2**bits - 1)).astype(np.uint16)
    raise ImageFormatError(
        f"expected 8 or 16 bits, or floats in [0, 1]; found {samples.dtype} in "
        f"[{samples.min():g}, {samples.max():g}]"
    )


def _divided(
    codes: UInt16[np.ndarray, "h w c"],
    page: tifffile.TiffPage,
    profile: bytes | None,
    orientation: int,
) -> DeepImage:
    """Separate the colours from the opacity and from other extra samples."""
    count = 3 if page.photometric == RGB else 1
    if codes.shape[2] < count:
        raise ImageFormatError(f"expected {count} samples per pixel, found {codes.shape[2]}")
    colors, extra = codes[..., :count], codes[..., count:]
    if page.photometric == WHITE_IS_ZERO:
        colors = FULL - colors
    kinds = list(page.extrasamples)
    if not kinds and extra.shape[2] == 1:
        kinds = [STRAIGHT]  # a fourth channel that is not explained is opacity, as Pillow has it
    for kind, plane in zip(kinds, np.moveaxis(extra, 2, 0), strict=False):
        if kind in (PREMULTIPLIED, STRAIGHT):
            if kind == PREMULTIPLIED:
                shares = np.maximum(plane, 1)[..., None].astype(np.float32) / FULL
                colors = np.round(np.minimum(colors / shares, FULL)).astype(np.uint16)
            return DeepImage(colors, to_8_bit(plane), profile, orientation)
    return DeepImage(colors, None, profile, orientation)


def _opaque_where(opaque: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return np.where(opaque, 255, 0).astype(np.uint8)


def _is_misread(image: Image.Image) -> bool:
    """Tell whether Pillow opens a deep TIFF, but decodes it to wrong numbers.

    These are 16-bit channels in planes or multiplied by their opacity, and compressed big-endian
    floating point: libtiff brings it to the machine's order, and Pillow swaps it again.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(BITS_PER_SAMPLE, (1,))
    planes = tags.get(PLANAR_CONFIGURATION) == 2 or PREMULTIPLIED in tags.get(EXTRA_SAMPLES, ())
    swapped = tags.prefix == b"MM" and tags.get(COMPRESSION, 1) != 1 and image.mode == "F"
    return (len(bits) > 1 and max(bits) > 8 and planes) or swapped


def _raw_mode(arguments: str | tuple | None) -> str:
    """Find the layout of the bytes among the arguments of Pillow's decoder."""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_raw_mode(arguments: str | tuple | None, raw_mode: str) -> str | tuple:
    return (raw_mode, *arguments[1:]) if isinstance(arguments, tuple) else raw_mode
