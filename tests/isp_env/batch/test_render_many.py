"""Batches of RAW files to photographs: inputs, parameters, formats, sidecars."""

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from isp_env.batch.manifest import NAME, Manifest, sidecar_path
from isp_env.batch.render_job import Choice, RenderSettings
from isp_env.batch.render_many import LOG, affordable
from isp_env.files import fitting
from isp_env.raw.find import BatchError
from isp_env.render.frame import OutputSize
from isp_env.scenes.samples import NIKON_D750
from isp_env.workers.outcomes import Limits
from tests.isp_env.batch.folders import content, render, shoot


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


def test_a_dry_run_writes_nothing(shots, tmp_path):
    planned = render(shots, tmp_path / "out", dry_run=True)
    assert [(r.status, r.output.name) for r in planned] == [
        ("planned", f"{n}.jpg") for n in range(3)
    ]
    assert not (tmp_path / "out").exists()


def test_memory_bounds_the_number_of_workers():
    assert affordable(2, Limits(memory=1)) == 2
    assert affordable(1000, Limits(memory=10**12)) == 1


def test_isolated_workers_give_the_same(shots, tmp_path):
    render(shots, tmp_path / "here")
    results = render(shots, tmp_path / "there", executor=None, workers=2)
    assert [r.status for r in results] == ["done"] * 3
    assert content(tmp_path / "here") == content(tmp_path / "there")


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


def test_equal_stems_are_told_apart(shots, tmp_path):
    (shots / "more").mkdir()
    shoot(shots / "more" / "0.dng", 5)
    (shots / "1.dng").rename(shots / "0.nef")
    statuses = {r.output.name: r.status for r in render(shots, tmp_path / "out")}
    names = {"0.nef.jpg", "shots_0.dng.jpg", "more_0.dng.jpg", "2.jpg"}
    assert statuses == dict.fromkeys(names, "done")
    with pytest.raises(BatchError, match="would both be written"):
        render(shots, tmp_path / "other", RenderSettings(pattern="{stem}"))
