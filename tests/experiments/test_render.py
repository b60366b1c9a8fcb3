"""The command line of the batch renderer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.agent_chooser import REFINE
from experiments.render import Settings, main
from isp_env.raw.write_dng import write_dng
from isp_env.samples import NIKON_D750
from isp_env.simulation import Capture, simulate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shots(tmp_path) -> Path:
    folder = tmp_path / "shots"
    folder.mkdir()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        photo = rng.uniform(0, 1, (3, 8, 12)).repeat(8, 1).repeat(8, 2)
        write_dng(simulate(photo, NIKON_D750, Capture(iso=400), rng)[0], folder / f"{seed}.dng")
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "experiments/render.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_good_files_are_rendered_and_the_bad_one_named(shots, tmp_path):
    (shots / "bad.nef").write_bytes(b"MM\0*" + bytes(200))
    out = tmp_path / "out"
    done = run(
        *("--raw", str(shots), "--out", str(out), "--workers", "1", "--long-side", "32"),
        *("--parameters", "exposure=0.5", "--agent", "embedded"),
    )
    assert done.returncode == 1, done.stderr
    assert "bad.nef" in done.stderr
    assert "2 done, 1 failed" in done.stderr
    with Image.open(out / "0.jpg") as picture:
        assert max(picture.size) == 32
    log = [json.loads(line) for line in (out / "render-log.jsonl").read_text().splitlines()]
    assert len([entry for entry in log if "bad.nef" in json.dumps(entry)]) == 1


def test_dry_run_writes_nothing(shots, tmp_path, capsys):
    assert main(Settings(out=tmp_path / "out", raw=[str(shots)], dry_run=True)) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"raw": []},
        {"raw": ["nowhere/*.nef"]},
        {"parameters": ("exposure=bright",)},
        {"parameters": ("blur=1",)},
        {"quality": 0},
        {"workers": -1},
    ],
    ids=["nothing", "no such file", "no number", "no such knob", "no quality", "no workers"],
)
def test_a_batch_that_cannot_begin_exits_with_2(shots, tmp_path, wrong):
    settings = {"raw": [str(shots)]} | wrong
    assert main(Settings(out=tmp_path / "out", **settings)) == 2
    assert not list(tmp_path.glob("out/*.jpg"))


def test_an_agent_chooses_as_in_enhance():
    assert Settings(raw=["a.dng"], out=Path("out")).refine == REFINE
