"""Noise of scene-linear pixels, from what a file says of its sensor."""

import numpy as np
from jaxtyping import Float

from isp_env.raw.image import RawImage


def linear_noise(raw: RawImage, block: int = 1) -> Float[np.ndarray, "3 2"]:
    """Shot and read terms per channel of scene-linear pixels that average block x block samples.

    Args:
        raw: Sensor data. Of a mosaic, be it demosaiced or not, a block holds so many samples of a
            colour as the pattern says.
        block: 1 for the full resolution, where each sample serves as one channel of its pixel.
    """
    gains = raw.as_shot_neutral.max() / raw.as_shot_neutral
    shot, read = raw.noise_profile or assumed_noise_profile(raw.iso)
    camera_noise = np.stack([shot * gains, read * gains**2], axis=1)
    if block > 1:
        share = np.ones(3) if raw.cfa is None else np.bincount(raw.cfa.ravel(), minlength=3)
        share = share / (1 if raw.cfa is None else raw.cfa.size)
        camera_noise /= (share * block**2)[:, None]
    exposure = 2.0**raw.baseline_exposure
    return raw.camera_to_rec709**2 @ camera_noise * np.array([exposure, exposure**2])


def noise_block(raw: RawImage) -> int:
    """Side of the smallest blocks whose means have noise of their own: 2 of a Bayer pattern."""
    return 2 if raw.cfa is not None and raw.cfa.shape == (2, 2) else 1


def root_offset(raw: RawImage) -> float:
    """Return the offset under the root that a mosaic is interpolated in: three sigma."""
    gains = raw.as_shot_neutral.max() / raw.as_shot_neutral
    _, read = raw.noise_profile or assumed_noise_profile(raw.iso)
    return max(3 * read**0.5 * float(gains.max()), 1e-3)


def assumed_noise_profile(iso: float | None) -> tuple[float, float]:
    """(shot, read) of a typical sensor for files that state none; ISO 100 where that is unknown.

    A full well of 50,000 electrons and 5 electrons of read noise at ISO 100, amplified by ISO.
    """
    gain = (iso or 100.0) / 100
    return gain / 50_000, (gain * 5 / 50_000) ** 2
