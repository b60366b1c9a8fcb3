"""What goes wrong fails alone, or stops the batch with a reason."""

import errno
import json
import os
from dataclasses import replace

import pytest

from isp_env.batch import render_job
from isp_env.batch import render_many as rendering
from isp_env.batch.manifest import Manifest
from isp_env.batch.render_job import RenderSettings
from isp_env.batch.render_many import render_many
from isp_env.batch.sidecars import SidecarError
from isp_env.raw import read_raw
from isp_env.raw.exif.fields import CameraExif, Field
from isp_env.raw.find import BatchError, find_inputs
from isp_env.raw.write_dng import write_dng
from isp_env.render.frame import OutputSize
from tests.isp_env.batch.folders import HERE, content, render


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


def test_metadata_that_is_left_out_is_noted(shots, tmp_path, monkeypatch):
    exif = CameraExif({270: Field.text("x" * 70_000)}, notes=("GPSLatitude left out: why",))
    monkeypatch.setattr(render_job, "camera_exif", lambda path: exif)
    assert [r.status for r in render(shots, tmp_path / "out")] == ["done"] * 3
    notes = json.loads((tmp_path / "out" / "0.jpg.json").read_text())["metadata left out"]
    assert notes[0] == "GPSLatitude left out: why"
    assert notes[1].startswith("ImageDescription of 70000 bytes shortened")
