"""`RawImage`: the sensor data of one picture and what a rendering must know of its camera."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, UInt8

from isp_env.dng.opcodes import GainMap, Listed
from isp_env.raw.sensor_data import highest_black


@dataclass(frozen=True)
class RawImage:
    """Sensor data of one picture, cropped to the active area, not rotated, black not subtracted.

    Exactly one of `mosaic` and `linear` is set. Files without a Bayer mosaic (linear DNG, sRAW,
    monochrome) come as `linear`, and so do X-Trans and other mosaics, which LibRaw demosaics.
    Whole numbers are saturated at `white`; what is stored as float is light, also beyond it.
    """

    mosaic: Num[np.ndarray, "h w"] | None  # uint16 or float32
    linear: Num[np.ndarray, "3 h w"] | None  # uint16 or float32 camera RGB
    cfa: UInt8[np.ndarray, "n n"] | None  # 0 R, 1 G, 2 B from the top left pixel; n = 2 or 6
    black: Float[np.ndarray, "*channels"]  # per CFA position (n, n), or (3,) for linear
    black_rows: Float[np.ndarray, " h"] | None  # added to `black` in each row (DNG 50716)
    black_columns: Float[np.ndarray, " w"] | None  # and in each column (DNG 50715)
    white: float  # saturation level, in the unit of the pixels
    as_shot_neutral: Float[np.ndarray, "3"]  # camera RGB of grey, G = 1 (DNG AsShotNeutral)
    xyz_to_camera: Float[np.ndarray, "3 3"]  # DNG ColorMatrix at the as-shot white, or at D65
    camera_to_rec709: Float[np.ndarray, "3 3"]  # of white-balanced camera RGB; keeps white
    noise_profile: tuple[float, float] | None  # S, O: variance = S x + O of x in [0, 1]
    baseline_exposure: float  # EV
    gain_maps: tuple[GainMap, ...]  # not yet applied to the samples
    orientation: int  # EXIF, 1..8
    iso: float | None
    exposure_time: float | None  # seconds
    active_area: tuple[int, int, int, int]  # top, left, bottom, right in the sensor's frame
    crop: tuple[int, int, int, int]  # the part of the active area that the camera shows
    make: str
    model: str
    path: Path | None
    simulated: bool  # the file says that it was made from a photograph
    fallbacks: tuple[str, ...]  # each assumption made for want of metadata
    opcodes: tuple[Listed, ...] = ()  # DNG OpcodeList3, not yet applied to the demosaiced picture

    @property
    def span(self) -> Float[np.ndarray, "*planes"]:
        """From the highest black level to white: () of a mosaic, or (3,); stands for 1."""
        is_mosaic = self.mosaic is not None
        pattern = self.black[..., None] if is_mosaic else self.black[None, None]
        highest = highest_black(pattern, self.black_rows, self.black_columns)
        return np.asarray(self.white - (highest[0] if is_mosaic else highest), np.float64)
