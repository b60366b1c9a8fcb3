"""The same picture on a GPU; skipped where there is none."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.render.frame import render_raw
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("seed", range(4))
def test_cuda_and_cpu_render_the_same_picture(seed):
    photo = np.moveaxis(data.astronaut() / 255, 2, 0)
    raw, _ = simulate(photo, NIKON_D750, Capture(iso=800), np.random.default_rng(0))
    knobs = len(DEFAULT_PIPELINE.parameters)
    theta = 2 * torch.rand(knobs, generator=torch.Generator().manual_seed(seed)) - 1
    labs = [rgb2lab(render_raw(raw, theta, device=device) / 255) for device in ("cpu", "cuda")]
    assert deltaE_ciede2000(*labs).mean() < 0.1
