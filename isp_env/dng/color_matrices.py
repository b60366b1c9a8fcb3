"""Colour of a DNG: the matrices of its calibration illuminants at the white of the shot.

Formulas: DNG specification 1.7, chapter 6, "Mapping Camera Color Space to CIE XYZ Space".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from isp_env.color.output_spaces import D50_FROM_D65
from isp_env.color.rgb import XYZ_FROM_REC709

# Colour temperature in kelvin of EXIF LightSource codes, as in Adobe's DNG SDK.
ILLUMINANT_KELVIN = {
    **dict.fromkeys((3, 17), 2850.0),  # tungsten, standard light A
    24: 3200.0,  # ISO studio tungsten
    15: 3450.0,  # white fluorescent
    **dict.fromkeys((2, 14), 4150.0),  # fluorescent, cool white fluorescent
    23: 5000.0,  # D50
    13: 5050.0,  # day white fluorescent
    **dict.fromkeys((1, 4, 9, 18, 20), 5500.0),  # daylight, flash, fine weather, B, D55
    12: 6400.0,  # daylight fluorescent
    **dict.fromkeys((10, 19, 21), 6500.0),  # cloudy, C, D65
    **dict.fromkeys((11, 22), 7500.0),  # shade, D75
}
D50_XY = (0.3457, 0.3585)


@dataclass(frozen=True)
class Calibration:
    """Colour matrices of a DNG by the temperature of their illuminants.

    Attributes:
        color: XYZ to camera RGB: AnalogBalance (50727) x CameraCalibration (50723/4) x ColorMatrix.
        reference: Reference camera to this camera: AnalogBalance x CameraCalibration.
        forward: White-balanced reference camera RGB to XYZ of D50: ForwardMatrix (50964/5).
    """

    color: dict[float, np.ndarray]
    reference: dict[float, np.ndarray]
    forward: dict[float, np.ndarray]


def calibration_of(
    values: Callable[[int], np.ndarray | None], is_calibrated: bool = True
) -> tuple[Calibration, list[str]]:
    """Read the matrices, and what is left out of them.

    Args:
        values: The numbers of a tag, or None.
        is_calibrated: Whether CameraCalibration is meant for the profile: its signature (50931) is
            that of the profile (50932).
    """
    found, notes = Calibration({}, {}, {}), list[str]()
    balance = values(50727)
    tags = ((50721, 50723, 50778, 50964), (50722, 50724, 50779, 50965))
    for number, (matrix, calibration, illuminant, forward) in enumerate(tags, 1):
        if (color := values(matrix)) is None:
            continue
        unit = values(calibration) if is_calibrated else None
        reference = np.eye(3) if unit is None else unit.reshape(3, 3)
        if balance is not None:
            reference = balance[:, None] * reference
        if not np.linalg.det(reference):
            notes.append(f"CameraCalibration{number} or AnalogBalance is singular: left out")
            reference = np.eye(3)
        light = values(illuminant)
        code = 0 if light is None or not light.size else int(light[0])
        kelvin = ILLUMINANT_KELVIN.get(code, 6500.0)
        if kelvin in found.color:
            notes.append(f"ColorMatrix{number} of illuminant {code}, {kelvin:g} K, is left out")
            continue
        found.color[kelvin] = reference @ color.reshape(3, 3)
        found.reference[kelvin] = reference
        if (to_xyz := values(forward)) is not None:
            found.forward[kelvin] = to_xyz.reshape(3, 3)
    return found, notes


def matrix_and_neutral(
    calibration: Calibration, values: Callable[[int], np.ndarray | None]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the XYZ-to-camera matrix at the as-shot white, and the as-shot neutral (G = 1)."""
    matrices = calibration.color
    neutral, white_xy = values(50728), values(50729)
    if neutral is not None and np.all(neutral > 0):
        neutral = neutral / neutral[1]
        return (color_matrix_for_neutral(matrices, neutral) if matrices else None), neutral
    if white_xy is not None and matrices and min(*white_xy, 1 - white_xy.sum()) > 0:
        matrix = interpolate_color_matrix(matrices, color_temperature(white_xy))
        neutral = matrix @ xy_to_xyz(white_xy)
        if np.all(neutral > 0):
            return matrix, neutral / neutral[1]
    return (interpolate_color_matrix(matrices, 6500.0) if matrices else None), None


def rec709_by_forward_matrix(
    calibration: Calibration, xyz_to_camera: np.ndarray | None, neutral: np.ndarray | None
) -> Float[np.ndarray, "3 3"] | None:
    """White-balanced camera RGB to linear Rec. 709 by the ForwardMatrix, None where there is none.

    DNG specification, "Mapping Camera Color Space to CIE XYZ Space": FM D (AB CC)^-1 goes from
    camera RGB to XYZ of D50, with D the inverse of the neutral in the reference camera.
    """
    if not calibration.forward or set(calibration.forward) != set(calibration.color):
        return None
    if neutral is None or xyz_to_camera is None:
        return None
    xyz = np.linalg.solve(xyz_to_camera, neutral)
    kelvin = color_temperature(xyz[:2] / xyz.sum())
    forward = interpolate_color_matrix(calibration.forward, kelvin)
    inverse = np.linalg.inv(interpolate_color_matrix(calibration.reference, kelvin))
    to_d50 = forward @ np.diag(1 / (inverse @ neutral)) @ inverse @ np.diag(neutral)
    to_rec709 = np.linalg.inv(D50_FROM_D65 @ XYZ_FROM_REC709) @ to_d50
    rows = to_rec709.sum(axis=1, keepdims=True)  # white stays white, whatever was rounded
    usable = np.all(np.isfinite(to_rec709)) and np.all(rows > 0.5) and np.all(rows < 2)
    return to_rec709 / rows if usable else None


def color_matrix_for_neutral(
    matrices: dict[float, np.ndarray], neutral: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Return the XYZ-to-camera matrix at the white whose camera RGB is `neutral`.

    White and matrix depend on each other: iterated from D50 to the fixed point (DNG specification,
    "Translating Camera Neutral Coordinates to White Balance xy Coordinates").
    """
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    xy = np.array(D50_XY)
    for _ in range(30):
        matrix = interpolate_color_matrix(matrices, color_temperature(xy))
        xyz = np.linalg.solve(matrix, neutral)
        xy = xyz[:2] / xyz.sum()
    return interpolate_color_matrix(matrices, color_temperature(xy))


def interpolate_color_matrix(
    matrices: dict[float, np.ndarray], kelvin: float
) -> Float[np.ndarray, "3 3"]:
    """The matrix at `kelvin`, linear in 1 / kelvin between one or two calibrated illuminants."""
    warm, cold = min(matrices), max(matrices)
    if warm == cold:
        return matrices[warm]
    share = (1 / kelvin - 1 / cold) / (1 / warm - 1 / cold)
    share = min(max(share, 0.0), 1.0)
    return share * matrices[warm] + (1 - share) * matrices[cold]


def color_temperature(xy: Float[np.ndarray, "2"]) -> float:
    """Return the correlated colour temperature in kelvin of a chromaticity (McCamy 1992)."""
    n = (xy[0] - 0.3320) / (0.1858 - xy[1])
    return float(np.clip(((449 * n + 3525) * n + 6823.3) * n + 5520.33, 1000, 40000))


def xy_to_xyz(xy: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3"]:
    """Return XYZ with Y = 1 of a chromaticity."""
    return np.array([xy[0], xy[1], 1 - xy.sum()]) / xy[1]
