"""EXIF of RAW files: carried over into photographs, and what a rendering needs of it."""

from isp_env.raw.exif.camera import camera_exif
from isp_env.raw.exif.fields import CameraExif
from isp_env.raw.exif.shot import SIMULATED, Exif, read_exif

__all__ = ["SIMULATED", "CameraExif", "Exif", "camera_exif", "read_exif"]
