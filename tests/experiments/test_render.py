"""The command line of the batch renderer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.agent_chooser import REFINE
from experiments.render import Settings, main
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate

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
        {"agent": "embedded", "keep": ("exposure", "warmth")},
        {"agent": "embedded", "strength": 1.5},
        {"keep": ("exposure",)},
        {"strength": 0.5},
    ],
    ids=[
        *("nothing", "no such file", "no number", "no such knob", "no quality", "no workers"),
        *("no knob to keep", "no strength", "keep without an agent", "strength without an agent"),
    ],
)
def test_a_batch_that_cannot_begin_exits_with_2(shots, tmp_path, wrong):
    settings = {"raw": [str(shots)]} | wrong
    assert main(Settings(out=tmp_path / "out", **settings)) == 2
    assert not list(tmp_path.glob("out/*.jpg"))


def test_an_agent_chooses_as_in_enhance():
    assert Settings(raw=["a.dng"], out=Path("out")).refine == REFINE


@pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")
def test_ctrl_c_ends_with_a_line_and_loses_nothing(shots, tmp_path):
    """The terminal sends it to all processes of the group, workers and fork server included."""
    out = tmp_path / "out"
    for number in range(2, 30):
        os.link(shots / "0.dng", shots / f"{number}.dng")
        copy = (shots / f"{number}.dng").read_bytes() + bytes(number)  # files of their own
        (shots / f"{number}.dng").unlink()
        (shots / f"{number}.dng").write_bytes(copy)
    command = [sys.executable, "experiments/render.py", "--raw", str(shots), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--workers", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as batch:
        while batch.poll() is None and not (out / "0.jpg").exists():
            time.sleep(0.01)
        os.killpg(batch.pid, signal.SIGINT)
        said = "".join(batch.communicate())
    assert batch.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.jpg")}
    assert 1 <= len(finished) < 30
    assert main(Settings(out=out, raw=[str(shots)], workers=0)) == 0
    assert len(list(out.glob("*.jpg"))) == 30
    assert finished == {path: path.stat().st_mtime_ns for path in finished}


def test_a_full_disk_ends_with_a_line(shots, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "render-log.jsonl").symlink_to("/dev/full")
    assert main(Settings(out=out, raw=[str(shots)], workers=0)) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said
    (out / "render-log.jsonl").unlink()
    assert main(Settings(out=out, raw=[str(shots)], workers=0)) == 0


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere"])
def test_an_output_folder_that_cannot_be_is_said_in_a_line(shots, tmp_path, capsys, out):
    (tmp_path / "file").touch()
    assert main(Settings(out=tmp_path / out, raw=[str(shots)], workers=0)) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert out.split("/")[-1] in said


def test_a_missing_file_of_a_list_fails_alone(shots, tmp_path, capsys):
    (tmp_path / "list.txt").write_bytes(b"shots/0.dng\r\nshots/b\xe9d_\xff.dng\r\n")
    settings = Settings(out=tmp_path / "out", listed=tmp_path / "list.txt", workers=0)
    assert main(settings) == 1
    assert "b\\xe9d_\\xff.dng: no such file" in capsys.readouterr().err
    assert (tmp_path / "out" / "0.jpg").exists()


def test_names_that_look_like_markup_are_said_as_they_are(shots, tmp_path, capsys):
    folder = tmp_path / "x["
    folder.mkdir()
    (folder / "y].dng").write_bytes(b"nothing")
    assert main(Settings(out=tmp_path / "out", raw=[str(folder)], workers=0)) == 1
    assert "x[/y].dng" in capsys.readouterr().err.replace("\n", "")
