"""A stage of one's own, on all paths: eager, compiled previews, full frames by strips."""

import kornia
import numpy as np
import pytest
import torch
from skimage import data as photographs

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.compiled_pipeline import compiled
from isp_env.isp.guide import gaussian_blur
from isp_env.isp.parameters import Parameter
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stage import Stage
from isp_env.render.frame import render_raw
from isp_env.render.frame_in_torch import quantise, render_whole
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate


def turn_hues(planes, maps, k):
    """Turn hues, by Kornia: an operation that is not fused."""
    hsv = kornia.color.rgb_to_hsv(torch.stack(planes, dim=1).clamp(0, 1))
    turned = torch.stack([hsv[:, 0] + k["hue"], hsv[:, 1], hsv[:, 2]], dim=1)
    return kornia.color.hsv_to_rgb(turned).unbind(1)


def fade(planes, maps, k):
    """Blend with the blurred picture: a number that is prepared, and a map that is measured."""
    share = torch.cos(k["angle"])
    return tuple(x + share * (maps["fade luma"] - x) for x in planes)


def measure_luma(guide, noise, values):
    return {"fade luma": gaussian_blur(guide.planes[1][:, None], 0.01 * guide.long_side)[:, 0]}


HUES = Stage("hues", (Parameter("hue", "rad", -1.0, 0.0, 1.0),), turn_hues)
FADE = Stage(
    "fade",
    (Parameter("fade", "", 0.0, 0.0, 1.0),),
    fade,
    ("fade luma",),
    measure_luma,
    lambda values: {"angle": torch.pi / 2 * (1 - values["fade"])},
)


@pytest.fixture(scope="module")
def raw():
    """Large enough for a guide that is smaller than the picture."""
    photo = np.tile(np.moveaxis(photographs.astronaut()[:330, :330], 2, 0) / 255, (1, 1, 3))
    random = np.random.default_rng(0)
    return simulate(photo.astype(np.float32), NIKON_D750, Capture(iso=400), random)[0]


@pytest.mark.parametrize("stage", [HUES, FADE], ids=["hues", "fade"])
def test_full_frames_show_what_the_eager_picture_shows(raw, stage, caplog):
    pipeline = IspPipeline((*DEFAULT_PIPELINE.stages, stage))
    theta = torch.zeros(len(pipeline.parameters))
    theta[-1] = 0.5
    found = render_raw(raw, theta, pipeline=pipeline).astype(int)
    assert any("rendered by torch" in message for message in caplog.messages)
    whole = quantise(render_whole(raw, theta, pipeline))
    top, left, bottom, right = raw.crop
    assert np.abs(found - whole[top:bottom, left:right]).max() <= 1
    plain = render_raw(raw, torch.zeros_like(theta), pipeline=pipeline).astype(int)
    assert np.abs(found - plain).mean() > 1
    sixteen = render_raw(raw, theta, pipeline=pipeline, bits=16)
    assert np.abs(sixteen / 257 - found).max() <= 1


@pytest.mark.parametrize("stage", [HUES, FADE], ids=["hues", "fade"])
def test_compiled_previews_show_what_the_eager_ones_show(stage):
    pipeline = IspPipeline((*DEFAULT_PIPELINE.stages, stage))
    random = torch.Generator().manual_seed(0)
    linear = torch.rand(2, 3, 24, 32, generator=random)
    theta = 2 * torch.rand(2, len(pipeline.parameters), generator=random) - 1
    assert torch.allclose(compiled(pipeline)(linear, theta), pipeline(linear, theta), atol=1e-5)


def test_names_are_unique():
    again = Stage("again", (Parameter("exposure", "EV", -1.0, 0.0, 1.0),), turn_hues)
    with pytest.raises(ValueError, match="two knobs are called 'exposure'"):
        IspPipeline((*DEFAULT_PIPELINE.stages, again))
    with pytest.raises(ValueError, match="two maps are called 'fade luma'"):
        IspPipeline((FADE, Stage("other", (), fade, ("fade luma",), measure_luma)))
    with pytest.raises(ValueError, match="two knobs are called 'fade'"):
        IspPipeline((FADE,), ("fade", "fade"))
