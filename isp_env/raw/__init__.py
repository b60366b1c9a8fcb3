"""RAW files of any camera: read to a `RawImage`, written as DNG."""

from isp_env.raw.image import RawImage
from isp_env.raw.read import read_raw

__all__ = ["RawImage", "read_raw"]
