"""From sensor data to scene-linear RGB: the fixed part of the ISP, before any knob.

Black and white level, lens shading (DNG GainMap), as-shot white balance, demosaicing, camera matrix
to linear Rec. 709, baseline exposure, orientation. What comes out is what the pipeline renders. A
picture with opcodes of a lens is demosaiced and corrected first (`develop.corrections`).
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional

from isp_env.color.rgb import Planes, mix
from isp_env.develop.compiled_rows import plane_maps
from isp_env.develop.corrections import corrected
from isp_env.develop.demosaic import demosaic, half_size
from isp_env.develop.linear_image import LinearImage, crop, upright
from isp_env.develop.noise import linear_noise, root_offset
from isp_env.dng.opcodes import GainMap
from isp_env.raw import RawImage

BAYER = (2, 2)


def develop(
    raw: RawImage, *, half: bool = False, device: str | torch.device = "cpu"
) -> LinearImage:
    """Develop sensor data to scene-linear RGB, cropped as the camera says and upright.

    Args:
        raw: Sensor data.
        half: Half the width and height from 2x2 blocks, without demosaicing.
        device: Where the computation runs and the result lies.
    """
    rgb = develop_area(raw, half=half, device=device)
    noise = rgb.new_tensor(linear_noise(raw, 2 if half else 1))
    return LinearImage(upright(crop(rgb, raw, 2 if half else 1), raw.orientation), noise)


def develop_area(
    raw: RawImage, *, half: bool = False, device: str | torch.device = "cpu"
) -> Float[Tensor, "3 h w"]:
    """Develop the whole active area, as it lies on the sensor (see `develop`)."""
    raw = corrected(raw)
    gains = raw.as_shot_neutral.max() / raw.as_shot_neutral
    if raw.mosaic is not None and raw.cfa is not None and raw.cfa.shape == BAYER:
        mosaic = _shade(_normalise(raw, device), raw.gain_maps)
        mosaic = mosaic * _tile(gains[raw.cfa], mosaic)
        rgb = (
            half_size(mosaic[None], raw.cfa)
            if half
            else demosaic(mosaic[None], raw.cfa, root_offset(raw))
        )
    elif raw.linear is not None:
        planes = _normalise_linear(raw, device).unbind(0)
        rgb = torch.stack([_shade(x, plane_maps(raw, c)) for c, x in enumerate(planes)])[None]
        rgb = rgb * rgb.new_tensor(gains)[:, None, None]
        rgb = functional.avg_pool2d(rgb, 2) if half else rgb
    else:
        raise ValueError(f"{raw.path}: neither a Bayer mosaic nor a linear image")
    matrix = raw.camera_to_rec709 * 2.0**raw.baseline_exposure
    return torch.stack(mix(recover_highlights(rgb[0].unbind(0)), matrix.ravel().tolist()))


def recover_highlights(camera: Planes) -> Planes:
    """Keep the light above the level at which a channel may be clipped, without its colour.

    White-balanced, the weakest channel saturates at 1 and the others above it. What exceeds 1 says
    how bright the light is, not which colour it has: shown as it is, clipped skies turn magenta. So
    each channel is clipped at 1, and the mean of what was cut off is added to all three. Nothing
    below 1 changes; what is saturated is white; a lower exposure brings back what one channel saw.
    """
    clipped = tuple(x.clamp(max=1) for x in camera)
    beyond = (sum(camera) - sum(clipped)) / 3
    return tuple(x + beyond for x in clipped)


def resize(image: LinearImage, long_side: int) -> LinearImage:
    """Downscale (never up) so that the long side has `long_side` pixels; noise averages out."""
    height, width = image.rgb.shape[-2:]
    scale = long_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rgb = functional.interpolate(image.rgb[None], size, mode="bilinear", antialias=True)[0]
    return LinearImage(rgb, image.noise * scale**2)


def _normalise(raw: RawImage, device: str | torch.device) -> Float[Tensor, "h w"]:
    """Sensor samples to 0 = black, 1 = white, with even sides; whole numbers are clipped there."""
    assert raw.mosaic is not None
    height, width = (side - side % 2 for side in raw.mosaic.shape)
    samples = torch.from_numpy(raw.mosaic[:height, :width].astype(np.float32)).to(device)
    black = _add_deltas(_tile(raw.black, samples), raw)
    return _clip((samples - black) / float(raw.span), raw.mosaic)


def _normalise_linear(raw: RawImage, device: str | torch.device) -> Float[Tensor, "3 h w"]:
    """Map camera RGB of a linear image to 0 = black, 1 = white; whole numbers are clipped there."""
    assert raw.linear is not None
    samples = torch.from_numpy(raw.linear.astype(np.float32)).to(device)
    black = samples.new_tensor(raw.black)[:, None, None].expand_as(samples)
    black = _add_deltas(black, raw)
    span = samples.new_tensor(raw.span)[:, None, None]
    return _clip((samples - black) / span, raw.linear)


def _clip(
    normalised: Float[Tensor, "*c h w"], samples: Num[np.ndarray, "*c h2 w2"]
) -> Float[Tensor, "*c h w"]:
    """Clip at white what whole numbers hold; floating point holds light beyond it."""
    return normalised.clamp(max=1) if np.issubdtype(samples.dtype, np.integer) else normalised


def _add_deltas(black: Float[Tensor, "*c h w"], raw: RawImage) -> Float[Tensor, "*c h w"]:
    """Return the black level with what is added to it in each row and in each column."""
    height, width = black.shape[-2:]
    if raw.black_rows is not None:
        black = black + black.new_tensor(raw.black_rows[:height])[:, None]
    if raw.black_columns is not None:
        black = black + black.new_tensor(raw.black_columns[:width])
    return black


def _tile(pattern: np.ndarray, mosaic: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Repeat a 2x2 pattern over the mosaic."""
    height, width = mosaic.shape
    return mosaic.new_tensor(pattern).repeat(height // 2, width // 2)


def _shade(plane: Float[Tensor, "h w"], maps: Sequence[GainMap]) -> Float[Tensor, "h w"]:
    """Multiply a mosaic, or one plane of a linear image, by gain maps."""
    return functools.reduce(_apply_gain_map, maps, plane)


def _apply_gain_map(mosaic: Float[Tensor, "h w"], gain: GainMap) -> Float[Tensor, "h w"]:
    """Multiply the map's phase of the mosaic by the bilinearly interpolated gains.

    DNG 1.7.1 specification, opcode 9: sample (i, j) of the map lies at the relative position
    origin + spacing * (i, j) of the image; outside the grid the border value holds.
    """
    height, width = mosaic.shape
    rows = torch.arange(gain.top, min(gain.bottom, height), gain.row_pitch, device=mosaic.device)
    columns = torch.arange(gain.left, min(gain.right, width), gain.col_pitch, device=mosaic.device)
    count_v, count_h = gain.map.shape
    # position in map cells, then in grid_sample's -1..1 between the centres of the first and last
    v = ((rows + 0.5) / height - gain.origin_v) / gain.spacing_v / max(count_v - 1, 1) * 2 - 1
    h = ((columns + 0.5) / width - gain.origin_h) / gain.spacing_h / max(count_h - 1, 1) * 2 - 1
    grid = torch.stack(torch.meshgrid(h, v, indexing="xy"), dim=-1)[None].float()
    table = mosaic.new_tensor(gain.map)[None, None]
    gains = functional.grid_sample(
        table, grid, mode="bilinear", padding_mode="border", align_corners=True
    )[0, 0]
    result = mosaic.clone()
    result[gain.top : gain.bottom : gain.row_pitch, gain.left : gain.right : gain.col_pitch] *= (
        gains
    )
    return result
