"""Sample RAW files for trying things out: simulated from photographs inside scikit-image.

Each `NAME.dng` lies beside its truth `NAME.truth.png`. They are made once, in the user's cache
folder; a change of the code that makes them gives a new folder.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import platformdirs
import skimage.data
from jaxtyping import Float
from PIL import Image

from isp_env.color import rgb
from isp_env.files import atomic_path
from isp_env.isp.stages import tone
from isp_env.raw import RawImage
from isp_env.raw import write_dng as dng
from isp_env.raw.write_dng import write_dng
from isp_env.scenes import simulation
from isp_env.scenes.simulation import BGGR, GBRG, GRBG, X_TRANS, CameraModel, Capture, simulate

# Colour matrices as published in Adobe's DNG Converter and dcraw. The shot noise at ISO 100 is one
# over the electrons that saturate a pixel: some 80,000, 40,000 and 30,000.
NIKON_D750 = CameraModel(
    name="after Nikon D750",
    xyz_to_camera=(
        (0.9020, -0.2890, -0.0715),
        (-0.4535, 1.2436, 0.2348),
        (-0.0934, 0.1919, 0.7086),
    ),
    neutral=(0.513, 1.0, 0.744),
    shot_noise=1.25e-5,
)
CANON_350D = CameraModel(
    name="after Canon EOS 350D",
    xyz_to_camera=(
        (0.6018, -0.0617, -0.0965),
        (-0.8645, 1.5881, 0.2975),
        (-0.1530, 0.1719, 0.7642),
    ),
    neutral=(0.592, 1.0, 0.502),
    black=(256, 257, 255),
    white=3692,  # 12 bit
    shot_noise=2.5e-5,
)
FUJIFILM_X_T1 = CameraModel(
    name="after Fujifilm X-T1",
    xyz_to_camera=(
        (0.8458, -0.2451, -0.0855),
        (-0.4597, 1.2447, 0.2407),
        (-0.1475, 0.2482, 0.6526),
    ),
    neutral=(0.54, 1.0, 0.61),
    cfa=X_TRANS,
    black=(1024, 1024, 1024),
    white=16100,
    shot_noise=3.3e-5,
)


@dataclass(frozen=True)
class Sample:
    """Recipe of one sample file."""

    photo: str  # a function of skimage.data that needs no download
    camera: CameraModel
    capture: Capture


SAMPLES = {
    "01_astronaut_clean": Sample("astronaut", NIKON_D750, Capture()),
    "02_coffee_underexposed": Sample(
        "coffee", replace(NIKON_D750, cfa=GRBG), Capture(iso=200, exposure_error=-2.0)
    ),
    "03_chelsea_overexposed": Sample(
        "chelsea", replace(CANON_350D, cfa=GBRG), Capture(exposure_error=1.3)
    ),
    "04_rocket_night_noisy": Sample(
        "rocket", replace(NIKON_D750, cfa=BGGR), Capture(iso=3200, exposure_error=-1.0)
    ),
    "05_motorcycle_white_balance_blue": Sample(
        "motorcycle", CANON_350D, Capture(white_balance_error=(0.45, -0.45))
    ),
    "06_chelsea_low_contrast": Sample(
        "chelsea", replace(CANON_350D, cfa=BGGR), Capture(iso=400, veil=0.1)
    ),
    "07_coffee_white_balance_orange": Sample(
        "coffee", replace(NIKON_D750, cfa=GBRG), Capture(white_balance_error=(-0.5, 0.5))
    ),
    "08_astronaut_xtrans": Sample("astronaut", FUJIFILM_X_T1, Capture(iso=400)),
    "09_motorcycle_portrait_underexposed": Sample(
        "motorcycle",
        replace(NIKON_D750, cfa=GRBG),
        Capture(iso=800, exposure_error=-1.5, orientation=6),
    ),
    "10_coffee_high_iso": Sample("coffee", NIKON_D750, Capture(iso=6400)),
    "11_rocket_hazy_green": Sample(
        "rocket",
        replace(CANON_350D, cfa=GRBG),
        Capture(veil=0.06, white_balance_error=(0.3, 0.3), orientation=8),
    ),
    "12_astronaut_xtrans_overexposed": Sample(
        "astronaut", FUJIFILM_X_T1, Capture(exposure_error=0.8)
    ),
}


def sample_files(folder: Path | None = None) -> list[Path]:
    """Return the sample DNGs in the order of their names; made on the first call (a few seconds).

    Args:
        folder: Where to keep them instead of the user's cache folder. The files lie in a subfolder
            that is named after the version of the code that makes them.

    Raises:
        OSError: The folder cannot be written.
    """
    root = folder or platformdirs.user_cache_path("attiqa")
    home = root / f"samples-{_version()}"
    home.mkdir(parents=True, exist_ok=True)
    paths = [home / f"{name}.dng" for name in SAMPLES]
    for path in paths:
        if not path.exists():
            _make(path)
    return paths


def truth_of(path: Path | str) -> Path | None:
    """Return the truth beside a simulated file, or None where there is none."""
    truth = Path(path).with_suffix(".truth.png")
    return truth if truth.exists() else None


def simulated_sample(name: str, times: int = 1) -> tuple[RawImage, Float[np.ndarray, "3 h w"]]:
    """Return sensor data and truth of one of `SAMPLES`.

    Args:
        name: Its name.
        times: So many times as wide and high, with the same noise in each pixel: the photographs
            are small, frames of cameras are not.
    """
    sample = SAMPLES[name]
    photo = _photo(sample.photo)
    if times > 1:
        size = (times * photo.shape[2], times * photo.shape[1])
        planes = [Image.fromarray(plane.astype(np.float32)) for plane in photo]
        photo = np.stack([np.asarray(x.resize(size, Image.Resampling.LANCZOS)) for x in planes])
    rng = np.random.default_rng(list(SAMPLES).index(name))
    return simulate(photo.clip(0, 1), sample.camera, sample.capture, rng)


def _make(path: Path) -> None:
    """Write one sample: the truth first, so that a DNG never lies there without it."""
    raw, truth = simulated_sample(path.stem)
    with atomic_path(path.with_suffix(".truth.png")) as temporary:
        Image.fromarray(np.moveaxis((truth * 255).round(), 0, 2).astype(np.uint8)).save(temporary)
    write_dng(raw, path)


def _photo(name: str) -> Float[np.ndarray, "3 h w"]:
    """Return a photograph of scikit-image as RGB in [0, 1], cropped to even sides."""
    pixels = (
        skimage.data.stereo_motorcycle()[0]
        if name == "motorcycle"
        else getattr(skimage.data, name)()
    )
    height, width = (side - side % 2 for side in pixels.shape[:2])
    return np.moveaxis(pixels[:height, :width] / 255, 2, 0)


def _version() -> str:
    """Return the digest of the code that makes the samples."""
    digest = hashlib.sha256()
    for module in (__file__, rgb.__file__, dng.__file__, simulation.__file__, tone.__file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:8]
