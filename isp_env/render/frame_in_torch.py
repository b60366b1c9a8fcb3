"""Frames rendered by the stages themselves, in torch: on a GPU, and where a stage is not fused."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from isp_env.arrays import Array, to_numpy
from isp_env.develop.compiled_rows import Rows
from isp_env.develop.corrections import corrected
from isp_env.develop.noise import linear_noise, noise_block
from isp_env.develop.reference import develop_area
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.guide import Guide, Maps, guide_factor
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.resampling import reduce
from isp_env.isp.stage import Constants
from isp_env.raw import RawImage
from isp_env.render.map_rows import neighbours
from isp_env.render.pixels import Bits, Pixels


def render_whole(
    raw: RawImage,
    theta: Float[Tensor, " d"],
    pipeline: IspPipeline = DEFAULT_PIPELINE,
    device: str | torch.device = "cpu",
) -> Float[Tensor, "3 h w"]:
    """Render the active area at once, in torch, as it lies on the sensor: encoded RGB in [0, 1].

    The reference of the fused rendering: slower and larger, and differentiable.
    """
    raw = corrected(raw)
    linear = develop_area(raw, device=device)[None]
    factor = guide_factor(max(linear.shape[-2:]))
    guide = None  # of a picture that never was a mosaic, the pipeline makes it
    if factor > 1 and noise_block(raw) == 2:
        half = develop_area(raw, half=True, device=device)[None]
        guide = replace(reduce(half, factor // 2), long_side=max(linear.shape[-2:]) / factor)
    noise = linear.new_tensor(linear_noise(raw, 2 if guide else 1))[None]
    return pipeline(linear, theta.to(linear)[None], noise, guide)[0]


def quantise(image: Float[Tensor, "3 h w"], bits: Bits = 8) -> Pixels:
    """Convert encoded RGB in [0, 1] to whole numbers, rounded to the nearest."""
    scaled = image.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy() * (2**bits - 1)
    return (scaled + 0.5).astype(np.uint8 if bits == 8 else np.uint16)


@torch.no_grad()
def measured_in_torch(
    pipeline: IspPipeline,
    guide: Guide,
    noise: Float32[np.ndarray, "3 2"],
    theta: Float[Array, " d"],
) -> tuple[Maps, Constants]:
    """Return the maps of a guide and the constants of the stages, as numpy arrays."""
    values = pipeline.values(torch.as_tensor(theta).detach().float().cpu()[None])
    planes = tuple(torch.from_numpy(plane) for plane in guide.planes)
    guide = replace(guide, planes=planes, variance=torch.from_numpy(guide.variance))
    _, maps = pipeline.measure(guide, torch.from_numpy(noise)[None], values)
    constants = pipeline.constants(values)
    return (
        {name: to_numpy(each) for name, each in maps.items()},
        {name: to_numpy(each) for name, each in constants.items()},
    )


@torch.no_grad()
def render_rows_in_torch(
    rows: Rows,
    shape: tuple[int, int],
    measured: Maps,
    constants: Constants,
    pipeline: IspPipeline,
    bits: Bits,
    tile: int,
) -> Pixels:
    """Render strip after strip by the stages themselves: what cannot be fused."""
    height, width = shape
    factor = guide_factor(max(shape))
    measured = {name: torch.as_tensor(each) for name, each in measured.items()}
    constants = {name: torch.as_tensor(each) for name, each in constants.items()}
    pixels = np.empty((height, width, 3), np.uint8 if bits == 8 else np.uint16)
    for top in range(0, height, tile):
        bottom = min(top + tile, height)
        linear = np.empty((3, bottom - top, width), np.float32)
        rows(top, bottom, linear)
        maps = {
            name: _enlarged(each, factor, (height, width), (top, bottom))
            for name, each in measured.items()
        }
        planes = pipeline.apply(torch.from_numpy(linear)[:, None].unbind(), maps, constants)
        pixels[top:bottom] = quantise(torch.cat(planes), bits)
    return pixels


def _enlarged(
    small: Float[Tensor, "1 h w"], factor: int, shape: tuple[int, int], rows: tuple[int, int]
) -> Float[Tensor, "1 r w2"]:
    """Interpolate some rows of a map of the guide (`guide.enlarge`)."""
    if factor == 1:
        return small[:, rows[0] : rows[1]]
    down = [
        torch.from_numpy(x[rows[0] : rows[1]]) for x in neighbours(shape[0], factor, small.shape[1])
    ]
    across = [torch.from_numpy(x) for x in neighbours(shape[1], factor, small.shape[2])]
    wide = small[..., across[0]] + across[2] * (small[..., across[1]] - small[..., across[0]])
    above, below = wide[:, down[0]], wide[:, down[1]]
    return above + down[2][:, None] * (below - above)
