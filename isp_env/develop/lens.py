"""The profile of a lens, and its correction in a camera RGB picture.

Vignetting is corrected first, where it was recorded. Distortion and lateral chromatic aberration
are one warp, whose scale leaves no border without a picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from isp_env.develop.warp import SourceMap, warp_in_place
from isp_env.dng.radial_gain import shade_in_place

FARTHEST = 1.2  # radius up to which a profile's polynomials hold; 1 is a corner of the picture
SCALES = (0.85, 2.0)  # between which `frame_filling_scale` looks


@dataclass(frozen=True)
class LensProfile:
    """What a lens does to a picture at one focal length, aperture and distance.

    Radii are measured from the middle of the picture; 1 is the distance of a corner.

    Attributes:
        ratios: Of red, green and blue: recorded radius over true radius, as coefficients of a
            polynomial of the true radius; None where distortion and aberration are unknown.
        vignetting: k1, k2, k3 of the light that arrives, 1 + k1 r^2 + k2 r^4 + k3 r^6; None where
            it is unknown.
        description: What a sidecar tells of it.
    """

    ratios: Float64[np.ndarray, "3 n"] | None
    vignetting: Float64[np.ndarray, "3"] | None
    description: Mapping[str, object]


def correct_in_place(
    picture: Float32[np.ndarray, "3 h w"], profile: LensProfile, frame: tuple[int, int, int, int]
) -> None:
    """Correct vignetting, then distortion and lateral chromatic aberration in one resampling.

    Args:
        picture: Camera RGB, linear.
        profile: Of the lens.
        frame: Top, left, bottom, right of the picture that the profile is made for.

    Raises:
        ValueError: The profile lets no light through somewhere, or no scale fills the frame.
    """
    top, left, bottom, right = frame
    x0, y0 = (left + right - 1) / 2, (top + bottom - 1) / 2
    corner = float(np.hypot(right - left - 1, bottom - top - 1)) / 2
    if profile.vignetting is not None:
        _, height, width = picture.shape
        farthest = float(np.hypot(max(x0, width - 1 - x0), max(y0, height - 1 - y0)))
        light = np.polynomial.Polynomial([1.0, *profile.vignetting])

        def gain(squared: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
            return 1 / light(np.minimum(squared * (farthest / corner) ** 2, 1))

        shade_in_place(picture, (x0, y0), farthest, gain)
    if profile.ratios is not None:
        scale = frame_filling_scale(profile, (bottom - top, right - left))
        alike = bool((profile.ratios == profile.ratios[0]).all())
        warp_in_place(picture, _source(profile.ratios, x0, y0, corner, scale), alike=alike)


def frame_filling_scale(profile: LensProfile, shape: tuple[int, int]) -> float:
    """Return the smallest enlargement at which every pixel of a corrected frame has been recorded.

    Below 1 where the corrected picture would otherwise lose what lies at its edges.

    Args:
        profile: Of the lens.
        shape: Height and width of the frame.

    Raises:
        ValueError: None up to the double size is large enough.
    """
    if profile.ratios is None:
        return 1.0
    ratios = profile.ratios
    height, width = (side - 1 for side in shape)
    along, one = np.linspace(-0.5, 0.5, 129), np.full(129, 0.5)
    x = np.concatenate([along, along, one, -one]) * width
    y = np.concatenate([one, -one, along, along]) * height
    corner = float(np.hypot(height, width)) / 2

    def fills(scale: float) -> bool:
        source = _source(ratios, 0.0, 0.0, corner, scale)
        warped = np.abs([source(x, y, plane) for plane in range(3)])  # plane, axis, point
        return bool((warped[:, 0] <= width / 2).all() and (warped[:, 1] <= height / 2).all())

    low, high = SCALES
    if not fills(high):
        raise ValueError("a lens profile that leaves a border even at the double size")
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if fills(middle) else (middle, high)
    return high


def _source(
    ratios: Float64[np.ndarray, "3 n"], x0: float, y0: float, corner: float, scale: float
) -> SourceMap:
    """Locate where the pixels of the corrected picture were recorded."""

    def source(
        x: Float64[np.ndarray, "*n"], y: Float64[np.ndarray, "*n"], plane: int
    ) -> tuple[Float64[np.ndarray, "*n"], Float64[np.ndarray, "*n"]]:
        dx, dy = (x - x0) / scale, (y - y0) / scale
        radius = np.minimum(np.hypot(dx, dy) / corner, FARTHEST)
        ratio = np.polynomial.polynomial.polyval(radius, ratios[plane])
        return x0 + ratio * dx, y0 + ratio * dy

    return source
