"""Scene-linear rows of a RAW image, with what its opcodes correct."""

from isp_env.develop.compiled_rows import SensorSource, sensor_source
from isp_env.develop.corrections import corrected
from isp_env.raw import RawImage


def linear_source(raw: RawImage) -> SensorSource:
    """Scene-linear rows of a RAW image.

    Raises:
        ValueError: It has neither a Bayer mosaic nor a linear image.
        RawFileError: Its opcodes are damaged (`corrected`).
    """
    return sensor_source(corrected(raw))
