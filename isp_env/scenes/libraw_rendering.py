"""LibRaw's own rendering of a RAW file, at a preview's size: what most programs show by default."""

from pathlib import Path

import numpy as np
import rawpy
import torch
from jaxtyping import Float32
from torch import Tensor

from isp_env.develop.linear_image import crop, upright
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.raw.read import REASONS
from isp_env.scenes.simulated_raw import reduce_truth

SRGB_GAMMA = (2.4, 12.92)  # exponent and slope at black; LibRaw's own default is BT.709's curve


def libraw_rendering(
    path: Path | str, auto_bright: bool, size: tuple[int, int]
) -> Float32[Tensor, "3 rows cols"]:
    """Display RGB in [0, 1] by LibRaw, framed and turned as our own previews are.

    As-shot white balance, Rec. 709 primaries with the transfer function of sRGB, and for the rest
    LibRaw's defaults: AHD demosaicing, clipped highlights, no noise reduction.

    Args:
        path: RAW file.
        auto_bright: Brighten until 1 % of the samples clip, which LibRaw does unless told not to.
        size: (rows, cols) of the preview.

    Raises:
        RawFileError: The file holds no picture that LibRaw renders (see `raw.read_raw`).
    """
    raw = read_raw(path)
    try:
        with rawpy.imread(str(path)) as libraw:
            pixels = libraw.postprocess(
                use_camera_wb=True,
                no_auto_bright=not auto_bright,
                gamma=SRGB_GAMMA,
                output_bps=16,
                user_flip=0,
            )
            margins = libraw.sizes.top_margin, libraw.sizes.left_margin
    except rawpy.LibRawError as error:
        reason = REASONS.get(type(error), "cannot be rendered")
        raise RawFileError(Path(path), f"{reason} (LibRaw: {error})") from error
    picture = torch.from_numpy(np.moveaxis(pixels, 2, 0).astype(np.float32) / 65535)
    # LibRaw shows its own active area, which an odd margin sets off from the file's
    top, left = (ours - its for ours, its in zip(raw.active_area[:2], margins, strict=True))
    picture = picture[:, max(top, 0) :, max(left, 0) :]
    framed = upright(crop(picture, raw), raw.orientation)
    return torch.from_numpy(reduce_truth(framed.numpy(), size))
