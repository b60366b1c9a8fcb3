"""Previews rendered by the compiled loop of full frames.

A preview is its own guide (`guided`).
"""

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from isp_env.isp.fused.guided import measure, render
from isp_env.isp.fused.loops import FusedLoop, fused
from isp_env.isp.guide import Guide, guide_factor
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.resampling import reduce


class CompiledPipeline(IspPipeline):
    """A pipeline that renders previews by compiled loops where no gradient is asked for.

    On a CPU a step of the tuning task takes an eighth less time. The loop is that of full frames,
    compiled once on a machine, in some twenty seconds. Pictures that need a guide of their own
    (`guide.guide_factor`), that hold values which are not finite or that are on another device, and
    stages that cannot be fused are rendered as by `IspPipeline`.
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
        loop = fused(self)
        if loop is None:  # a stage of somebody else's
            return super().__call__(linear, theta, noise)
        return _render(self, loop, linear, theta, noise)


def compiled(pipeline: IspPipeline) -> CompiledPipeline:
    """Return the same pipeline, compiled for previews."""
    return CompiledPipeline(pipeline.stages, pipeline.knobs)


@torch.no_grad()
def _render(
    pipeline: IspPipeline,
    loop: FusedLoop,
    linear: Float32[Tensor, "b 3 h w"],
    theta: Float32[Tensor, "b d"],
    noise: Float32[Tensor, "b 3 2"],
) -> Float32[Tensor, "b 3 h w"]:
    values = pipeline.values(theta)
    guide, maps, pending, constants = measure(pipeline, loop, reduce(linear, 1), noise, values)
    planes = render(pipeline, loop, guide, maps, constants, pending)
    return torch.stack(planes, dim=1).clamp_(0, 1)
