"""Folders of RAW files."""

import pytest

from tests.isp_env.batch.folders import shoot


@pytest.fixture
def shots(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for seed in range(3):
        shoot(folder / f"{seed}.dng", seed)
    return folder
