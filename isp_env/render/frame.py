"""A RAW image at full resolution: rows of sensor data in, finished pixels out.

What looks at a neighbourhood is measured on a small guide, the rest is elementwise
(`isp.pipeline`). So a frame is rendered a few rows at a time, and only the sensor's data and the
finished pixels are ever held whole. On a CPU the elementwise part runs as one fused loop
(`isp.fused.tracing`); on a GPU the same pipeline renders the whole frame in torch.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8, UInt16
from PIL import Image
from torch import Tensor
from torch.nn import functional

from isp_env.compiled.strips import CHUNK, gather, scatter
from isp_env.develop.compiled_rows import TILE, Rows, block_statistics
from isp_env.develop.corrections import corrected
from isp_env.develop.downsized import small
from isp_env.develop.linear_source import LinearSource, linear_source
from isp_env.develop.noise import linear_noise, noise_block
from isp_env.develop.reference import LinearImage, develop_area
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.compiled_pipeline import fused, numbers
from isp_env.isp.guide import Guide, Maps, guide_factor, reduce
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stage import Constants
from isp_env.raw import RawImage

Pixels = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"]
Bits = Literal[8, 16]

STRIP = 4  # rows of these that are rendered at a time: as much as the caches hold


@dataclass(frozen=True)
class OutputSize:
    """The box that a photograph has to fit in; it is never enlarged. None leaves a side free."""

    width: int | None = None
    height: int | None = None
    long_side: int | None = None

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of an upright photograph of this size when it fits."""
        limits = ((self.width, width), (self.height, height), (self.long_side, max(height, width)))
        scale = min([1.0, *(limit / side for limit, side in limits if limit is not None)])
        return max(1, round(height * scale)), max(1, round(width * scale))


FULL_SIZE = OutputSize()


def render_raw(
    raw: RawImage,
    theta: Float[Tensor, " d"],
    *,
    pipeline: IspPipeline = DEFAULT_PIPELINE,
    size: OutputSize = FULL_SIZE,
    bits: Bits = 8,
    device: str | torch.device = "cpu",
    tile: int = TILE,
) -> Pixels:
    """Render sensor data to finished pixels, cropped as the camera says and upright.

    Args:
        raw: Sensor data.
        theta: Settings of the pipeline's knobs, in [-1, 1].
        pipeline: Says the output space, too.
        size: Where it is half the frame or less, a small picture is rendered: that is faster.
        bits: Of each channel.
        device: Other than "cpu": renders the whole frame at once there.
        tile: Rows that are demosaiced at a time; the result does not depend on it.
    """
    source = linear_source(raw)
    raw = source.raw
    top, left, bottom, right = raw.crop
    height, width = bottom - top, right - left
    height, width = (width, height) if raw.orientation >= 5 else (height, width)
    target = size.of(height, width)
    ratio = max(height, width) / max(target)
    if ratio >= 2:
        image = _resize(small(source, ratio), target)
        return render_linear(image, theta, pipeline=pipeline, bits=bits)
    if torch.device(device).type == "cpu":
        pixels = _render_sensor(source, theta, pipeline, bits, tile)
    else:
        pixels = quantise(render_whole(raw, theta, pipeline, device), bits)
    pixels = _upright(pixels[top:bottom, left:right], raw.orientation)
    return _resize_pixels(pixels, target)


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


def render_linear(
    image: LinearImage,
    theta: Float[Tensor, " d"],
    *,
    pipeline: IspPipeline = DEFAULT_PIPELINE,
    bits: Bits = 8,
) -> Pixels:
    """Render a scene-linear picture that is in memory, by the fused loop."""
    linear = np.ascontiguousarray(image.rgb.cpu().numpy(), np.float32)
    height, width = linear.shape[1:]
    factor = guide_factor(max(height, width))

    def rows(top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
        out[:] = linear[:, top:bottom]

    means, variance = (
        torch.from_numpy(x)[None] for x in block_statistics(rows, (height, width), factor)
    )
    guide = Guide(means.unbind(1), variance, max(height, width) / factor, factor**2)
    noise = image.noise.cpu()[None]
    return _render_rows(rows, (height, width), guide, noise, theta, pipeline, bits, TILE)


def quantise(image: Float[Tensor, "3 h w"], bits: Bits = 8) -> Pixels:
    """Convert encoded RGB in [0, 1] to whole numbers, rounded to the nearest."""
    scaled = image.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy() * (2**bits - 1)
    return (scaled + 0.5).astype(np.uint8 if bits == 8 else np.uint16)


def _render_sensor(
    source: LinearSource, theta: Float[Tensor, " d"], pipeline: IspPipeline, bits: Bits, tile: int
) -> Pixels:
    """Render the active area, as it lies on the sensor."""
    shape = source.shape
    factor = guide_factor(max(shape))
    if factor == 1:
        image = LinearImage(develop_area(source.raw), source.noise())
        return render_linear(image, theta, pipeline=pipeline, bits=bits)
    means, variance = (torch.from_numpy(x)[None] for x in source.reduced(factor))
    block = source.block  # whose means the variances are those of
    guide = Guide(means.unbind(1), variance, max(shape) / factor, (factor // block) ** 2)
    noise = source.noise(block)[None]
    return _render_rows(source.rows, shape, guide, noise, theta, pipeline, bits, tile)


def _render_rows(
    rows: Rows,
    shape: tuple[int, int],
    guide: Guide,
    noise: Float[Tensor, "1 3 2"],
    theta: Float[Tensor, " d"],
    pipeline: IspPipeline,
    bits: Bits,
    tile: int,
) -> Pixels:
    """Measure the maps on the guide, then render strip after strip."""
    height, width = shape
    with torch.no_grad():
        values = pipeline.values(theta.detach().float().cpu()[None])
        _, measured = pipeline.measure(guide, noise, values)
        constants = pipeline.constants(values)
    loop = fused(pipeline)
    if loop is None:
        return _render_rows_in_torch(rows, shape, measured, constants, pipeline, bits, tile)
    maps = torch.stack([measured[name][0] for name in pipeline.maps]).numpy()
    own = numbers(pipeline, constants)[0]
    factor = guide_factor(max(shape))
    columns = _neighbours(width, factor, maps.shape[2])
    lines = _neighbours(height, factor, maps.shape[1])
    chunks = -(-width // CHUNK)
    planes = np.zeros((STRIP * chunks, loop.columns * CHUNK), np.float32)
    finished = np.zeros((STRIP * chunks, 3 * CHUNK), np.float32)
    wide, held = np.empty((2, len(maps), width), np.float32), np.array([-1, -1])
    linear = np.empty((3, tile, width), np.float32)
    pixels = np.empty((height, width, 3), np.uint8 if bits == 8 else np.uint16)
    for top in range(0, height, tile):
        bottom = min(top + tile, height)
        rows(top, bottom, linear[:, : bottom - top])
        for first in range(top, bottom, STRIP):
            last = min(first + STRIP, bottom)
            strip = linear[:, first - top : last - top]
            weights = tuple(x[first:last] for x in lines)
            gather(strip, maps, weights, columns, wide, held, planes)
            loop.kernel(planes, own, finished)
            scatter(finished, np.float32(2**bits - 1), pixels[first:last])
    return pixels


@torch.no_grad()
def _render_rows_in_torch(
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
        torch.from_numpy(x[rows[0] : rows[1]])
        for x in _neighbours(shape[0], factor, small.shape[1])
    ]
    across = [torch.from_numpy(x) for x in _neighbours(shape[1], factor, small.shape[2])]
    wide = small[..., across[0]] + across[2] * (small[..., across[1]] - small[..., across[0]])
    above, below = wide[:, down[0]], wide[:, down[1]]
    return above + down[2][:, None] * (below - above)


def _neighbours(pixels: int, factor: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prepare bilinear interpolation of one side: both samples of the map, weight of the second."""
    place = np.clip((np.arange(pixels) + 0.5) / factor - 0.5, 0, count - 1)
    before = np.minimum(place.astype(np.int32), max(count - 2, 0)).astype(np.int32)
    after = np.minimum(before + 1, count - 1).astype(np.int32)
    return before, after, (place - before).astype(np.float32)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (see `develop.reference.upright`)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _resize(image: LinearImage, size: tuple[int, int]) -> LinearImage:
    """Resample a scene-linear picture by area to (height, width)."""
    scale = max(size) / max(image.rgb.shape[1:])
    rgb = functional.interpolate(image.rgb[None], size, mode="bilinear", antialias=True)[0]
    return LinearImage(rgb, image.noise * min(scale, 1.0) ** 2)


def _resize_pixels(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resample finished pixels by Lanczos to (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    height, width = size

    def resize(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))

    if pixels.dtype == np.uint8:
        return resize(Image.fromarray(pixels))
    planes = [resize(Image.fromarray(pixels[..., c].astype(np.float32))) for c in range(3)]
    return (np.stack(planes, -1) + 0.5).clip(0, 65535).astype(np.uint16)
