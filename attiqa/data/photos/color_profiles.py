"""Embedded ICC profiles: 8-bit colours to sRGB by Little CMS.

What a profile does decides, not what it is called: one whose transform moves no colour by more than
a level is sRGB, and its pixels are left alone.
"""

import logging
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from attiqa.data.photos.color_spaces import DegenerateError, icc_space

logger = logging.getLogger(__name__)

PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError)


def profile_to_srgb(image: Image.Image, profile: bytes, name: str) -> Image.Image:
    """Convert RGB, grey or CMYK of 8 bits; relative colorimetric, black point compensation.

    Returns:
        RGB, or the very image where the profile is sRGB's, or unusable: it is then ignored with a
        warning, as browsers do.
    """
    try:
        if image.mode == "RGB":
            _require_colors(profile)
        transform = _transform(profile, image.mode)
        return image if transform is None else _applied(transform, image)
    except PROFILE_ERRORS as error:
        logger.warning("%s: the embedded colour profile is ignored: %s", name, error)
        return image


def _require_colors(profile: bytes) -> None:
    """Refuse primaries on a line: Little CMS takes zeros, and makes all black."""
    try:
        icc_space(profile)
    except DegenerateError:
        raise
    except ValueError:
        return  # Little CMS reads more kinds of curves, or says what is wrong


@lru_cache(8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform of a mode to sRGB; None where it changes next to nothing."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "CMYK":
        return transform
    probe = _probe(mode)
    moved = np.abs(
        np.asarray(_applied(transform, probe), int) - np.asarray(probe.convert("RGB"), int)
    )
    return transform if moved.max() > 1 else None


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only when converting in place
    return converted


def _probe(mode: str) -> Image.Image:
    """Return all greys, and colours of the whole cube."""
    greys = np.arange(256, dtype=np.uint8)[None]
    if mode == "L":
        return Image.fromarray(greys)
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    return Image.fromarray(np.concatenate([np.repeat(greys[..., None], 3, axis=2), cube], axis=1))
