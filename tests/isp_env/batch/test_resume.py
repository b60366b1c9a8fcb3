"""What is done is not done again, and what changed is: after kills, retouches, power failures."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isp_env.batch.manifest import NAME, Manifest, sidecar_path
from isp_env.batch.render_job import RenderSettings
from isp_env.batch.render_many import render_many
from isp_env.files import temporary_prefix
from isp_env.raw.find import BatchError, find_inputs
from tests.isp_env.batch.folders import HERE, content, render, shoot


def test_a_moved_folder_goes_on(shots, tmp_path):
    render(shots, tmp_path / "out")
    moved = shots.rename(tmp_path / "moved")
    assert [r.status for r in render(moved, tmp_path / "out")] == ["skipped"] * 3
    for sidecar in (tmp_path / "out").glob("*.json"):
        sidecar.unlink()  # the manifest is enough
    brighter = RenderSettings(parameters={"exposure": 1.0})
    assert [r.status for r in render(moved, tmp_path / "out", brighter)] == ["done"] * 3


def test_another_file_of_equal_size_and_time_is_not_done(shots, tmp_path):
    """Numbered names, and the first file is gone: the second would take its picture."""
    out = tmp_path / "out"
    for name in ("0.dng", "1.dng", "2.dng"):
        (shots / name).write_bytes((shots / name).read_bytes().ljust(100_000, b"\0"))
        os.utime(shots / name, (1e9, 1e9))
    numbered = RenderSettings(pattern="{index}")
    assert [r.status for r in render(shots, out, numbered)] == ["done"] * 3
    (shots / "0.dng").unlink()
    before = content(out)
    assert [r.status for r in render(shots, out, numbered)] == ["failed"] * 2
    assert content(out) == before


@pytest.mark.parametrize("recorded", [True, False])
def test_a_retouched_picture_is_kept(shots, tmp_path, recorded):
    out = tmp_path / "out"
    render(shots, out)
    with (out / "0.jpg").open("ab") as picture:
        picture.write(b"retouched")
    if not recorded:
        (out / NAME).unlink()
    before = content(out)
    for settings in (RenderSettings(), RenderSettings(parameters={"exposure": 1.0})):
        found = {r.output.name: r for r in render(shots, out, settings)}
        assert found["0.jpg"].status == "failed"
        assert "not overwritten without --overwrite" in (found["0.jpg"].reason or "")
        assert content(out)["0.jpg"] == before["0.jpg"]


def test_a_picture_retouched_to_the_same_size_is_kept(shots, tmp_path):
    out = tmp_path / "out"
    render(shots, out)
    retouched = (out / "0.jpg").read_bytes()[:-3] + b"\0\xff\xd9"
    (out / "0.jpg").write_bytes(retouched)
    other = RenderSettings(parameters={"exposure": 1.0})
    found = {r.output.name: r for r in render(shots, out, other)}
    assert {name: r.status for name, r in found.items()} == {
        "0.jpg": "failed",
        "1.jpg": "done",
        "2.jpg": "done",
    }
    assert "changed after it was rendered" in (found["0.jpg"].reason or "")
    assert (out / "0.jpg").read_bytes() == retouched


@pytest.mark.parametrize("first", [True, False])
def test_killed_before_the_manifest_knew_other_parameters_render_again(shots, tmp_path, first):
    out = tmp_path / "out"
    if not first:
        render(shots, out)
    known = (out / NAME).read_bytes() if not first else b""
    render(shots, out, RenderSettings(parameters={"exposure": 1.0, "contrast": 0.3}))
    (out / NAME).write_bytes(known)
    brighter = RenderSettings(parameters={"exposure": 2.0})
    assert [r.status for r in render(shots, out, brighter)] == ["done"] * 3
    assert [r.status for r in render(shots, out, brighter)] == ["skipped"] * 3


@pytest.mark.parametrize("left", [b"", bytes(5000)])
@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_power_failure_left_empty_is_rendered_again(shots, tmp_path, left, recorded):
    out = tmp_path / "out"
    render(shots, out)
    before = content(out)
    size = (out / "1.jpg").stat().st_size
    (out / "1.jpg").write_bytes(left[:size].ljust(size if left else 0, b"\0"))
    if not recorded:
        (out / NAME).unlink()
    statuses = {r.output.name: r.status for r in render(shots, out)}
    assert statuses == {"0.jpg": "skipped", "1.jpg": "done", "2.jpg": "skipped"}
    assert content(out) == before


@pytest.mark.parametrize("left", [b"\xff\xd8half", b"no picture"])
def test_a_damaged_picture_is_never_adopted(shots, tmp_path, left):
    out = tmp_path / "out"
    render(shots, out)
    (out / "1.jpg").write_bytes(left)
    (out / NAME).unlink()
    assert {r.output.name: r.status for r in render(shots, out)}["1.jpg"] == "failed"


def test_temporary_files_of_killed_workers_are_removed(shots, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for path in (out / "0.jpg", sidecar_path(out / "0.jpg")):
        (out / f"{temporary_prefix(path)}abcdefgh{path.suffix}").touch()
    mine = {".mine.jpg", ".9-abcdefgh.jpg", f"{temporary_prefix(out / '9.jpg')}abcdefgh.jpg"}
    for name in mine:
        (out / name).touch()
    render(shots, out)
    hidden = {p.name for p in out.iterdir() if p.name.startswith(".")}
    assert hidden - {NAME, ".isp-env.lock"} == mine


def test_two_batches_in_one_folder(shots, tmp_path):
    running = render_many(find_inputs([shots]), tmp_path / "out", executor=HERE)
    next(running)
    with pytest.raises(BatchError, match="another batch is at work"):
        render(shots, tmp_path / "out")
    running.close()
    assert [r.status for r in render(shots, tmp_path / "out")].count("failed") == 0


def test_a_torn_manifest_is_read_as_far_as_it_goes(shots, tmp_path):
    out = tmp_path / "out"
    render(shots, out)
    text = (out / NAME).read_bytes()
    (out / NAME).write_bytes(text[:-20])
    assert len(Manifest(out).entries) == 2
    # the third picture is there, with its sidecar: it is adopted, not rendered again
    assert [r.status for r in render(shots, out)] == ["skipped"] * 3
    assert len(Manifest(out).entries) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")
def test_killed_at_any_moment_a_batch_ends_as_if_undisturbed(tmp_path):
    """Six kills: in each of three runs first a worker dies, then the batch itself."""
    folder, out, calm = (tmp_path / name for name in ("shots", "out", "calm"))
    folder.mkdir()
    for seed in range(36):
        shoot(folder / f"{seed:02}.dng", seed)
    begun = time.monotonic()
    render(folder, calm, RenderSettings(parameters={"exposure": 0.4}))
    seconds_per_file = (time.monotonic() - begun) / 36  # so that a quick machine has files left
    script = str(Path(__file__).with_name("batch_runs.py"))
    command = [sys.executable, script, str(folder), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    rng = np.random.default_rng(0)
    finished: Counter[str] = Counter()
    words: list[str] = []
    failed: list[int] = []
    status: int | None = None
    for attempt in range(4):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        ) as batch:
            assert batch.stdout is not None
            words.clear()
            for line in batch.stdout:
                word, name = line.split()
                words.append(word)
                finished.update([name] if word == "done" else [])
                done = words.count("done") if word == "done" and attempt < 3 else 0
                if done == 1:
                    time.sleep(rng.uniform(0, seconds_per_file))
                    os.kill(rng.choice(workers_of(batch.pid)), signal.SIGKILL)
                if done == 4:
                    time.sleep(rng.uniform(0, seconds_per_file))
                    batch.send_signal(signal.SIGKILL)
        status = batch.returncode
        failed.append(words.count("failed"))
    assert max(failed) == 1  # what a killed worker was at; none if it was between two files
    assert status == 0
    assert "failed" not in words
    assert max(finished.values()) == 1  # no file that was reported done is rendered twice
    assert content(out) == content(calm)
    assert not [p for p in out.iterdir() if p.name.startswith(".") and p.suffix == ".jpg"]


def workers_of(pid: int) -> list[int]:
    """Workers of a batch: children of its fork server, which is its child."""
    return [worker for child in children(pid) for worker in children(child)]


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_recipe_does_not_depend_on_where_the_sidecar_was_found(shots, tmp_path):
    out = tmp_path / "out"
    (shots / "0.dng.json").write_text('{"format": 1, "parameters": {"exposure": 0.5}}')
    render(shots, out)
    (tmp_path / "notes").mkdir()
    (shots / "0.dng.json").rename(tmp_path / "notes" / "0.dng.json")
    settings = replace(RenderSettings(), sidecars=tmp_path / "notes")
    assert [r.status for r in render(shots, out, settings)] == ["skipped"] * 3
    assert sidecar_path(out / "0.jpg").exists()
