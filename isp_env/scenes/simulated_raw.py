"""Simulated RAW files: photographs taken by random cameras with random mishaps, mosaic and all.

For stores and measurements that go through the whole path from a mosaic on. What is trained on is
made faster, by `scenes.random_shots`.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn import functional

from isp_env.raw import RawImage
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.samples import CANON_350D, NIKON_D750
from isp_env.scenes.simulation import BGGR, GBRG, GRBG, RGGB, CameraModel, Capture, simulate


def random_camera(rng: np.random.Generator) -> CameraModel:
    """Draw one of the sample cameras with any Bayer phase, under light of any usual colour.

    Their pixels are as small as a phone's, and as noisy: there is more to decide.
    """
    base, shot_noise = ((NIKON_D750, 1e-4), (CANON_350D, 1.5e-4))[rng.integers(2)]
    red, _, blue = base.neutral
    warmth, tint = rng.normal(0, 0.15), rng.normal(0, 0.05)
    return CameraModel(
        name=base.name,
        xyz_to_camera=base.xyz_to_camera,
        neutral=(red * float(np.exp(tint + warmth)), 1.0, blue * float(np.exp(tint - warmth))),
        cfa=(RGGB, GRBG, GBRG, BGGR)[rng.integers(4)],
        black=base.black,
        white=base.white,
        shot_noise=shot_noise,
    )


def random_capture(rng: np.random.Generator) -> Capture:
    """Return a shot as people take them: often a little dark, sometimes badly balanced or hazy."""
    balance = rng.normal(0, 0.25, size=2) * (rng.random() < 0.5)
    return Capture(
        iso=int(np.exp(rng.uniform(np.log(100), np.log(12800)))),
        exposure_error=float(np.clip(rng.normal(-0.3, 1.0), -2.5, 1.5)),
        white_balance_error=(float(balance[0]), float(balance[1])),
        veil=float(rng.uniform(0, 0.12) * (rng.random() < 0.3)),
    )


def simulated_previews(
    photos: Iterable[UInt8[np.ndarray, "h w 3"]], long_side: int, seed: int
) -> PreviewSet:
    """Make previews of simulated shots of `photos`, with their truths.

    Args:
        photos: Good photographs of one shape, 8-bit sRGB with even sides.
        long_side: Pixels of the previews' long side.
        seed: Scene i depends on (seed, i) alone.

    Raises:
        ValueError: The photographs differ in shape.
    """
    truths: list[np.ndarray] = []

    def shots() -> Iterable[RawImage]:
        for number, photo in enumerate(photos):
            raw, truth = random_shot(photo, seed, number)
            scale = min(1.0, long_side / max(truth.shape[1:]))
            size = (round(truth.shape[1] * scale), round(truth.shape[2] * scale))
            truths.append(reduce_truth(truth, size))
            yield raw

    return PreviewSet.of(shots(), long_side, truths)


def random_shot(
    photo: UInt8[np.ndarray, "h w 3"], seed: int, number: int
) -> tuple[RawImage, Float[np.ndarray, "3 h w"]]:
    """Return a shot of a photograph by a random camera, and its truth.

    Args:
        photo: 8-bit sRGB with even sides.
        seed: Of all shots of a set.
        number: Of this one; it depends on (seed, number) alone.
    """
    rng = np.random.default_rng((seed, number))
    picture = np.moveaxis(photo.astype(np.float64) / 255, 2, 0)
    return simulate(picture, random_camera(rng), random_capture(rng), rng)


def reduce_truth(
    truth: Float[np.ndarray, "3 h w"], size: tuple[int, int]
) -> Float[np.ndarray, "3 rows cols"]:
    """Return a picture at the size (rows, cols) of a preview."""
    image = torch.from_numpy(truth)[None]
    return functional.interpolate(image, size, mode="bilinear", antialias=True)[0].numpy()
