"""Profiles of lenses from lensfun's database (lensfunpy), found by what the EXIF says.

A wrong profile bends a straight picture, so none is taken unless camera and lens are named without
a doubt: no similar name will do.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float64

from isp_env.develop.corrections import corrects_its_lens, optical_frame
from isp_env.develop.lens import FARTHEST, LensProfile, frame_filling_scale
from isp_env.errors import IspEnvError
from isp_env.raw import RawImage
from isp_env.raw.exif import Exif, read_exif

INFINITY = 1000.0  # metres: a subject as far as any
DEGREE = 8  # of the polynomials in a profile
FRAME = (4001, 6001)  # a picture that lensfun is asked for coordinates in; profiles have no size
# says what all lenses of a maker are, or what tells no two of them apart
DECORATION = {"asph", "digital", "ed", "mega", "nikkor", "ois", "pro", "zuiko"}
NOISE = {"f", "mm", "lens", "corporation", "imaging", "corp", "company", "ltd", "inc", "co"}
CONVERTER = re.compile(r"with|\+|macro|lens-to-subject", re.IGNORECASE)


class MissingLensfunError(IspEnvError):
    """Lens correction was asked for, and lensfunpy is not installed."""


class NoLensProfileError(IspEnvError):
    """No profile of the lens is known for certain; says why."""


def require_lensfun() -> ModuleType:
    """Return the module lensfunpy.

    Raises:
        MissingLensfunError: It is not installed.
    """
    try:
        import lensfunpy
    except ImportError as error:
        raise MissingLensfunError(
            'lens correction needs lensfunpy, which is not installed: pip install "attiqa[lens]"'
        ) from error
    return lensfunpy


def lens_correction(raw: RawImage) -> tuple[LensProfile | None, dict[str, object]]:
    """Return the profile of a picture's lens, and what a sidecar tells of it, or why there is none.

    Raises:
        MissingLensfunError: lensfunpy is not installed.
    """
    require_lensfun()
    try:
        if corrects_its_lens(raw):
            raise NoLensProfileError("the file corrects its lens itself")
        profile = find_profile(read_exif(raw.path) if raw.path else Exif(raw.make, raw.model))
        top, left, bottom, right = optical_frame(raw)
        try:
            scale = frame_filling_scale(profile, (bottom - top, right - left))
        except ValueError as error:
            raise NoLensProfileError(str(error)) from error
    except NoLensProfileError as error:
        return None, {"profile": None, "reason": str(error)}
    return profile, {**profile.description, "scale": round(scale, 6)}


def find_profile(exif: Exif) -> LensProfile:
    """Return the profile of the camera and lens that an EXIF names.

    Raises:
        MissingLensfunError: lensfunpy is not installed.
        NoLensProfileError: Something is not named, not known, or may be one of several.
    """
    lensfun = require_lensfun()
    camera = _camera(exif.make, exif.model)
    if exif.focal_length is None:
        raise NoLensProfileError("the EXIF has no focal length")
    focal = exif.focal_length
    lens = _lens(camera, exif)
    low, high = lens.min_focal, lens.max_focal
    if low and not low * 0.97 - 0.5 <= focal <= (high or low) * 1.03 + 0.5:
        raise NoLensProfileError(f"{lens.model} has {low:g} to {high:g} mm, the EXIF {focal:g} mm")
    told = exif.focal_range
    if low and told and not np.allclose(told, (low, high or low), rtol=0.05, atol=0.5):
        raise NoLensProfileError(
            f"{lens.model} has {low:g} to {high:g} mm, the EXIF's lens {told[0]:g} to {told[1]:g}"
        )
    distance = min(exif.subject_distance or INFINITY, INFINITY)
    ratios = _ratios(lensfun, lens, camera.crop_factor, focal)
    vignetting = None
    if exif.aperture is not None:
        vignetting = _vignetting(lens, camera.crop_factor, focal, exif.aperture, distance)
    corrections = [
        *(["distortion"] if lens.interpolate_distortion(focal) else []),
        *(["lateral chromatic aberration"] if lens.interpolate_tca(focal) else []),
        *(["vignetting"] if vignetting is not None else []),
    ]
    if not corrections:
        raise NoLensProfileError(f"{lens.model}: nothing is known at {focal:g} mm")
    description = {
        "profile": lens.model,
        "maker": lens.maker,
        "camera": camera.model,
        "focal_length": focal,
        "aperture": exif.aperture,
        "distance": exif.subject_distance,
        "corrections": corrections,
        "database": f"lensfunpy {version('lensfunpy')}",
    }
    return LensProfile(ratios, vignetting, description)


@cache
def _database() -> Any:
    # not what the system or the user has besides: pictures must not depend on the machine
    return require_lensfun().Database(load_common=False)


def _camera(make: str, model: str) -> Any:
    """Return the only camera of this name."""
    if not model:
        raise NoLensProfileError("the EXIF names no camera")
    found = {
        (x.crop_factor, x.mount): x
        for x in _database().find_cameras(make or None, model)
        if _words(x.model, x.maker, make) == _words(model, x.maker, make)
    }
    if len(found) != 1:
        number = "no" if not found else "more than one"
        raise NoLensProfileError(f"{number} camera named {f'{make} {model}'.strip()!r} is known")
    return next(iter(found.values()))


def _lens(camera: Any, exif: Exif) -> Any:
    """Return the only lens of this name that fits the camera, or the one that is built into it."""
    fitting = _database().find_lenses(camera)
    if camera.mount and camera.mount[0].islower():  # so lensfun marks cameras of one lens
        built_in = [x for x in fitting if not CONVERTER.search(x.model)]
        return _only(built_in, f"the lens of {camera.model}")
    if not exif.lens_model:
        raise NoLensProfileError("the EXIF names no lens")
    name = f"lens {exif.lens_model!r} for {camera.model}"

    def named(x: Any, without: Iterable[str]) -> bool:
        makers = (x.maker, exif.make, exif.lens_make)
        told = _words(exif.lens_model, *makers).difference(without)
        return told == _words(x.model, *makers).difference(without) and any(map(_is_number, told))

    exact = [x for x in fitting if named(x, ())]
    return _only(exact or [x for x in fitting if named(x, DECORATION)], name)


def _only(found: list[Any], name: str) -> Any:
    """Return the only one of them; profiles of one lens on several sensors: the largest sensor."""
    models = {(x.maker, x.model) for x in found}
    if len(models) != 1:
        number = "no profile" if not found else "more than one profile"
        raise NoLensProfileError(f"{number} of {name} is known")
    return min(found, key=lambda x: x.crop_factor)


def _words(name: str, *makers: str) -> frozenset[str]:
    """Words and numbers of a camera's or lens's name, without its maker's and what says nothing."""

    def split(text: str) -> Iterable[str]:
        for word in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", text.lower()):
            yield f"{float(word):g}" if _is_number(word) else word.removeprefix("mk") or word

    makers_words = {word for maker in makers for word in split(maker)}
    return frozenset(split(name)) - makers_words - NOISE


def _is_number(word: str) -> bool:
    return word[0].isdigit()


def _ratios(
    lensfun: ModuleType, lens: Any, crop_factor: float, focal: float
) -> Float64[np.ndarray, "3 n"] | None:
    """Return Recorded over true radius of each colour, as polynomials (`LensProfile.ratios`).

    lensfun says where each pixel on a line from the middle was recorded. Its square roots have
    twelve bits, which is a tenth of a pixel at the edges; the polynomials through all of them have
    not.
    """
    flags = lensfun.ModifyFlags.DISTORTION | lensfun.ModifyFlags.TCA
    height, width = FRAME
    modifier = lensfun.Modifier(lens, crop_factor, width, height)
    modifier.initialize(focal, 8.0, INFINITY, scale=1.0, flags=int(flags))
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    corner = float(np.hypot(x0, y0))
    count = int(FARTHEST * corner)
    line = modifier.apply_subpixel_geometry_distortion(x0, y0, count, 1)[0]  # radius, color, axis
    recorded = line[1:, :, 0].astype(np.float64) - x0
    radius = np.arange(1, count, dtype=np.float64)
    if not np.isfinite(recorded).all():
        raise NoLensProfileError(f"{lens.model}: coordinates that are not finite")
    if np.abs(recorded - radius[:, None]).max() < 0.01:
        return None
    fitted = np.polynomial.polynomial.polyfit(
        radius / corner, recorded / radius[:, None], DEGREE, w=radius
    )
    return np.ascontiguousarray(fitted.T)


def _vignetting(
    lens: Any, crop_factor: float, focal: float, aperture: float, distance: float
) -> Float64[np.ndarray, "3"] | None:
    """Return k1, k2, k3 for radii of this sensor; lensfun's are for those of the calibrated one."""
    found = lens.interpolate_vignetting(focal, aperture, distance)
    if found is None:
        return None
    ratio = lens.crop_factor / crop_factor
    return np.array(found.terms, np.float64) * ratio ** np.array([2, 4, 6])
