"""Corrections of a lens, in camera RGB: the file's own opcodes, or a profile of the lens.

They come after demosaicing and before white balance, in light that is linear and not yet mixed by a
matrix, as the DNG specification has it for OpcodeList3. All that is downstream, full frames as well
as previews, then starts from the corrected picture.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby

import numpy as np
from jaxtyping import Float32

from isp_env.develop.compiled_rows import TILE, sensor_source
from isp_env.develop.lens import LensProfile, correct_in_place
from isp_env.develop.noise import noise_block
from isp_env.develop.warp import (
    composed,
    is_identity,
    warp_in_place,
    warp_source,
)
from isp_env.dng.apply_opcodes import apply_opcode, name_of
from isp_env.dng.opcodes import FixVignetteRadial, Listed, Opcode, TrimBounds, Warp
from isp_env.dng.radial_gain import fix_vignette_in_place
from isp_env.errors import RawFileError
from isp_env.raw import RawImage

log = logging.getLogger(__name__)


@dataclass
class _Picture:
    """A camera RGB picture while opcodes are applied to it.

    Attributes:
        rgb: Its pixels.
        area: Height and width that the opcodes see: also a last odd row or column.
        origin: Row and column of the active area that its first pixel is.
        notes: On what has been left out.
    """

    rgb: Float32[np.ndarray, "3 h w"]
    area: tuple[int, int]
    origin: tuple[int, int]
    notes: list[str]


def camera_rgb(raw: RawImage) -> Float32[np.ndarray, "3 h w"]:
    """Return red, green and blue as the camera sees them: 0 = black, 1 = white, not white-balanced.

    A mosaic is demosaiced, and loses a last odd row or column. Gain maps are applied and nothing is
    clipped again above 1; opcodes are not.

    Raises:
        ValueError: There is neither a Bayer mosaic nor a linear image.
    """
    source = sensor_source(raw)
    height, width = source.shape
    picture = np.empty((3, height, width), np.float32)
    for top in range(0, height, TILE):
        bottom = min(top + TILE, height)
        source.camera_rows(top, bottom, picture[:, top:bottom])
    return picture


def corrects_its_lens(raw: RawImage) -> bool:
    """Tell whether the file brings corrections of its lens: a warp, vignetting or lens shading."""
    of_a_lens = Warp | FixVignetteRadial
    return bool(raw.gain_maps) or any(isinstance(x.opcode, of_a_lens) for x in raw.opcodes)


def corrected(raw: RawImage, profile: LensProfile | None = None) -> RawImage:
    """Return the picture with its opcodes, and the profile of its lens, applied.

    What cannot be applied and may be left out is named in `fallbacks`.

    Args:
        raw: Sensor data.
        profile: Of the lens (`lens_database.lens_correction`).

    Returns:
        A linear image of float32 without opcodes, black 0 and white 1; `raw` where there is nothing
        to do. Its `cfa` is kept: it says how much noise the blocks of its pixels have.

    Raises:
        RawFileError: The file demands an opcode that cannot be applied.
        ValueError: The file corrects its lens itself, and a profile is given; or as above, of a
            picture without a path.
    """
    if profile is not None and corrects_its_lens(raw):
        raise ValueError(f"{raw.path}: a lens profile on top of the file's own correction")
    opcodes = [x for x in raw.opcodes if not (isinstance(x.opcode, Warp) and is_identity(x.opcode))]
    if not opcodes and profile is None:
        return replace(raw, opcodes=()) if raw.opcodes else raw
    picture = _Picture(camera_rgb(raw), _area(raw), (0, 0), [])
    _apply(picture, opcodes, raw)
    for note in picture.notes:
        log.warning("%s: %s", raw.path, note)
    if profile is not None:
        correct_in_place(picture.rgb, profile, optical_frame(raw))
    rgb = picture.rgb
    even = noise_block(raw)
    height, width = (side - side % even for side in rgb.shape[1:])
    top, left = picture.origin
    area_top, area_left, _, _ = raw.active_area
    return replace(
        raw,
        mosaic=None,
        linear=np.ascontiguousarray(rgb[:, :height, :width]),
        black=np.zeros(3, np.float32),
        black_rows=None,
        black_columns=None,
        white=1.0,
        gain_maps=(),
        opcodes=(),
        active_area=(
            *(area_top + top, area_left + left),
            *(area_top + top + height, area_left + left + width),
        ),
        crop=_moved(raw.crop, picture.origin, (height, width)),
        fallbacks=(*raw.fallbacks, *picture.notes),
    )


def optical_frame(raw: RawImage) -> tuple[int, int, int, int]:
    """Return the top, left, bottom, right of the picture that a lens profile is made for.

    That is the default crop. One much smaller than the area is a crop of the photographer's, in
    whose middle the lens is not.
    """
    top, left, bottom, right = raw.crop
    height, width = _area(raw)
    is_whole = bottom - top >= 0.9 * height and right - left >= 0.9 * width
    return raw.crop if is_whole else (0, 0, height, width)


def _apply(picture: _Picture, opcodes: Sequence[Listed], raw: RawImage) -> None:
    """Apply opcodes in their order; warps that follow each other are one."""
    for is_warp, group in groupby(opcodes, key=lambda x: isinstance(x.opcode, Warp)):
        sources, alike, demanded = [], True, []
        for opcode, is_optional in group:
            try:
                if isinstance(opcode, Warp):
                    sources.append(warp_source(opcode, picture.area))
                    alike &= len(opcode.coefficients) == 1
                    demanded += [] if is_optional else [name_of(opcode)]
                else:
                    _apply_one(picture, opcode)
            except ValueError as error:
                _leave_out(picture, name_of(opcode), is_optional, error, raw)
        if not (is_warp and sources):
            continue
        try:
            warp_in_place(picture.rgb, reduce(composed, sources), alike=alike)
        except ValueError as error:
            _leave_out(picture, demanded[0] if demanded else "warp", not demanded, error, raw)


def _apply_one(picture: _Picture, opcode: Opcode) -> None:
    """Apply an opcode that is no warp.

    Raises:
        ValueError: It cannot be applied.
    """
    if isinstance(opcode, FixVignetteRadial):
        fix_vignette_in_place(picture.rgb, opcode, picture.area)
    elif isinstance(opcode, TrimBounds):
        height, width = picture.area
        top, left, bottom, right = opcode.top, opcode.left, opcode.bottom, opcode.right
        if bottom > height or right > width:
            raise ValueError(f"bounds of {bottom}x{right} in {height}x{width} pixels")
        picture.rgb = picture.rgb[:, top:bottom, left:right]
        picture.area = bottom - top, right - left
        picture.origin = picture.origin[0] + top, picture.origin[1] + left
    else:
        picture.rgb = apply_opcode(picture.rgb, opcode)


def _leave_out(
    picture: _Picture, name: str, is_optional: bool, error: ValueError, raw: RawImage
) -> None:
    """Note an opcode that cannot be applied, or refuse the file that demands it."""
    if is_optional:
        picture.notes.append(f"{name}: left out ({error})")
        return
    reason = f"the file demands {name}, which cannot be applied ({error})"
    if raw.path is None:
        raise ValueError(reason) from error
    raise RawFileError(raw.path, reason) from error


def _moved(
    crop: tuple[int, int, int, int], origin: tuple[int, int], shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A crop in what is left of the active area; all of it, where they have nothing in common."""
    (top, bottom), (left, right) = (
        (min(max(first - start, 0), side), min(max(last - start, 0), side))
        for first, last, start, side in zip(crop[:2], crop[2:], origin, shape, strict=True)
    )
    return (top, left, bottom, right) if top < bottom and left < right else (0, 0, *shape)


def _area(raw: RawImage) -> tuple[int, int]:
    """Return the height and width of the active area."""
    samples = raw.linear if raw.mosaic is None else raw.mosaic
    assert samples is not None
    height, width = samples.shape[-2:]
    return height, width
