"""Previews rendered by compiled loops.

Full frames run all stages as one loop (`render.frame`). A preview is its own guide, so each stage
that looks at neighbours has to see what the stages before it made: there, the stages between two
such looks are one loop.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from isp_env.color.rgb import Planes
from isp_env.compiled.strips import CHUNK
from isp_env.isp.fused.loops import FusedLoop, fused, numbers
from isp_env.isp.guide import Guide, guide_factor
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.resampling import reduce


class CompiledPipeline(IspPipeline):
    """A pipeline that renders previews by compiled loops where no gradient is asked for.

    On a CPU a step of the tuning task takes an eighth less time, after half a minute in which the
    loops are compiled, once on a machine: it pays from some ten thousand renderings on. Pictures
    that need a guide of their own (`guide.guide_factor`), that hold values which are not
    finite or that are on another device, and stages that cannot be fused are rendered as by
    `IspPipeline`.
    """

    def __call__(
        self,
        linear: Float[Tensor, "b 3 h w"],
        theta: Float[Tensor, "b d"],
        noise: Float[Tensor, "b 3 2"] | None = None,
        guide: Guide | None = None,
    ) -> Float[Tensor, "b 3 h w"]:
        """Render; see `IspPipeline`."""
        noise = linear.new_zeros(len(linear), 3, 2) if noise is None else noise
        given = (linear, theta, noise)
        wanted = torch.is_grad_enabled() and any(x.requires_grad for x in given)
        plain = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in given)
        itself = guide is None and guide_factor(max(linear.shape[-2:])) == 1
        if wanted or not (plain and itself and all(torch.isfinite(x).all() for x in given)):
            return super().__call__(linear, theta, noise, guide)
        loops = [(part, loop) for part in _parts(self) if (loop := fused(part))]
        if len(loops) < len(_parts(self)):  # a stage of somebody else's
            return super().__call__(linear, theta, noise)
        return _render(self, loops, linear, theta, noise)


def compiled(pipeline: IspPipeline) -> CompiledPipeline:
    """Return the same pipeline, compiled for previews."""
    return CompiledPipeline(pipeline.stages, pipeline.knobs)


@torch.no_grad()
def _render(
    pipeline: IspPipeline,
    loops: Sequence[tuple[IspPipeline, FusedLoop]],
    linear: Float32[Tensor, "b 3 h w"],
    theta: Float32[Tensor, "b d"],
    noise: Float32[Tensor, "b 3 2"],
) -> Float32[Tensor, "b 3 h w"]:
    values = pipeline.values(theta)
    constants = pipeline.constants(values)
    guide, maps = reduce(linear, 1), dict[str, Tensor]()
    for part, loop in loops:
        maps.update(part.stages[0].measure(guide, noise, values))
        planes = [*guide.planes, *(maps[name] for name in part.maps)]
        guide = replace(guide, planes=_run(loop, planes, numbers(part, constants)))
    return torch.stack(guide.planes, dim=1).clamp_(0, 1)


@cache
def _parts(pipeline: IspPipeline) -> Sequence[IspPipeline]:
    """Return the pipeline cut before each stage that measures maps."""
    parts: list[tuple] = []
    for stage in pipeline.stages:
        if stage.maps or not parts:
            parts.append(())
        parts[-1] += (stage,)
    return [IspPipeline(stages) for stages in parts]


def _run(
    loop: FusedLoop, planes: Sequence[Float[Tensor, "b h w"]], numbers: Float32[np.ndarray, "b n"]
) -> Planes:
    """Run a loop over pictures, one after the other."""
    count, height, width = planes[0].shape
    pixels, chunks = height * width, -(-height * width // CHUNK)
    room = np.zeros((chunks, loop.columns * CHUNK), np.float32)
    finished = np.empty((chunks, 3 * CHUNK), np.float32)
    rows = [plane.reshape(count, pixels).numpy() for plane in planes]
    out = np.empty((3, count, pixels), np.float32)
    for picture in range(count):
        for index, row in enumerate(rows):
            _lay(row[picture], room[:, index * CHUNK : (index + 1) * CHUNK])
        loop.kernel(room, numbers[picture], finished)
        for channel in range(3):
            chunk = finished[:, channel * CHUNK : (channel + 1) * CHUNK]
            out[channel, picture] = chunk.reshape(-1)[:pixels]
    return torch.from_numpy(out.reshape(3, count, height, width)).unbind()


def _lay(row: Float32[np.ndarray, " n"], chunks: Float32[np.ndarray, "c 256"]) -> None:
    """Put a plane into its column of chunks; the end of the last one stays as it is."""
    whole = len(row) // CHUNK
    chunks[:whole] = row[: whole * CHUNK].reshape(whole, CHUNK)
    if rest := len(row) % CHUNK:
        chunks[whole, :rest] = row[-rest:]
