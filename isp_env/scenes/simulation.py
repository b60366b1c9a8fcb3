"""Photograph -> simulated `RawImage` with known truth: the inverse of the ISP, then a sensor.

After Brooks et al. 2019, "Unprocessing Images for Learned Raw Denoising", section 3, with this
package's own neutral curve and colour matrix in place of theirs, so that a perfect development of a
correctly exposed simulation returns the photograph.

Their highlight-preserving inversion of the gains (equation 5) is left out on purpose: it lets a
network see saturated highlights, at the price of brightening everything between 0.9 and 1. Here
white stays white without it: the smallest gain of development is 1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from isp_env.color.rgb import camera_to_rec709
from isp_env.isp.stages.tone import inverse_neutral_tone
from isp_env.raw import RawImage

RGGB = ((0, 1), (1, 2))
GRBG = ((1, 0), (2, 1))
GBRG = ((1, 2), (0, 1))
BGGR = ((2, 1), (1, 0))
X_TRANS = (
    (1, 1, 0, 1, 1, 2),
    (1, 1, 2, 1, 1, 0),
    (2, 0, 1, 0, 2, 1),
    (1, 1, 2, 1, 1, 0),
    (1, 1, 0, 1, 1, 2),
    (0, 2, 1, 2, 0, 1),
)

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class CameraModel:
    """A sensor and its colour response."""

    name: str
    xyz_to_camera: tuple[Triple, Triple, Triple]  # DNG ColorMatrix, D65
    neutral: Triple = (0.5, 1.0, 0.65)  # camera RGB of grey in the light of the scene, G = 1
    cfa: tuple[tuple[int, ...], ...] = RGGB  # 0 R, 1 G, 2 B; 2x2 or 6x6
    black: tuple[int, int, int] = (600, 600, 600)  # R, G, B, in raw units
    white: int = 15520  # saturation level, in raw units
    shot_noise: float = 1e-4  # S at ISO 100: variance = S x + O of x in [0, 1]; a phone's


@dataclass(frozen=True)
class Capture:
    """How one picture was taken, and what went wrong."""

    iso: int = 100
    exposure_error: float = 0.0  # EV; positive is overexposed
    white_balance_error: tuple[float, float] = (0.0, 0.0)  # EV, red and blue of AsShotNeutral
    veil: float = 0.0  # share of the light that is haze or flare, even over the picture; 0..1
    orientation: int = 1  # EXIF: how the camera was held


def simulate(
    photo: Float[np.ndarray, "3 h w"],
    camera: CameraModel,
    capture: Capture,
    rng: np.random.Generator,
) -> tuple[RawImage, Float[np.ndarray, "3 h w"]]:
    """Compute the samples that `camera` would record of the scene in a photograph.

    Args:
        photo: Upright, encoded sRGB in [0, 1].
        camera: The sensor.
        capture: The settings and their errors.
        rng: Source of the noise.

    Returns:
        The sensor's data (uint16), and the truth: the photograph as float32 display RGB, which a
        development that undoes every error returns.
    """
    # inverse ISP: tone curve, colour matrix, white balance gains
    scene = inverse_neutral_tone(torch.from_numpy(photo.astype(np.float64))).numpy()
    scene = (1 - capture.veil) * scene + capture.veil
    matrix = np.linalg.inv(camera_to_rec709(np.array(camera.xyz_to_camera)))
    neutral = np.array(camera.neutral) / camera.neutral[1]
    response = neutral / neutral.max()  # the inverse of gains whose smallest is 1
    signal = np.einsum("ij,jhw->ihw", response[:, None] * matrix, scene)
    signal = _as_held(signal * 2.0**capture.exposure_error, capture.orientation)

    # sensor: mosaic, saturation, noise, quantisation
    height, width = signal.shape[1:]
    cfa = np.array(camera.cfa, np.uint8)
    color = np.tile(cfa, (height // len(cfa) + 1, width // len(cfa) + 1))[:height, :width]
    mosaic = np.take_along_axis(signal, color[None], axis=0)[0].clip(0, 1)
    shot, read = noise_at(camera, capture.iso)
    mosaic = mosaic + rng.normal(size=mosaic.shape) * np.sqrt(shot * mosaic + read)
    black = np.array(camera.black)
    levels = black[color] + mosaic * (camera.white - black[color])

    red, blue = capture.white_balance_error
    raw = RawImage(
        mosaic=levels.round().clip(0, camera.white).astype(np.uint16),
        linear=None,
        cfa=cfa,
        black=black[cfa].astype(np.float32),
        black_rows=None,
        black_columns=None,
        white=float(camera.white),
        as_shot_neutral=neutral * 2.0 ** np.array([red, 0, blue]),
        xyz_to_camera=np.array(camera.xyz_to_camera),
        camera_to_rec709=camera_to_rec709(np.array(camera.xyz_to_camera)),
        noise_profile=(shot, read),
        baseline_exposure=0.0,
        gain_maps=(),
        orientation=capture.orientation,
        iso=float(capture.iso),
        exposure_time=2.0**capture.exposure_error / 125,
        active_area=(0, 0, height, width),
        crop=(0, 0, height, width),
        make="Simulated",
        model=camera.name,
        path=None,
        simulated=True,
        fallbacks=(),
    )
    return raw, photo.astype(np.float32)


def noise_at(camera: CameraModel, iso: int) -> tuple[float, float]:
    """Return shot and read term (S, O) of the variance S x + O of a signal x in [0, 1].

    S grows with the gain; O follows the line that Brooks et al. 2019 fit to real cameras
    (equation 2): log O = 2.18 log S + 1.20.
    """
    shot = camera.shot_noise * iso / 100
    return shot, math.exp(1.20) * shot**2.18


def _as_held(
    upright: Float[np.ndarray, "3 h w"], orientation: int
) -> Float[np.ndarray, "3 rows cols"]:
    """Return the picture as a sensor sees it that EXIF `orientation` turns upright."""
    # EXIF 5..8 transpose the sensor's picture on the way to upright; then rows, columns are flipped
    flips = {1: (), 2: (2,), 3: (1, 2), 4: (1,), 5: (), 6: (2,), 7: (1, 2), 8: (1,)}[orientation]
    held = np.flip(upright, flips)
    return held.swapaxes(1, 2) if orientation >= 5 else held
