"""Property test: `read_raw` reads random legal DNGs as the independent reference does."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from experiments.isp.dng_reference import check_dng
from experiments.isp.dng_reference.agreement import compare
from experiments.isp.dng_reference.random_dng import random_dng
from experiments.isp.dng_reference.reference_dng import read_reference
from experiments.isp.dng_reference.unusual_mosaics import COLORS, unusual_mosaic
from isp_env.raw import read_raw

SEED, FILES, PARTS = 18, 320, 8
UNKNOWN = {"33_jxl.dng"}  # a codec that is refused by name
MEASURED = "black level as measured beside the picture"


@pytest.mark.parametrize("part", range(PARTS))
def test_random_files_are_read_as_the_reference_reads_them(part, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    wrong = {}
    for number in range(part, FILES, PARTS):
        row = check_dng.check(number, SEED, tmp_path)
        if row["wrong"]:
            wrong[number] = row["wrong"]
    assert not wrong


def test_a_difference_of_two_steps_is_seen(tmp_path):
    number = next(
        n
        for n in range(100)
        if random_dng(0, n).drawn["kind"] == "mosaic" and not random_dng(0, n).drawn["opcodes"]
    )
    path = tmp_path / "file.dng"
    path.write_bytes(random_dng(0, number).content)
    raw, reference = read_raw(path), read_reference(path)
    assert compare(raw, reference) == []
    assert raw.mosaic is not None
    changed = raw.mosaic.copy()
    changed[5, 5] += 3 * (np.asarray(raw.white).max() / 2**14 if changed.dtype.kind == "f" else 1)
    assert "1 samples" in compare(replace(raw, mosaic=changed), reference)[0]
    assert "orientation" in compare(replace(raw, orientation=9 - raw.orientation), reference)[0]
    assert "exposure" in compare(replace(raw, baseline_exposure=9.0), reference)[0]
    assert "crop" in compare(replace(raw, crop=(0, 0, 9, 9)), reference)[0]
    assert "neutral" in compare(replace(raw, as_shot_neutral=np.ones(3)), reference)[0]


def test_the_script_names_what_is_read_otherwise_and_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(check_dng, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(check_dng, "differences", lambda path: ["other"] * ("_2" in path.name))
    assert check_dng.main(check_dng.Settings(count=4, seed=5, out=tmp_path)) == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["files"], summary["wrong"]) == (4, 1)
    assert [(d["seed"], d["number"]) for d in summary["differences"]] == [(5, 2)]
    assert (tmp_path / "5_2.dng").read_bytes() == random_dng(5, 2).content
    assert not (tmp_path / "5_1.dng").exists()
    monkeypatch.setattr(check_dng, "differences", lambda path: [])
    assert check_dng.main(check_dng.Settings(count=2, seed=5, out=tmp_path / "none")) == 0


class InThisProcess:
    """Stands in for a pool of processes."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, task, numbers, chunksize):
        return map(task, numbers)


@pytest.mark.parametrize("kind", COLORS)
def test_mosaics_that_are_no_bayer_pattern_become_grey_as_their_scene(kind, tmp_path):
    path = tmp_path / "file.dng"
    path.write_bytes(unusual_mosaic(kind))
    raw = read_raw(path)
    assert raw.linear is not None
    assert any("LibRaw" in note for note in raw.fallbacks), raw.fallbacks
    height, width = raw.linear.shape[1:]
    middle = raw.linear[:, height // 3 : -height // 3, width // 3 : -width // 3].astype(float)
    black = np.asarray(raw.black, float).reshape(-1, 1, 1)
    balanced = (middle - black) / raw.as_shot_neutral[:, None, None]
    means = balanced.mean((1, 2))
    assert means / means[1] == pytest.approx([1, 1, 1], abs=0.03)
    assert balanced[1].std() > 0.05 * means[1]  # the scene is there


@pytest.mark.data
def test_dngs_of_cameras_and_of_faults_are_read_as_the_reference_reads_them(data, caplog):
    caplog.set_level(logging.ERROR)
    paths = [*(data / "raw" / "cameras").glob("*.dng"), *(data / "faults" / "raw").rglob("*.dng")]
    wrong = {}
    for path in sorted(set(paths)):
        if path.name in UNKNOWN:
            continue
        raw, reference = read_raw(path), read_reference(path)
        if any(note.startswith(MEASURED) for note in raw.fallbacks):  # not what the tags say
            stated = reference.black[0, : raw.black.shape[0], : raw.black.shape[1]]
            assert np.abs(raw.black - stated).max() < 0.002 * reference.white[0]
            raw = replace(raw, black=stated.astype(np.float32))
        found = compare(raw, reference)
        if found:
            wrong[path.name] = found
    assert not wrong
    assert len(paths) >= 15
