"""The main job on the embedded samples, with the embedded judge and agent."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from experiments.enhance import Settings, main, output_names
from isp_env.full_frame import render_raw
from isp_env.parameters import to_theta
from isp_env.pipeline import DEFAULT_PIPELINE
from isp_env.raw import read_raw
from isp_env.samples import sample_files, truth_of
from isp_env.sidecars import read_parameters


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Path]:
    return sample_files(tmp_path_factory.mktemp("samples"))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture(scope="module")
def run(samples, tmp_path_factory) -> tuple[int, Path, list[Path]]:
    """A run over two samples, one of them turned, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photos")
    turned = next(p for p in samples if "portrait" in p.stem)
    (folder / "noise.nef").write_bytes(b"MM\0*" + bytes(200))
    out = folder / "out"
    status = main(Settings(raw=[samples[1], turned, folder], out=out))
    return status, out, [samples[1], turned]


def test_every_good_file_is_developed_and_the_bad_one_named(run):
    status, out, good = run
    assert status == 1
    report = json.loads((out / "results.json").read_text())
    assert [r["source"] for r in report["results"]] == [str(p) for p in good]
    (failure,) = report["failures"]
    assert failure["file"].endswith("noise.nef")
    assert failure["reason"]
    expected = {f"{p.stem}.{suffix}" for p in good for suffix in ("jpg", "json")}
    assert {p.name for p in out.iterdir()} == expected | {"results.json", "contact_sheet.png"}


def test_the_agents_choice_is_refined(run, samples, tmp_path):
    _, out, good = run
    assert main(Settings(raw=[samples[1]], out=tmp_path, refine=0)) == 0
    plain = json.loads((tmp_path / f"{good[0].stem}.json").read_text())
    refined = json.loads((out / f"{good[0].stem}.json").read_text())
    assert (plain["renders"], refined["renders"]) == (1, 5)
    assert refined["parameters"] != plain["parameters"]
    assert refined["score"]["after"] > plain["score"]["after"]


def test_photographs_are_upright_and_of_full_size(run):
    _, out, good = run
    for path in good:
        truth = truth_of(path)
        assert truth is not None
        assert size(out / f"{path.stem}.jpg") == size(truth)


def test_sidecar_tells_parameters_and_scores(run):
    _, out, good = run
    sidecar = json.loads((out / f"{good[0].stem}.json").read_text())
    assert sidecar["parameters"]["exposure"]["unit"] == "EV"
    assert -2 <= sidecar["parameters"]["exposure"]["value"] <= 2
    assert set(sidecar["attributes"]) == {
        *("sharpness", "contrast", "brightness", "colorfulness", "noisiness")
    }
    assert sidecar["simulated"] is True
    assert 1 <= sidecar["renders"] <= 5
    assert sidecar["fidelity"]["before"]["psnr"] > 5


def test_a_sidecar_renders_the_photograph_again(run, tmp_path):
    _, out, good = run
    values = read_parameters(out / f"{good[0].stem}.json", DEFAULT_PIPELINE.parameters)
    theta = to_theta(DEFAULT_PIPELINE.parameters, values)[0]
    with Image.open(out / f"{good[0].stem}.jpg") as photograph:
        shown = np.asarray(photograph, np.float32)
    again = render_raw(read_raw(good[0]), theta)
    assert np.abs(shown - again).mean() < 4  # JPEG


def test_an_underexposed_photograph_becomes_brighter_and_better(run):
    _, out, good = run
    sidecar = json.loads((out / f"{good[0].stem}.json").read_text())
    assert "underexposed" in good[0].stem
    assert sidecar["score"]["after"] > sidecar["score"]["before"]
    assert sidecar["fidelity"]["after"]["psnr"] > sidecar["fidelity"]["before"]["psnr"] + 2


def test_same_input_same_files(run, tmp_path):
    _, out, good = run
    main(Settings(raw=good[:1], out=tmp_path))
    for suffix in ("jpg", "json"):
        name = f"{good[0].stem}.{suffix}"
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_tiff_has_sixteen_bits(samples, tmp_path):
    assert main(Settings(raw=[samples[2]], out=tmp_path, format="tif")) == 0
    pixels = tifffile.imread(tmp_path / f"{samples[2].stem}.tif")
    assert pixels.dtype == np.uint16
    assert len(np.unique(pixels)) > 1000


@pytest.mark.data
def test_broken_files_are_named_and_leave_no_picture(data, tmp_path, capsys):
    broken = sorted((data / "raw" / "broken").iterdir())
    assert main(Settings(raw=[data / "raw" / "broken"], out=tmp_path)) == 1
    report = json.loads((tmp_path / "results.json").read_text())
    assert [Path(f["file"]).name for f in report["failures"]] == [p.name for p in broken]
    assert all(f["reason"] for f in report["failures"])
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
    assert "Traceback" not in capsys.readouterr().out


def test_equal_names_do_not_overwrite_each_other(tmp_path):
    a, b, c = tmp_path / "1" / "a.dng", tmp_path / "2" / "a.dng", tmp_path / "a.nef"
    assert output_names([a, c]) == {a: "a.dng", c: "a.nef"}
    assert len(set(output_names([a, b, c]).values())) == 3
    years = [tmp_path / year / "DCIM" / "a.dng" for year in ("2023", "2024")]
    assert len(set(output_names(years).values())) == 2
    assert output_names([tmp_path / "results.dng"]) == {tmp_path / "results.dng": "results.dng"}


def test_a_damaged_sample_is_reported_not_raised(samples, tmp_path):
    cut = tmp_path / "cut.dng"
    shutil.copy(samples[0], cut)
    cut.write_bytes(cut.read_bytes()[:5000])
    assert main(Settings(raw=[cut], out=tmp_path / "out")) == 1
