"""A RAW image at full resolution: rows of sensor data in, finished pixels out.

What looks at a neighbourhood is measured on a small guide, the rest is elementwise
(`isp.pipeline`). So a frame is rendered a few rows at a time, and only the sensor's data and the
finished pixels are ever held whole. On a CPU the elementwise part runs as one fused loop
(`isp.fused.loops`), and nothing of it imports torch; on a GPU, and where a stage cannot be fused,
the same pipeline renders in torch (`frame_in_torch`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image

from isp_env.arrays import Array, to_numpy
from isp_env.compiled.strips import CHUNK
from isp_env.develop.compiled_rows import TILE, Rows, block_statistics
from isp_env.develop.downsized import small
from isp_env.develop.linear_image import LinearImage
from isp_env.develop.linear_source import LinearSource, linear_source
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.guided import columns, measure
from isp_env.isp.fused.loops import FusedLoop, fused, numbers
from isp_env.isp.guide import Guide, Maps, guide_factor
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stage import Constants
from isp_env.raw import RawImage
from isp_env.render.map_rows import neighbours
from isp_env.render.pixels import Bits, Pixels

if TYPE_CHECKING:
    import torch


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
    theta: Float[Array, " d"],
    *,
    pipeline: IspPipeline = DEFAULT_PIPELINE,
    size: OutputSize = FULL_SIZE,
    bits: Bits = 8,
    device: "str | torch.device" = "cpu",
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
    if str(device) == "cpu":
        pixels = _render_sensor(source, theta, pipeline, bits, tile)
    else:
        from isp_env.render.frame_in_torch import quantise, render_whole  # imports torch

        pixels = quantise(render_whole(raw, theta, pipeline, device), bits)
    pixels = _upright(pixels[top:bottom, left:right], raw.orientation)
    return _resize_pixels(pixels, target)


def render_linear(
    image: LinearImage,
    theta: Float[Array, " d"],
    *,
    pipeline: IspPipeline = DEFAULT_PIPELINE,
    bits: Bits = 8,
) -> Pixels:
    """Render a scene-linear picture that is in memory, by the fused loop."""
    linear = np.ascontiguousarray(to_numpy(image.rgb), np.float32)
    height, width = linear.shape[1:]
    factor = guide_factor(max(height, width))

    def rows(top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
        out[:] = linear[:, top:bottom]

    guide = _guide(block_statistics(rows, (height, width), factor), (height, width), factor, 1)
    noise = to_numpy(image.noise)
    return _render_rows(rows, (height, width), guide, noise, theta, pipeline, bits, TILE)


def _render_sensor(
    source: LinearSource, theta: Float[Array, " d"], pipeline: IspPipeline, bits: Bits, tile: int
) -> Pixels:
    """Render the active area, as it lies on the sensor."""
    shape = source.shape
    factor = guide_factor(max(shape))
    if factor > 1:
        statistics, block = source.reduced(factor), source.block
    else:  # the picture is its own guide
        statistics, block = block_statistics(source.rows, shape, 1), 1
    guide, noise = _guide(statistics, shape, factor, block), source.noise(block)
    return _render_rows(source.rows, shape, guide, noise, theta, pipeline, bits, tile)


def _guide(
    statistics: tuple[Float32[np.ndarray, "3 h2 w2"], Float32[np.ndarray, "3 h2 w2"]],
    shape: tuple[int, int],
    factor: int,
    block: int,
) -> Guide:
    """Make a guide of means and of the variances of block x block pixels."""
    means, variance = statistics
    planes = tuple(means[:, None])
    return Guide(planes, variance[None], max(shape) / factor, (factor // block) ** 2)


def _render_rows(
    rows: Rows,
    shape: tuple[int, int],
    guide: Guide,
    noise: Float32[np.ndarray, "3 2"],
    theta: Float[Array, " d"],
    pipeline: IspPipeline,
    bits: Bits,
    tile: int,
) -> Pixels:
    """Measure the maps on the guide, then render strip after strip."""
    height, width = shape
    loop = fused(pipeline)
    if loop is None:
        from isp_env.render.frame_in_torch import measured_in_torch, render_rows_in_torch

        measured, constants = measured_in_torch(pipeline, guide, noise, theta)
        return render_rows_in_torch(rows, shape, measured, constants, pipeline, bits, tile)
    active, measured, constants = _measured(pipeline, loop, guide, noise, theta)
    guide_rows, guide_columns = guide.planes[0].shape[-2:]
    maps = np.empty((len(measured), guide_rows, guide_columns), np.float32)
    for index, each in enumerate(measured.values()):
        maps[index] = each[0]
    places = columns(pipeline, tuple(measured))
    own = numbers(pipeline, constants)[0]
    factor = guide_factor(max(shape))
    across = neighbours(width, factor, guide_columns)
    down = neighbours(height, factor, guide_rows)
    level = np.uint8 if bits == 8 else np.uint16
    room = (
        np.empty((2, len(maps), width), np.float32),
        np.array([-1, -1]),
        np.zeros((1, loop.columns * CHUNK), np.float32),
        np.empty(3 * CHUNK, level),
    )
    linear = np.empty((3, tile, width), np.float32)
    pixels = np.empty((height, width, 3), level)
    for top in range(0, height, tile):
        bottom = min(top + tile, height)
        part = linear[:, : bottom - top]
        rows(top, bottom, part)
        between = tuple(x[top:bottom] for x in down)
        assert loop.render_rows is not None  # as the pipeline makes three planes
        settings = own, active
        loop.render_rows(part, maps, places, between, across, *settings, room, pixels[top:bottom])
    return pixels


def _measured(
    pipeline: IspPipeline,
    loop: FusedLoop,
    guide: Guide,
    noise: Float32[np.ndarray, "3 2"],
    theta: Float[Array, " d"],
) -> tuple[Bool[np.ndarray, " s"], Maps, Constants]:
    """Return which stages are active, their maps of a guide, and all constants: numpy arrays."""
    values = pipeline.values(to_numpy(theta).astype(np.float32)[None])
    (active,) = pipeline.active(values)
    if not pipeline.in_numpy:
        from isp_env.render.frame_in_torch import measured_in_torch  # imports torch

        maps, constants = measured_in_torch(pipeline, guide, noise, theta)
        return active, maps, constants
    _, maps, _, constants = measure(pipeline, loop, guide, noise[None], values)
    return active, maps, constants


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (see `develop.linear_image.upright`)."""
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
    height, width = size
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        for plane in image.rgb
    ]
    return LinearImage(np.stack(planes), image.noise * np.float32(min(scale, 1.0) ** 2))


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
