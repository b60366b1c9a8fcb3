"""Previews rendered by compiled loops against the pipeline in torch, which is what they mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isp_env.color.output_spaces import SPACES
from isp_env.develop.linear_image import LinearImage
from isp_env.isp.default import DEFAULT_PIPELINE, default_pipeline
from isp_env.isp.fused import compiled_pipeline, guided
from isp_env.isp.fused.compiled_pipeline import compiled
from isp_env.isp.fused.loops import fused
from isp_env.isp.pipeline import IspPipeline
from isp_env.render.frame import render_linear
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward

KNOBS = ("exposure", "sharpen", "denoise")
SHAPE = (3, 3, 37, 50)  # no multiple of a chunk


def scenes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scene-linear pictures with noise below black and light above white, theta, noise."""
    generator = torch.Generator().manual_seed(seed)
    linear = 1.2 * torch.rand(SHAPE, generator=generator) ** 2 - 0.05
    theta = 2 * torch.rand(3, len(DEFAULT_PIPELINE.parameters), generator=generator) - 1
    return linear, theta, torch.tensor([[1e-3, 1e-5]]).expand(3, 3, 2)


@pytest.fixture
def torch_alone(monkeypatch):
    """Calls of the pipeline itself."""
    calls = []
    own = IspPipeline.__call__

    def counted(self, *arguments):
        calls.append(self)
        return own(self, *arguments)

    monkeypatch.setattr(IspPipeline, "__call__", counted)
    return calls


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("space", ["srgb", "prophoto"])
def test_the_loops_render_what_the_pipeline_does(seed, space, torch_alone):
    pipeline = default_pipeline(SPACES[space])
    linear, theta, noise = scenes(seed)
    found = compiled(pipeline)(linear, theta, noise)
    assert not torch_alone
    difference = (found - pipeline(linear, theta, noise)).abs()
    assert difference.max() < 1e-4  # torch's own, in 32 bits, from that in 64
    assert difference.mean() < 1e-6


def test_fewer_knobs_and_any_order_of_them(torch_alone):
    linear, theta, noise = scenes()
    pipeline = DEFAULT_PIPELINE.only(KNOBS)
    found = compiled(pipeline)(linear, theta[:, :3], noise)
    assert not torch_alone
    assert torch.allclose(found, pipeline(linear, theta[:, :3], noise), atol=1e-4)


def test_a_picture_that_is_not_finite_is_left_to_torch(torch_alone):
    """The task ends an episode by what it finds there; the loops would hide it."""
    linear, theta, noise = scenes()
    linear[1, 0, 5, 5] = torch.nan
    found = compiled(DEFAULT_PIPELINE)(linear, theta, noise)
    assert len(torch_alone) == 1
    assert found[1].isnan().any()
    assert not found[0].isnan().any()


def test_a_picture_with_a_guide_of_its_own_is_left_to_torch(torch_alone):
    linear = torch.rand(1, 3, 8, 900)
    theta = torch.zeros(1, len(DEFAULT_PIPELINE.parameters))
    compiled(DEFAULT_PIPELINE)(linear, theta, torch.zeros(1, 3, 2))
    assert len(torch_alone) == 1


def test_a_stage_that_cannot_be_fused_is_left_to_torch(torch_alone):
    first, *others = DEFAULT_PIPELINE.stages

    def apply(planes, maps, constants):
        return tuple(x.flip(-1) for x in first.apply(planes, maps, constants))

    pipeline = IspPipeline((replace(first, apply=apply), *others))
    linear, theta, noise = scenes()
    found = compiled(pipeline)(linear, theta, noise)
    assert len(torch_alone) == 1
    assert torch.equal(found, pipeline(linear, theta, noise))


def test_gradients_are_left_to_torch(torch_alone):
    linear, theta, noise = scenes()
    found = compiled(DEFAULT_PIPELINE)(linear, theta.requires_grad_(), noise)
    assert len(torch_alone) == 1
    assert torch.autograd.grad(found.sum(), theta)[0].abs().sum() > 0


def test_the_task_is_the_same_in_loops(torch_alone):
    """The kind of pipeline stays when knobs are left out."""
    linear, _, noise = scenes()
    previews = PreviewSet(
        linear.half().numpy(), noise.numpy(), np.ones((3, 3), np.float32), np.full(3, 1.0, "f4")
    )
    found = []
    for pipeline in (compiled(DEFAULT_PIPELINE).only(KNOBS), DEFAULT_PIPELINE.only(KNOBS)):
        reward = QualityReward(lambda x: (x.mean((1, 2, 3)), x.mean((2, 3))))
        judged = JudgedScenes(previews, reward, pipeline)
        found.append(judged.neutral(np.arange(3))[1].value)
        assert len(torch_alone) == (0 if len(found) == 1 else 2)  # the shot is looked at first
    assert torch.allclose(*found, atol=1e-4)


def test_the_loop_is_run_where_stages_look_at_neighbours(monkeypatch):
    """Local contrast sees what those before it made, sharpening sees that; no idle stage runs."""
    done = []
    own = guided.render

    def noted(pipeline, loop, guide, maps, constants, active):
        done.append([s.name for s, is_on in zip(pipeline.stages, active[0], strict=True) if is_on])
        return own(pipeline, loop, guide, maps, constants, active)

    for module in (guided, compiled_pipeline):
        monkeypatch.setattr(module, "render", noted)
    linear, theta, noise = scenes()
    compiled(DEFAULT_PIPELINE)(linear, theta, noise)
    shown = ["denoise", "white balance", "exposure", "tone", "color", "output"]
    assert done == [[], shown, ["local contrast"], ["sharpen"]]
    done.clear()
    compiled(DEFAULT_PIPELINE)(linear, torch.zeros_like(theta), noise)
    assert done == [[], ["denoise", "tone", "output"], ["sharpen"]]


def test_a_stage_that_is_idle_in_one_picture_works_in_others(torch_alone):
    linear, theta, noise = scenes()
    theta[1] = 0
    theta[2, 0], theta[2, -1] = -1, -1  # denoise, sharpen
    found = compiled(DEFAULT_PIPELINE)(linear, theta, noise)
    assert not torch_alone
    assert torch.allclose(found, DEFAULT_PIPELINE(linear, theta, noise), atol=1e-4)


def test_previews_and_frames_share_one_compiled_loop():
    """Arrays of another layout would have it compiled once more, for half a minute.

    A loop that comes from Numba's cache brings its kernel along: that is not compiled by itself.
    """
    linear, theta, noise = scenes()
    compiled(DEFAULT_PIPELINE)(linear, theta, noise)
    image = LinearImage(linear[0].numpy(), noise[0].numpy())
    render_linear(image, theta[0])
    loop = fused(DEFAULT_PIPELINE)
    assert loop is not None
    assert len(loop.run.signatures) == 1  # type: ignore[attr-defined]
    assert len(loop.kernel.signatures) <= 1  # type: ignore[attr-defined]
