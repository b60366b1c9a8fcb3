"""Corrections of a lens, in camera RGB: the file's own opcodes, or a profile of the lens.

They come after demosaicing and before white balance, in light that is linear and not yet mixed by a
matrix, as the DNG specification has it for OpcodeList3. All that is downstream, full frames as well
as previews, then starts from the corrected picture.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import groupby

import numpy as np
from jaxtyping import Float32

from isp_env.develop.compiled_rows import TILE, sensor_source
from isp_env.develop.lens import LensProfile, correct_in_place
from isp_env.develop.lens_opcodes import FixVignetteRadial, Opcode
from isp_env.develop.warp import (
    Warp,
    composed,
    fix_vignette_in_place,
    is_identity,
    warp_in_place,
    warp_source,
)
from isp_env.errors import RawFileError
from isp_env.raw import RawImage

OF_A_LENS = Warp | FixVignetteRadial


def camera_rgb(raw: RawImage) -> Float32[np.ndarray, "3 h w"]:
    """Red, green and blue as the camera sees them: 0 = black, 1 = white, not white-balanced.

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
    """Whether the file brings a correction of its lens: a warp, or of vignetting or lens shading."""
    return bool(raw.gain_maps) or any(isinstance(x, OF_A_LENS) for x in raw.opcodes)


def corrected(raw: RawImage, profile: LensProfile | None = None) -> RawImage:
    """The picture with its opcodes, and the profile of its lens, applied.

    Args:
        raw: Sensor data.
        profile: Of the lens (`lens_correction.find_profile`).

    Returns:
        A linear image of float32 without opcodes, black 0 and white 1; `raw` where there is nothing
        to do. Its `cfa` is kept: it says how much noise the blocks of its pixels have.

    Raises:
        RawFileError: An opcode is damaged.
        ValueError: The same of a picture without a path; or the file corrects its lens itself, and
            a profile is given.
    """
    if profile is not None and corrects_its_lens(raw):
        raise ValueError(f"{raw.path}: a lens profile on top of the file's own correction")
    opcodes = [x for x in raw.opcodes if not (isinstance(x, Warp) and is_identity(x))]
    if not opcodes and profile is None:
        return replace(raw, opcodes=()) if raw.opcodes else raw
    picture = camera_rgb(raw)
    try:
        _apply(picture, opcodes, _area(raw))
    except ValueError as error:
        if raw.path is None:
            raise
        raise RawFileError(raw.path, f"damaged opcodes: {error}") from error
    if profile is not None:
        correct_in_place(picture, profile, optical_frame(raw))
    return replace(
        raw,
        mosaic=None,
        linear=picture,
        black=np.zeros(3, np.float32),
        black_rows=None,
        black_columns=None,
        white=1.0,
        gain_maps=(),
        opcodes=(),
    )


def optical_frame(raw: RawImage) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the picture that a lens profile is made for.

    That is the default crop. One much smaller than the area is a crop of the photographer's, in
    whose middle the lens is not.
    """
    top, left, bottom, right = raw.crop
    height, width = _area(raw)
    is_whole = bottom - top >= 0.9 * height and right - left >= 0.9 * width
    return raw.crop if is_whole else (0, 0, height, width)


def _apply(
    picture: Float32[np.ndarray, "3 h w"], opcodes: Sequence[Opcode], area: tuple[int, int]
) -> None:
    """Apply opcodes in their order; warps that follow each other are one."""
    for kind, group in groupby(opcodes, key=lambda x: isinstance(x, Warp)):
        if kind:
            warps = [x for x in group if isinstance(x, Warp)]
            source = reduce(composed, (warp_source(x, area) for x in warps))
            alike = all(len(x.coefficients) == 1 for x in warps)
            warp_in_place(picture, source, alike=alike)
            continue
        for opcode in group:
            if not isinstance(opcode, FixVignetteRadial):
                raise TypeError(f"{type(opcode).__name__} is no opcode of a lens")
            fix_vignette_in_place(picture, opcode, area)


def _area(raw: RawImage) -> tuple[int, int]:
    """Height and width of the active area."""
    samples = raw.linear if raw.mosaic is None else raw.mosaic
    assert samples is not None
    height, width = samples.shape[-2:]
    return height, width
