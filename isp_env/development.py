"""From sensor data to scene-linear RGB: the fixed part of the ISP, before any knob.

Black and white level, lens shading (DNG GainMap), as-shot white balance, demosaicing, camera matrix
to linear Rec. 709, baseline exposure, orientation. What comes out is what the pipeline renders.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from isp_env.color import apply_matrix, camera_to_rec709
from isp_env.demosaic import demosaic, half_size
from isp_env.raw import GainMap, RawImage

BAYER = (2, 2)


@dataclass(frozen=True)
class LinearImage:
    """A scene-linear picture and what is known of its noise.

    Attributes:
        rgb: (3, H, W) float32, linear Rec. 709, white-balanced as shot, 1.0 = sensor white.
        noise: (3, 2) shot and read terms: variance of channel c = noise[c, 0] x + noise[c, 1].
    """

    rgb: Float[Tensor, "3 h w"]
    noise: Float[Tensor, "3 2"]


def develop(
    raw: RawImage, *, half: bool = False, device: str | torch.device = "cpu"
) -> LinearImage:
    """Develop sensor data to scene-linear RGB, upright.

    Args:
        raw: Sensor data.
        half: Half the width and height from 2x2 blocks: three times faster, for previews.
        device: Where the computation runs and the result lies.
    """
    gains = raw.as_shot_neutral.max() / raw.as_shot_neutral
    shot, read = raw.noise_profile or assumed_noise_profile(raw.iso)
    if raw.mosaic is not None and raw.cfa is not None and raw.cfa.shape == BAYER:
        mosaic = _normalise(raw.mosaic, raw.black, raw.white, device)
        for gain_map in raw.gain_maps:
            mosaic = _apply_gain_map(mosaic, gain_map)
        # every channel saturates at its gain or above: clip at 1, or clipped skies turn magenta
        mosaic = (mosaic * _tile(gains[raw.cfa], mosaic)).clamp(max=1)
        offset = max(3 * read**0.5 * float(gains.max()), 1e-3)
        rgb = half_size(mosaic[None], raw.cfa) if half else demosaic(mosaic[None], raw.cfa, offset)
        green_samples = 2 if half else 1
    elif raw.linear is not None:
        levels = (raw.linear - raw.black[:, None, None]) / (raw.white - raw.black[:, None, None])
        rgb = torch.from_numpy(levels.astype(np.float32)).to(device)[None]
        rgb = (rgb * rgb.new_tensor(gains)[:, None, None]).clamp(max=1)
        rgb = functional.avg_pool2d(rgb, 2) if half else rgb
        green_samples = 4 if half else 1
    else:
        raise ValueError(f"{raw.path}: neither a Bayer mosaic nor a linear image")

    matrix = camera_to_rec709(raw.xyz_to_camera)
    camera_noise = np.stack([shot * gains, read * gains**2], axis=1)
    camera_noise /= np.array([1, green_samples, 1])[:, None]
    exposure = 2.0**raw.baseline_exposure
    noise = matrix**2 @ camera_noise * np.array([exposure, exposure**2])
    rgb = apply_matrix(rgb, rgb.new_tensor(matrix)[None])[0] * exposure
    return LinearImage(upright(rgb, raw.orientation), rgb.new_tensor(noise))


def resize(image: LinearImage, long_side: int) -> LinearImage:
    """Downscale (never up) so that the long side has `long_side` pixels; noise averages out."""
    height, width = image.rgb.shape[-2:]
    scale = long_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rgb = functional.interpolate(image.rgb[None], size, mode="bilinear", antialias=True)[0]
    return LinearImage(rgb, image.noise * scale**2)


def preview(raw: RawImage, long_side: int, device: str | torch.device = "cpu") -> LinearImage:
    """A small scene-linear picture for choosing parameters, by the cheapest faithful path."""
    height, width = (raw.mosaic if raw.mosaic is not None else raw.linear[0]).shape  # type: ignore[index]
    half = max(height, width) >= 4 * long_side  # reduced again by 2: the colours' offsets vanish
    return resize(develop(raw, half=half, device=device), long_side)


def upright(image: Float[Tensor, "c h w"], orientation: int) -> Float[Tensor, "c h2 w2"]:
    """Undo an EXIF orientation 1..8 (tag 274)."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(-2, -1)
    if orientation in (2, 3, 6, 7):
        image = image.flip(-1)
    if orientation in (3, 4, 7, 8):
        image = image.flip(-2)
    return image.contiguous()


def assumed_noise_profile(iso: float | None) -> tuple[float, float]:
    """(shot, read) of a typical sensor for files that state none; ISO 100 where that is unknown.

    A full well of 50,000 electrons and 5 electrons of read noise at ISO 100, amplified by ISO.
    """
    gain = (iso or 100.0) / 100
    return gain / 50_000, (gain * 5 / 50_000) ** 2


def _normalise(
    mosaic: np.ndarray, black: np.ndarray, white: float, device: str | torch.device
) -> Float[Tensor, "h w"]:
    """Sensor samples to 0 = black, 1 = white, with even sides."""
    height, width = (side - side % 2 for side in mosaic.shape)
    samples = torch.from_numpy(mosaic[:height, :width].astype(np.float32)).to(device)
    return (samples - _tile(black, samples)) / _tile(white - black, samples)


def _tile(pattern: np.ndarray, mosaic: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """A 2x2 pattern repeated over the mosaic."""
    height, width = mosaic.shape
    return mosaic.new_tensor(pattern).repeat(height // 2, width // 2)


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
