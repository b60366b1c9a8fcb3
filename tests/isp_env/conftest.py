"""Pictures of a test camera, and their files with tags of one's own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from isp_env.compiled.strips import CHUNK
from isp_env.isp.fused.loops import FusedLoop
from isp_env.raw import RawImage
from isp_env.raw import write_dng as dng
from isp_env.scenes.simulation import CameraModel, Capture, simulate

CAMERA = CameraModel(
    name="Test camera",
    xyz_to_camera=((0.9, -0.29, -0.07), (-0.45, 1.24, 0.23), (-0.09, 0.19, 0.71)),
    neutral=(0.5, 1.0, 0.7),
)


@pytest.fixture
def take() -> Callable[..., RawImage]:
    """Takes a picture of something smooth and colourful."""

    def picture(
        height: int = 64,
        width: int = 96,
        camera: CameraModel = CAMERA,
        capture: Capture | None = None,
    ) -> RawImage:
        rows, cols = np.mgrid[:height, :width] / 10
        photo = 0.5 + 0.35 * np.stack([np.sin(rows), np.sin(cols), np.sin(rows + cols)])
        return simulate(photo, camera, capture or Capture(), np.random.default_rng(0))[0]

    return picture


@pytest.fixture
def camera() -> CameraModel:
    """The camera of `take`."""
    return CAMERA


@pytest.fixture
def write_tagged(monkeypatch, tmp_path):
    """Write a DNG with some of its tags left out and others in their place."""
    tags_of = dng._tags

    def write(raw: RawImage, *tags: tuple, without: tuple[int, ...] = ()) -> Path:
        gone = {*without, *(tag[0] for tag in tags)}
        monkeypatch.setattr(
            dng,
            "_tags",
            lambda raw, pixels: [t for t in tags_of(raw, pixels) if t[0] not in gone] + [*tags],
        )
        dng.write_dng(raw, tmp_path / "tagged.dng")
        return tmp_path / "tagged.dng"

    return write


@pytest.fixture
def rationals() -> Callable[..., tuple]:
    """Makes a DNG tag of signed rationals."""

    def tag(code: int, values: np.ndarray | tuple[float, ...]) -> tuple:
        pairs = [(round(value * 1e8), 100_000_000) for value in np.ravel(values)]
        return (code, "2i", len(pairs), tuple(number for pair in pairs for number in pair), True)

    return tag


@pytest.fixture
def run_fused() -> Callable[..., np.ndarray]:
    """Runs a fused loop on planes whose size is a multiple of a chunk: results (q, n)."""

    def run(
        loop: FusedLoop,
        planes: Sequence[torch.Tensor],
        numbers: Sequence[float],
        results: int,
        steps: int = 1,
    ) -> np.ndarray:
        chunks = planes[0].numel() // CHUNK
        laid = np.full((chunks, loop.columns, CHUNK), np.nan, np.float32)
        for column, plane in enumerate(planes):
            laid[:, column] = plane.reshape(chunks, CHUNK)
        rows = laid.reshape(chunks, -1)
        loop.kernel(rows, np.array(numbers, np.float32), np.ones(steps, bool))
        found = rows.reshape(laid.shape)[:, :results]
        return found.swapaxes(0, 1).reshape(results, -1)

    return run
