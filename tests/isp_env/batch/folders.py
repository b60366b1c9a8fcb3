"""Folders of small RAW files, and their renderings."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isp_env.batch.render_job import RenderSettings
from isp_env.batch.render_many import render_many
from isp_env.raw.find import find_inputs
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits

HERE = partial(run_isolated, workers=0, limits=Limits())  # in this process: quick


def shoot(path: Path, seed: int) -> None:
    photo = np.random.default_rng(seed).uniform(0, 1, (3, 8, 12)).repeat(8, 1).repeat(8, 2)
    raw, _ = simulate(photo, NIKON_D750, Capture(iso=400), np.random.default_rng(seed))
    write_dng(raw, path)


def render(folder: Path, out: Path, settings: RenderSettings | None = None, **more: Any):
    more = {"executor": HERE} | more
    return list(render_many(find_inputs([folder]), out, settings or RenderSettings(), **more))


def content(folder: Path) -> dict[str, bytes]:
    """Pictures and sidecars."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".jpg", ".json")}
