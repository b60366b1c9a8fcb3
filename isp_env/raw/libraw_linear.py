"""Pictures that are developed by LibRaw itself: mosaics of four colours and other rare sensors.

LibRaw's demosaicing and colours up to scene-linear RGB, in the widest space that it offers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import rawpy
from jaxtyping import UInt16

from isp_env.color.output_spaces import PROPHOTO
from isp_env.color.rgb import XYZ_FROM_REC709

WHITE = 65535.0
AS_IT_IS: Mapping[str, Any] = {
    "adjust_maximum_thr": 0,
    "no_auto_bright": True,
    "gamma": (1, 1),
    "output_bps": 16,
    "user_flip": 0,
}
"""Options of LibRaw's postprocessing: linear 16 bits, not brightened, not rotated."""
REC709_FROM_PROPHOTO = np.linalg.inv(PROPHOTO.from_rec709)
XYZ_TO_PROPHOTO = PROPHOTO.from_rec709 @ np.linalg.inv(XYZ_FROM_REC709)


def develop_by_libraw(libraw: rawpy.RawPy) -> UInt16[np.ndarray, "3 h w"]:
    """Linear ProPhoto RGB of an opened file, white-balanced as shot, not rotated; clipped at white.

    Raises:
        rawpy.LibRawError: LibRaw cannot develop it.
    """
    pixels = libraw.postprocess(
        use_camera_wb=True,  # daylight, where the file has none
        output_color=rawpy.ColorSpace.ProPhoto,
        highlight_mode=rawpy.HighlightMode.Clip,
        **AS_IT_IS,
    )
    planes = np.moveaxis(np.atleast_3d(pixels)[..., :3], 2, 0)
    return np.broadcast_to(planes, (3, *planes.shape[1:])).copy()  # of one colour: grey
