"""Batches: layers of parameters, resume, names, failures, and death at any moment."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from isp_env.batch import render_job
from isp_env.batch import render_many as rendering
from isp_env.batch.manifest import NAME, Manifest, sidecar_path
from isp_env.batch.render_job import Choice, RenderSettings
from isp_env.batch.render_many import LOG, affordable, render_many
from isp_env.batch.sidecars import SidecarError
from isp_env.files import fitting, temporary_prefix
from isp_env.raw import read_raw
from isp_env.raw.exif.fields import CameraExif, Field
from isp_env.raw.find import BatchError, find_inputs
from isp_env.raw.write_dng import write_dng
from isp_env.render.frame import OutputSize
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits

HERE = partial(run_isolated, workers=0, limits=Limits())  # in this process: quick


def shoot(path: Path, seed: int) -> None:
    photo = np.random.default_rng(seed).uniform(0, 1, (3, 8, 12)).repeat(8, 1).repeat(8, 2)
    raw, _ = simulate(photo, NIKON_D750, Capture(iso=400), np.random.default_rng(seed))
    write_dng(raw, path)


@pytest.fixture
def shots(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for seed in range(3):
        shoot(folder / f"{seed}.dng", seed)
    return folder


def render(folder: Path, out: Path, settings: RenderSettings | None = None, **more: Any):
    more = {"executor": HERE} | more
    return list(render_many(find_inputs([folder]), out, settings or RenderSettings(), **more))


def content(folder: Path) -> dict[str, bytes]:
    """Pictures and sidecars."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".jpg", ".json")}


def test_a_batch_and_the_same_again(shots, tmp_path):
    out = tmp_path / "out"
    first = render(shots, out)
    assert [r.status for r in first] == ["done"] * 3
    with Image.open(out / "1.jpg") as picture:
        assert picture.size == (96, 64)
        assert picture.getexif()[0x0110] == NIKON_D750.name
    before = content(out)
    assert set(before) == {f"{n}.jpg{s}" for n in range(3) for s in ("", ".json")}
    assert [r.status for r in render(shots, out)] == ["skipped"] * 3
    assert content(out) == before
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert Counter(line["status"] for line in lines) == {"done": 3, "skipped": 3}


def test_what_changed_is_rendered_again_and_nothing_else(shots, tmp_path):
    out = tmp_path / "out"
    render(shots, out)
    shoot(shots / "0.dng", 7)  # other content
    os.utime(shots / "1.dng")  # another time, the same content
    (out / "2.jpg").unlink()
    assert [r.status for r in sorted(render(shots, out), key=lambda r: r.output)] == [
        *("done", "skipped", "done")
    ]
    brighter = RenderSettings(parameters={"exposure": 1.0})
    assert [r.status for r in render(shots, out, brighter)] == ["done"] * 3


def test_layers_of_parameters_later_ones_win(shots, tmp_path):
    @dataclass(frozen=True)
    class Chooser:
        identity: str = "test"

        def __call__(self, raw, given) -> Choice:
            return Choice({"gamma": 1.4})

    write = lambda path, **values: path.write_text(  # noqa: E731
        json.dumps({"format": 1, "parameters": values})
    )
    layers = {"exposure": 0.1, "tint": 1.0, "contrast": 0.1, "gamma": 1.1}
    write(shots / "0.dng.json", **layers)
    write(tmp_path / "preset.json", **{k: layers[k] * 2 for k in ("tint", "contrast")}, gamma=1.2)
    settings = RenderSettings(
        preset=tmp_path / "preset.json",
        parameters={"contrast": 0.3, "gamma": 1.3},
        choose=Chooser(),
    )
    render(shots, tmp_path / "out", settings)
    written = json.loads((tmp_path / "out" / "0.jpg.json").read_text())["parameters"]
    found = {name: written[name]["value"] for name in layers}
    assert found == {"exposure": 0.1, "tint": 2.0, "contrast": 0.3, "gamma": 1.4}


def test_a_sidecar_renders_the_same_picture_again(shots, tmp_path):
    settings = RenderSettings(parameters={"exposure": 0.123456789, "temperature": -17.3})
    render(shots, tmp_path / "a", settings)
    written = json.loads((tmp_path / "a" / "1.jpg.json").read_text())
    assert written["source"] == "1.dng"
    assert (shots / "1.dng.json").write_text(json.dumps(written))
    render(shots, tmp_path / "b")
    assert (tmp_path / "a" / "1.jpg").read_bytes() == (tmp_path / "b" / "1.jpg").read_bytes()
    assert (tmp_path / "a" / "2.jpg").read_bytes() != (tmp_path / "b" / "2.jpg").read_bytes()


def test_formats_sizes_and_spaces(shots, tmp_path):
    deep = RenderSettings(suffix=".tif", bits=16, space="prophoto", size=OutputSize(long_side=48))
    render(shots, tmp_path / "out", deep)
    picture = tifffile.imread(tmp_path / "out" / "0.tif")
    assert (picture.dtype, picture.shape) == (np.uint16, (32, 48, 3))
    described = json.loads((tmp_path / "out" / "0.tif.json").read_text())["output"]
    assert described == {"width": 48, "height": 32, "bits": 16, "space": "ProPhoto RGB"}


def test_a_broken_file_costs_itself_alone(shots, tmp_path):
    (shots / "1.dng").write_bytes(b"II*\0nothing")
    (shots / "2.dng.json").write_text('{"format": 1, "parameters": {"exposure": 99}}')
    results = {r.source.name: r for r in render(shots, tmp_path / "out")}
    assert results["0.dng"].status == "done"
    assert results["1.dng"].status == "failed"
    assert "exposure must be" in (results["2.dng"].reason or "")
    assert set(content(tmp_path / "out")) == {"0.jpg", "0.jpg.json"}


def test_pictures_of_others_are_not_overwritten(shots, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "0.jpg").write_bytes(b"mine")
    first = {r.source.name: r for r in render(shots, out)}
    assert "not overwritten" in (first["0.dng"].reason or "")
    assert (out / "0.jpg").read_bytes() == b"mine"
    again = render(shots, out, RenderSettings(overwrite=True))
    assert [r.status for r in again] == ["done"] * 3
    assert (out / "0.jpg").read_bytes() != b"mine"


def test_another_folder_does_not_replace_the_pictures_of_the_first(shots, tmp_path):
    out = tmp_path / "out"
    render(shots, out)
    before = content(out)
    other = tmp_path / "other"
    other.mkdir()
    shoot(other / "0.dng", 7)
    shutil.copy(shots / "1.dng", other / "1.dng")  # the same photograph
    found = {r.source.name: r for r in render(other, out)}
    assert found["0.dng"].status == "failed"
    assert f"rendered from {shots / '0.dng'}: not overwritten" in (found["0.dng"].reason or "")
    assert found["1.dng"].status == "skipped"
    assert content(out) == before
    assert [r.status for r in render(other, out, RenderSettings(overwrite=True))] == ["done"] * 2


def test_relative_names_of_different_folders_are_different(shots, tmp_path, monkeypatch):
    render(shots, tmp_path / "out")
    monkeypatch.chdir(shots)
    assert [r.status for r in render(Path(), tmp_path / "out")] == ["skipped"] * 3
    render(Path(), tmp_path / "relative")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shoot(elsewhere / "0.dng", 7)
    monkeypatch.chdir(elsewhere)
    assert [r.status for r in render(Path(), tmp_path / "relative")] == ["failed"]


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
    assert hidden - {NAME, ".render-lock"} == mine


def test_a_dry_run_writes_nothing(shots, tmp_path):
    planned = render(shots, tmp_path / "out", dry_run=True)
    assert [(r.status, r.output.name) for r in planned] == [
        ("planned", f"{n}.jpg") for n in range(3)
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RenderSettings(bits=16), "16 bits need .tif"),
        (RenderSettings(space="adobe"), "expected one of srgb, p3, prophoto"),
        (RenderSettings(quality=0), "quality 0"),
        (RenderSettings(size=OutputSize(width=0)), "width 0"),
    ],
)
def test_settings_that_do_not_fit(shots, tmp_path, settings, message):
    with pytest.raises(BatchError, match=message):
        render(shots, tmp_path / "out", settings)
    with pytest.raises(SidecarError, match="unknown parameter"):
        render(shots, tmp_path / "out", RenderSettings(parameters={"blur": 1.0}))


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


def test_memory_bounds_the_number_of_workers():
    assert affordable(2, Limits(memory=1)) == 2
    assert affordable(1000, Limits(memory=10**12)) == 1


def test_isolated_workers_give_the_same(shots, tmp_path):
    render(shots, tmp_path / "here")
    results = render(shots, tmp_path / "there", executor=None, workers=2)
    assert [r.status for r in results] == ["done"] * 3
    assert content(tmp_path / "here") == content(tmp_path / "there")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")
def test_killed_at_any_moment_a_batch_ends_as_if_undisturbed(tmp_path):
    """Ten kills: in each of five runs first a worker dies, then the batch itself."""
    folder, out, calm = (tmp_path / name for name in ("shots", "out", "calm"))
    folder.mkdir()
    for seed in range(60):
        shoot(folder / f"{seed:02}.dng", seed)
    begun = time.monotonic()
    render(folder, calm, RenderSettings(parameters={"exposure": 0.4}))
    seconds_per_file = (time.monotonic() - begun) / 60  # so that a quick machine has files left
    script = str(Path(__file__).with_name("batch_runs.py"))
    command = [sys.executable, script, str(folder), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    rng = np.random.default_rng(0)
    finished: Counter[str] = Counter()
    words: list[str] = []
    failed: list[int] = []
    status: int | None = None
    for attempt in range(6):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        ) as batch:
            assert batch.stdout is not None
            words.clear()
            for line in batch.stdout:
                word, name = line.split()
                words.append(word)
                finished.update([name] if word == "done" else [])
                done = words.count("done") if word == "done" and attempt < 5 else 0
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


@dataclass(frozen=True)
class Reviewer:
    """Says how bright a picture was asked to be."""

    identity: str = "first"

    def __call__(self, raw, theta, name) -> dict[str, Any]:
        return {"by": self.identity, "name": name, "theta": theta.tolist()[:1]}

    def covers(self, judged, name) -> bool:
        return isinstance(judged, dict) and (judged["by"], judged["name"]) == (self.identity, name)


def test_a_review_is_kept_in_the_sidecar_and_does_not_change_the_picture(shots, tmp_path):
    out, plain = tmp_path / "out", tmp_path / "plain"
    render(shots, plain)
    reviewed = RenderSettings(review=Reviewer())
    assert [r.status for r in render(shots, out, reviewed)] == ["done"] * 3
    judged = json.loads((out / "1.jpg.json").read_text())["judged"]
    assert (judged["by"], judged["name"]) == ("first", "1.jpg")
    assert all((out / f"{n}.jpg").read_bytes() == (plain / f"{n}.jpg").read_bytes() for n in "012")
    assert [r.status for r in render(shots, out, reviewed)] == ["skipped"] * 3
    assert [r.status for r in render(shots, out)] == ["skipped"] * 3  # nothing is lost by it


def test_pictures_that_a_review_has_not_seen_are_rendered_again(shots, tmp_path):
    out = tmp_path / "out"
    render(shots, out)
    before = (out / "0.jpg").read_bytes()
    assert [r.status for r in render(shots, out, RenderSettings(review=Reviewer()))] == ["done"] * 3
    assert (out / "0.jpg").read_bytes() == before
    other = RenderSettings(review=Reviewer("second"))
    assert [r.status for r in render(shots, out, other)] == ["done"] * 3
    (out / NAME).unlink()  # adopted from the sidecars, which have the review
    assert [r.status for r in render(shots, out, other)] == ["skipped"] * 3
    for name in "012":
        sidecar_path(out / f"{name}.jpg").unlink()
    assert [r.status for r in render(shots, out, other)] == ["done"] * 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_names_of_255_bytes(shots, tmp_path, suffix):
    out = tmp_path / "out"
    long = ["ü" * 125 + "a", "ü" * 125 + "b", "x" * 251]
    for number, stem in enumerate(long):
        (shots / f"{number}.dng").rename(shots / f"{stem}.dng")
        sidecar = shots / fitting(f"{stem}.dng", ".json")
        sidecar.write_text('{"format": 1, "parameters": {"exposure": 0.5}}')
    settings = RenderSettings(suffix=suffix)
    assert [r.status for r in render(shots, out, settings)] == ["done"] * 3
    assert {p.name for p in out.glob(f"*{suffix}")} == {stem + suffix for stem in long}
    for stem in long:
        told = json.loads(sidecar_path(out / f"{stem}{suffix}").read_text())
        assert told["parameters"]["exposure"]["value"] == 0.5
    assert [r.status for r in render(shots, out, settings)] == ["skipped"] * 3
    (out / NAME).unlink()
    assert [r.status for r in render(shots, out, settings)] == ["skipped"] * 3


def test_names_that_are_no_text(shots, tmp_path):
    out = tmp_path / "out"
    odd = [os.fsdecode(b"b\xe9d_\xff"), "new\nline", "[bold] x"]
    for number, stem in enumerate(odd):
        (shots / f"{number}.dng").rename(shots / f"{stem}.dng")
    (shots / "gone.dng").symlink_to(shots / f"{odd[0]}.dng")  # the same file: rendered once
    assert [r.status for r in render(shots, out)] == ["done"] * 3
    assert {p.stem for p in out.glob("*.jpg")} == set(odd)
    assert [r.status for r in render(shots, out)] == ["skipped"] * 3
    lines = (out / LOG).read_text().splitlines()
    assert {Path(json.loads(line)["source"]).stem for line in lines} == set(odd)
    assert set(Manifest(out).entries) == {f"{stem}.jpg" for stem in odd}
    (shots / f"{odd[0]}.dng").write_bytes(b"nothing")
    found = {r.source.stem: r for r in render(shots, tmp_path / "other")}
    assert (found[odd[0]].reason or "").startswith("truncated or unreadable")


def test_json_of_other_programs_costs_no_picture(shots, tmp_path, caplog):
    (shots / "0.dng.json").write_text('{"title": "0.dng", "creationTime": {}}')
    (shots / "1.dng.json").write_text('{"format": 1, "parameters": {"blur": 1}}')
    (shots / "2.dng.json").write_text('{"format": 1, "parameters": ' + "[" * 100_000)
    found = {r.source.name: r for r in render(shots, tmp_path / "out")}
    assert [found[f"{n}.dng"].status for n in range(3)] == ["done", "failed", "failed"]
    assert "0.dng.json: ignored" in caplog.text
    assert "1.dng.json: unknown parameter 'blur'" in (found["1.dng"].reason or "")
    assert "2.dng.json: not readable as JSON" in (found["2.dng"].reason or "")


def test_files_that_are_not_there_fail_alone(shots, tmp_path):
    os.mkfifo(shots / "pipe.dng")
    named = ["gone.dng", shots / "pipe.dng", shots / "0.dng"]
    inputs = find_inputs([], named)
    batch = render_many(inputs, tmp_path / "out", executor=HERE)
    found = [(r.source.name, r.status, r.reason) for r in batch]
    assert found == [
        ("gone.dng", "failed", "no such file"),
        ("pipe.dng", "failed", "no regular file"),
        ("0.dng", "done", None),
    ]


def test_an_unexpected_error_fails_one_file(shots, tmp_path, monkeypatch, caplog):
    def find(path, folder):
        if path.stem == "1":
            raise ZeroDivisionError("surprise")

    monkeypatch.setattr(rendering, "find_sidecar", find)
    found = {r.source.name: r for r in render(shots, tmp_path / "out")}
    assert [found[f"{n}.dng"].status for n in range(3)] == ["done", "failed", "done"]
    assert found["1.dng"].reason == "unexpected ZeroDivisionError: surprise"


def test_a_rendering_without_a_picture_is_no_photograph(shots, tmp_path):
    settings = RenderSettings(parameters={"exposure": 2.0})
    raw = read_raw(shots / "0.dng")
    assert raw.mosaic is not None
    bright = replace(raw, mosaic=raw.mosaic // 4 + 8000, baseline_exposure=8.0)
    write_dng(bright, shots / "0.dng")
    found = {r.source.name: r for r in render(shots, tmp_path / "out", settings)}
    assert found["0.dng"].status == "failed"
    assert "every pixel of its rendering is 255" in (found["0.dng"].reason or "")
    assert not (tmp_path / "out" / "0.jpg").exists()


def test_a_full_disk_stops_the_batch_and_nothing_is_lost(shots, tmp_path, monkeypatch):
    out, encode = tmp_path / "out", render_job.encode_photograph
    written = []

    def encode_some(pixels, path, **options):
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return encode(pixels, path, **options)

    monkeypatch.setattr(render_job, "encode_photograph", encode_some)
    batch = render_many(find_inputs([shots]), out, executor=HERE)
    assert [next(batch).status, next(batch).status] == ["done", "failed"]
    with pytest.raises(BatchError, match=r"stopped: .*No space left on device"):
        next(batch)
    monkeypatch.undo()
    assert [r.status for r in render(shots, out)] == ["skipped", "done", "done"]
    assert not list(out.glob(".*.jpg"))


def test_a_manifest_that_cannot_be_written_stops_the_batch(shots, tmp_path, monkeypatch):
    def add(manifest, entry):
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    monkeypatch.setattr(Manifest, "add", add)
    with pytest.raises(OSError, match="No space left"):
        render(shots, out)
    monkeypatch.undo()
    assert [r.status for r in render(shots, out)] == ["skipped", "done", "done"]


def test_an_output_folder_that_is_none(shots, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(BatchError, match="file is a file"):
        render(shots, tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BatchError, match="not yours to write in"):
        render(shots, tmp_path / "out")


def test_equal_stems_are_told_apart(shots, tmp_path):
    (shots / "more").mkdir()
    shoot(shots / "more" / "0.dng", 5)
    (shots / "1.dng").rename(shots / "0.nef")
    statuses = {r.output.name: r.status for r in render(shots, tmp_path / "out")}
    names = {"0.nef.jpg", "shots_0.dng.jpg", "more_0.dng.jpg", "2.jpg"}
    assert statuses == dict.fromkeys(names, "done")
    with pytest.raises(BatchError, match="would both be written"):
        render(shots, tmp_path / "other", RenderSettings(pattern="{stem}"))


def test_metadata_that_is_left_out_is_noted(shots, tmp_path, monkeypatch):
    exif = CameraExif({270: Field.text("x" * 70_000)}, notes=("GPSLatitude left out: why",))
    monkeypatch.setattr(render_job, "camera_exif", lambda path: exif)
    assert [r.status for r in render(shots, tmp_path / "out")] == ["done"] * 3
    notes = json.loads((tmp_path / "out" / "0.jpg.json").read_text())["metadata left out"]
    assert notes[0] == "GPSLatitude left out: why"
    assert notes[1].startswith("ImageDescription of 70000 bytes shortened")
