"""The scripts that measure the rendering, on little data: do they measure what they say?"""

import json
import mmap
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from experiments.isp import (
    benchmark_rendering,
    evaluate_color,
    evaluate_demosaic,
    evaluate_previews,
    fuzz_rendering,
)
from experiments.isp.rawpy_baseline import develop
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.samples import sample_files

KNOBS = len(DEFAULT_PIPELINE.parameters)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return sample_files(tmp_path_factory.mktemp("samples"))[0]


def test_demosaicing_of_a_photograph(tmp_path):
    Image.fromarray(data.astronaut()[100:260, 150:330]).save(tmp_path / "photo.png")
    settings = evaluate_demosaic.Settings(data=tmp_path, out=tmp_path / "out")
    found = evaluate_demosaic.measure(tmp_path / "photo.png", settings)["psnr"]
    ours = [found["ours"][phase] for phase in found["ours"]]
    assert max(ours) - min(ours) < 0.5
    assert min(ours) > max(found["Kornia bilinear"].values()) + 2
    assert min(found.values(), key=lambda by_phase: by_phase["RGGB"])["RGGB"] > 20  # all are it


def test_a_preview_and_a_half_that_differ_are_told(sample):
    from isp_env.develop.downsized import preview
    from isp_env.raw import read_raw
    from isp_env.render.frame import render_raw

    raw, zero = read_raw(sample), torch.zeros(KNOBS)
    small = preview(raw, 256)
    of_preview, of_half = evaluate_previews.differences(raw, small, zero)
    assert 0 < of_preview < 1
    assert 0 < of_half < 1
    finer, _ = evaluate_previews.differences(raw, preview(raw, 384), zero, 1.5)
    assert 0 < finer < 1
    warm = torch.zeros(KNOBS)
    warm[[p.name for p in DEFAULT_PIPELINE.parameters].index("temperature")] = 0.5
    shown, full = (evaluate_previews.as_tensor(render_raw(raw, theta)) for theta in (warm, zero))
    assert evaluate_previews.difference(shown, full) > 3


def test_mutants_are_the_same_from_the_same_seed_and_all_accounted_for(tmp_path):
    texts = []
    for name in ("a", "b"):
        settings = fuzz_rendering.Settings(count=8, workers=1, out=tmp_path / name)
        assert fuzz_rendering.main(settings) == 0
        lines = (tmp_path / name / "mutants.jsonl").read_text().splitlines()
        rows = sorted((json.loads(line) for line in lines), key=lambda row: row["number"])
        assert [row["number"] for row in rows] == list(range(8))
        texts.append([(row["mutation"], row["outcome"]) for row in rows])
    assert texts[0] == texts[1]


def test_differences_to_the_published_chart():
    """The published values themselves, rendered, are at most a rounding away from themselves."""
    from skimage.color import lab2xyz

    from isp_env.color.output_spaces import D50_FROM_D65
    from isp_env.color.rgb import XYZ_FROM_REC709, srgb_encode

    xyz = lab2xyz(evaluate_color.PUBLISHED[None], illuminant="D50")[0]
    linear = xyz @ np.linalg.inv(D50_FROM_D65 @ XYZ_FROM_REC709).T
    encoded = srgb_encode(torch.from_numpy(linear)).numpy()
    assert evaluate_color.differences(encoded).max() < 0.05
    assert evaluate_color.differences(encoded * 0.9).mean() > 2


def test_benchmark_measures_every_method_on_the_same_files(sample, tmp_path):
    settings = benchmark_rendering.Settings(raw=sample, megapixels=1.5)
    path = benchmark_rendering.make_file(settings, tmp_path)
    theta = (0.4,) * KNOBS
    for name, method in (
        ("ours", lambda a, b: benchmark_rendering.ours(theta, a, b)),
        ("ahd", lambda a, b: develop("AHD", a, b)),
        ("half", lambda a, b: develop("half", a, b)),
    ):
        timed = benchmark_rendering.work(method, [path, path], tmp_path / name)
        assert timed.files == 1
        assert timed.end > timed.start
        with Image.open(tmp_path / name / "large.jpg") as picture:
            side = 2 if name == "half" else 1
            height, width = picture.height * side, picture.width * side
            assert abs(height * width - 1.5e6) < 0.02e6
    times = benchmark_rendering.stage_times(path, theta)
    assert times["render, all"] > times["demosaic"] > 0
    runs = {
        name: [{"files per second": rate}] for name, rate in (("ours", 3.0), ("rawpy AHD", 1.5))
    }
    from isp_env.raw import read_raw

    found = benchmark_rendering.summarise(runs, read_raw(path))
    assert found["ours over"]["rawpy AHD"]["median"] == 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is private")
def test_a_worker_is_watched_at_its_peak(tmp_path):
    def allocate(source, target):
        with mmap.mmap(-1, 50_000_000) as held:  # pages of its own: malloc may have some to spare
            held.write(bytes([1]) * len(held))
            time.sleep(0.1)

    idle = benchmark_rendering._private_mb()
    peak = benchmark_rendering._watched(allocate, (tmp_path, tmp_path))
    assert 40 < peak - idle < 70
    assert benchmark_rendering._private_mb() < idle + 20
