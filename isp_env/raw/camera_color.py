"""White balance and colour matrix of a decoded file, and what is assumed where it has none."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import rawpy
from jaxtyping import Float, Num, UInt8

from isp_env.color.output_spaces import D65_XYZ
from isp_env.color.rgb import XYZ_FROM_REC709, camera_to_rec709
from isp_env.dng.tags import DngTags
from isp_env.raw.libraw_linear import AS_IT_IS


def as_shot_neutral(
    libraw: Callable[[], rawpy.RawPy],
    tags: DngTags | None,
    image: Num[np.ndarray, "*shape"],
    cfa: UInt8[np.ndarray, "n n"] | None,
    black: Float[np.ndarray, "*channels"],
    white: float,
) -> tuple[Float[np.ndarray, "3"], str | None]:
    """Return camera RGB of grey (G = 1), and the assumption made where the file has none.

    The file's own white balance, else LibRaw's for daylight, else the mean of the picture. Gains
    that are all 1 stand for unknown ones, or for samples that the camera has balanced, as the Nikon
    D1 does: whichever of 1 and daylight the mean of the picture is nearer to.
    """
    if tags and tags.as_shot_neutral is not None and _is_plausible(tags.as_shot_neutral):
        return tags.as_shot_neutral, None
    if tags and tags.xyz_to_camera is not None and _is_usable(tags.xyz_to_camera):
        neutral = tags.xyz_to_camera @ D65_XYZ
        if np.all(neutral > 0) and _is_plausible(neutral := neutral / neutral[1]):
            return neutral, "no white balance in the file: daylight assumed"
    are_ones = False
    for (red, green, blue, _), note in _gains_of_libraw(libraw):
        if min(red, green, blue) <= 0 or red == green == blue:
            are_ones |= note is None and red > 0
            continue  # LibRaw fills gains that it does not know with 0 or 1
        neutral = np.array([green / red, 1.0, green / blue])
        if not _is_plausible(neutral):
            continue
        if note is None or not are_ones:
            return neutral, note
        means = _grey_world(image, cfa, black, white)
        to_ones, to_daylight = (np.abs(np.log(means / means[1] / n)).max() for n in (1, neutral))
        if to_daylight < to_ones:
            return neutral, note
        return np.ones(3), "white balance of 1 in the file: the samples are balanced already"
    if cfa is None and np.array_equal(image[0], image[1]) and np.array_equal(image[1], image[2]):
        return np.ones(3), None  # a sensor that sees no colours
    means = _grey_world(image, cfa, black, white)
    return means / means[1], "no white balance in the file: grey world assumed"


def xyz_to_camera(
    libraw: Callable[[], rawpy.RawPy], tags: DngTags | None
) -> tuple[Float[np.ndarray, "3 3"], str | None]:
    """XYZ-to-camera matrix, and the assumption made where the file has none that is usable."""
    if tags and tags.xyz_to_camera is not None and _is_usable(tags.xyz_to_camera):
        return tags.xyz_to_camera, None
    rec709_from_xyz = np.linalg.inv(XYZ_FROM_REC709)
    try:
        opened = libraw()
        candidates = [np.array(opened.rgb_xyz_matrix[:3], np.float64)]  # LibRaw's table, D65
        rec709_from_camera = np.array(opened.color_matrix[:, :3], np.float64)  # the maker's notes
        if np.linalg.det(rec709_from_camera):
            candidates.append(np.linalg.inv(rec709_from_camera) @ rec709_from_xyz)
        for matrix in candidates:
            if _is_usable(matrix):
                return matrix, None
        built_in = _rec709_from_camera_of_libraw(opened)
    except rawpy.LibRawError:  # of a DNG that is read without it
        built_in = None
    if built_in is not None and _is_usable(matrix := np.linalg.inv(built_in) @ rec709_from_xyz):
        return matrix, "no colour matrix in the file: LibRaw's for this camera taken"
    return rec709_from_xyz, "no colour matrix in the file: sRGB primaries assumed"


def _gains_of_libraw(
    libraw: Callable[[], rawpy.RawPy],
) -> Iterator[tuple[Sequence[float], str | None]]:
    """White balance that LibRaw found or knows, with the assumption that it stands for."""
    try:
        opened = libraw()
        yield opened.camera_whitebalance, None
        yield opened.daylight_whitebalance, "no white balance in the file: daylight assumed"
    except rawpy.LibRawError:  # of a DNG that is read without it
        return


def _is_usable(xyz_to_camera: Float[np.ndarray, "3 3"]) -> bool:
    try:
        camera_to_rec709(xyz_to_camera)
    except ValueError:  # zeros stand for an unknown matrix
        return False
    return True


def _rec709_from_camera_of_libraw(libraw: rawpy.RawPy) -> Float[np.ndarray, "3 3"] | None:
    """Return the matrix that LibRaw renders with, None where it knows none either.

    rawpy does not pass on what LibRaw's code holds for a few early cameras. So the picture is
    rendered with and without it, and the matrix is what leads from one to the other.
    """
    if libraw.raw_pattern is None or libraw.num_colors != 3:
        return None
    try:
        camera, rec709 = (
            libraw.postprocess(
                half_size=True,
                output_color=space,
                user_wb=[1, 1, 1, 1],
                **AS_IT_IS,
            ).reshape(-1, 3)
            for space in (rawpy.ColorSpace.raw, rawpy.ColorSpace.sRGB)
        )
    except rawpy.LibRawError:  # of damaged files; they are judged elsewhere
        return None
    inside = ((rec709 > 0) & (rec709 < 65535)).all(1)
    if np.array_equal(camera, rec709) or inside.sum() < 1000:
        return None
    found, _, rank, _ = np.linalg.lstsq(camera[inside], rec709[inside].astype(float), rcond=None)
    return found.T if rank == 3 and abs(np.linalg.det(found)) > 1e-3 else None


def _is_plausible(neutral: Float[np.ndarray, "3"]) -> bool:
    """Tell whether a light can look so to a sensor: each channel within 1/50 to 50 of green."""
    return bool(np.all((neutral > 0.02) & (neutral < 50)))


def _grey_world(
    image: Num[np.ndarray, "*shape"],
    cfa: UInt8[np.ndarray, "n n"] | None,
    black: Float[np.ndarray, "*channels"],
    white: float,
) -> Float[np.ndarray, "3"]:
    """Return the mean of each colour over its unclipped pixels, above black."""
    if cfa is None:
        samples = [image[color] - black[color] for color in range(3)]
        clip = white - black
    else:
        size = len(cfa)
        planes = {
            (r, c): image[r::size, c::size] - black[r, c] for r in range(size) for c in range(size)
        }
        samples = [
            np.concatenate([p.ravel() for at, p in planes.items() if cfa[at] == color])
            for color in range(3)
        ]
        clip = np.full(3, white - black.max())
    means = [
        unclipped.mean() if (unclipped := s[s < 0.95 * limit]).size else limit
        for s, limit in zip(samples, clip, strict=True)
    ]
    return np.maximum(np.array(means, np.float64), 1e-3 * white)
