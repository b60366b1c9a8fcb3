"""The main job on the embedded samples, with the embedded judge and agent."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from experiments import render
from experiments.enhance import Settings, main
from experiments.score_review import ScoreReview
from isp_env.batch.sidecars import read_parameters
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.raw import RawImage, read_raw
from isp_env.raw.write_dng import write_dng
from isp_env.render.frame import render_raw
from isp_env.scenes.samples import NIKON_D750, sample_files, truth_of
from isp_env.scenes.simulation import Capture, simulate

REPORTS = {"results.json", "render-log.jsonl", "index.html"}
HERE = 0  # workers: none, in this process, which has the networks loaded


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Path]:
    return sample_files(tmp_path_factory.mktemp("samples"))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def page_json(page: str) -> dict:
    block = re.search(r'<script type="application/json" id="data">(.*)</script>', page)
    assert block is not None
    return json.loads(block[1])


def sidecar(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.name}.json").read_text())


@pytest.fixture(scope="module")
def run(samples, tmp_path_factory) -> tuple[int, Path, list[Path]]:
    """A run over two samples, one of them turned, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photos")
    turned = next(p for p in samples if "portrait" in p.stem)
    (folder / "noise.nef").write_bytes(b"MM\0*" + bytes(200))
    out = folder / "out"
    raw = [str(samples[1]), str(turned), str(folder)]
    status = main(Settings(raw=raw, out=out, workers=HERE))
    return status, out, [samples[1], turned]


def test_every_good_file_is_developed_and_the_bad_one_named(run):
    status, out, good = run
    assert status == 1
    report = json.loads((out / "results.json").read_text())
    assert [r["source"] for r in report["results"]] == [str(p) for p in good]
    assert [r["photograph"] for r in report["results"]] == [f"{p.stem}.jpg" for p in good]
    (failure,) = report["failures"]
    assert failure["file"].endswith("noise.nef")
    assert failure["reason"]
    expected = {f"{p.stem}.jpg{suffix}" for p in good for suffix in ("", ".json")}
    shown = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert shown == expected | REPORTS | {"contact_sheet.png", "page"}
    previews = {f"{p.stem}.jpg.{which}.jpg" for p in good for which in ("neutral", "enhanced")}
    assert {p.name for p in (out / "page").iterdir()} == previews


def test_it_gives_the_pictures_of_the_batch_renderer(run, tmp_path):
    _, out, good = run
    settings = render.Settings(
        raw=[str(path) for path in good], out=tmp_path, agent="embedded", workers=HERE
    )
    assert render.main(settings) == 0
    for path in good:
        assert (tmp_path / f"{path.stem}.jpg").read_bytes() == (
            (out / f"{path.stem}.jpg").read_bytes()
        )


def test_workers_give_the_same_and_a_second_run_skips_but_reports_all(run, tmp_path):
    _, out, good = run
    settings = Settings(raw=[str(path) for path in good], out=tmp_path, workers=1)
    assert main(settings) == 0
    reports = [json.loads((folder / "results.json").read_text()) for folder in (out, tmp_path)]
    assert reports[0]["results"] == reports[1]["results"]
    sheet = (tmp_path / "contact_sheet.png").read_bytes()
    assert sheet == (out / "contact_sheet.png").read_bytes()
    for path in good:
        assert (tmp_path / f"{path.stem}.jpg").read_bytes() == (
            (out / f"{path.stem}.jpg").read_bytes()
        )
    times = [(tmp_path / f"{path.stem}.jpg").stat().st_mtime_ns for path in good]
    assert main(settings) == 0
    assert times == [(tmp_path / f"{path.stem}.jpg").stat().st_mtime_ns for path in good]
    again = json.loads((tmp_path / "results.json").read_text())
    assert again == reports[1]
    assert (tmp_path / "contact_sheet.png").read_bytes() == sheet
    pages = [(folder / "index.html").read_text() for folder in (out, tmp_path)]
    assert page_json(pages[1])["photos"] == page_json(pages[0])["photos"]


def test_a_lost_preview_is_made_again(run, samples, tmp_path):
    settings = Settings(raw=[str(samples[1])], out=tmp_path, refine=0, workers=HERE)
    assert main(settings) == 0
    (preview,) = (tmp_path / "page").glob("*.neutral.jpg")
    before = preview.read_bytes()
    preview.unlink()
    assert main(settings) == 0
    assert preview.read_bytes() == before


def test_the_page_has_the_scores_and_parameters_of_the_sidecars(run):
    _, out, good = run
    page = page_json((out / "index.html").read_text())
    assert [photo["name"] for photo in page["photos"]] == [path.name for path in good]
    assert [failure["reason"] != "" for failure in page["failures"]] == [True]
    for path, photo in zip(good, page["photos"], strict=True):
        told = sidecar(out / f"{path.stem}.jpg")
        score = told["judged"]["score"]
        assert photo["score"] == pytest.approx([score["before"], score["after"]], abs=1e-5)
        values = read_parameters(out / f"{path.stem}.jpg.json", DEFAULT_PIPELINE.parameters)
        theta = to_theta(DEFAULT_PIPELINE.parameters, values)[0].tolist()
        assert photo["theta"] == pytest.approx(theta, abs=1e-4)
        assert size(out / photo["photograph"]) == tuple(photo["size"])
        previews = [size(out / photo[which]) for which in ("neutral", "enhanced")]
        assert [max(shape) for shape in previews] == [min(640, max(photo["size"]))] * 2


def test_the_agents_choice_is_refined(run, samples, tmp_path):
    _, out, good = run
    assert main(Settings(raw=[str(samples[1])], out=tmp_path, refine=3, workers=HERE)) == 0
    refined = sidecar(tmp_path / f"{good[0].stem}.jpg")
    plain = sidecar(out / f"{good[0].stem}.jpg")
    assert (plain["renders"], refined["renders"]) == (1, 4)
    assert refined["parameters"] != plain["parameters"]


def test_photographs_are_upright_and_of_full_size(run):
    _, out, good = run
    for path in good:
        truth = truth_of(path)
        assert truth is not None
        assert size(out / f"{path.stem}.jpg") == size(truth)


def test_sidecar_tells_parameters_and_scores(run):
    _, out, good = run
    told = sidecar(out / f"{good[0].stem}.jpg")
    assert told["parameters"]["exposure"]["unit"] == "EV"
    assert -2 <= told["parameters"]["exposure"]["value"] <= 2
    assert set(told["judged"]["attributes"]) == {
        *("sharpness", "contrast", "brightness", "colorfulness", "noisiness")
    }
    assert told["simulated"] is True
    assert 1 <= told["renders"] <= 5
    assert told["judged"]["fidelity"]["before"]["psnr"] > 5


def test_a_sidecar_renders_the_photograph_again(run, tmp_path):
    _, out, good = run
    values = read_parameters(out / f"{good[0].stem}.jpg.json", DEFAULT_PIPELINE.parameters)
    theta = to_theta(DEFAULT_PIPELINE.parameters, values)[0]
    with Image.open(out / f"{good[0].stem}.jpg") as photograph:
        shown = np.asarray(photograph, np.float32)
    again = render_raw(read_raw(good[0]), theta)
    assert np.abs(shown - again).mean() < 4  # JPEG


def test_an_underexposed_photograph_becomes_brighter_and_better(run):
    _, out, good = run
    judged = sidecar(out / f"{good[0].stem}.jpg")["judged"]
    assert "underexposed" in good[0].stem
    assert judged["score"]["after"] > judged["score"]["before"]
    assert judged["fidelity"]["after"]["psnr"] > judged["fidelity"]["before"]["psnr"] + 2


def test_tiff_has_sixteen_bits(samples, tmp_path):
    settings = Settings(raw=[str(samples[2])], out=tmp_path, format="tif", workers=HERE)
    assert main(settings) == 0
    pixels = tifffile.imread(tmp_path / f"{samples[2].stem}.tif")
    assert pixels.dtype == np.uint16
    assert len(np.unique(pixels)) > 1000


def test_odd_names_and_a_list(samples, tmp_path, capsys):
    """A folder and a file that together look like markup of the console."""
    folder = tmp_path / "shots ["
    folder.mkdir()
    shutil.copy(samples[2], folder / "red] é.dng")
    content = "shots [/red] é.dng\r\nshots [/gone].dng\r\n".encode("utf-16")
    (tmp_path / "list.txt").write_bytes(content)
    settings = Settings(listed=tmp_path / "list.txt", out=tmp_path / "out", workers=HERE)
    assert main(settings) == 1
    said = capsys.readouterr()
    assert "red] é.dng" in said.out
    assert "gone].dng: no such file" in said.err
    assert (tmp_path / "out" / "red] é.jpg").exists()


def smooth(height: int, width: int) -> RawImage:
    """Too small, or too long, for the judge; a picture all the same."""
    rows, columns = np.mgrid[:height, :width] / 10
    photo = 0.5 + 0.35 * np.stack([np.sin(rows), np.sin(columns), np.sin(rows + columns)])
    return simulate(photo, NIKON_D750, Capture(), np.random.default_rng(0))[0]


def test_pictures_that_the_judge_refuses_are_developed_but_not_refined(tmp_path):
    write_dng(smooth(24, 96), tmp_path / "small.dng")
    small, out = [str(tmp_path / "small.dng")], tmp_path / "developed"
    assert main(Settings(raw=small, out=out, workers=HERE)) == 0
    judged = json.loads((out / "small.jpg.json").read_text())["judged"]
    assert judged["reason"].startswith("not scored: ")
    out = tmp_path / "out"
    assert main(Settings(raw=small, out=out, workers=HERE, refine=2)) == 1
    (failure,) = json.loads((out / "results.json").read_text())["failures"]
    assert failure["reason"].startswith("the agent's judge refuses the preview")


def test_pictures_that_cannot_be_scored_are_pictures(tmp_path):
    review = ScoreReview.of("embedded", tmp_path)
    theta = torch.zeros(len(DEFAULT_PIPELINE.parameters))
    judged = review(smooth(40, 960), theta, "long.jpg")
    assert judged["reason"].startswith("not scored: ")
    assert review.covers(judged, "long.jpg")
    assert not review.covers(judged, "other.jpg")
    assert [size(tmp_path / path) for path in review.previews("long.jpg")] == [(640, 27)] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"raw": ["MISSING"]},
        {"listed": Path("MISSING.txt")},
        {"agent": "MISSING.json"},
        {"reward": "MISSING"},
        {"workers": -1},
        {"quality": 0},
        {"strength": -0.1},
        {"keep": ("exposure", "warmth")},
    ],
)
def test_a_run_that_cannot_begin_says_why_in_a_line(samples, tmp_path, capsys, wrong):
    settings = {"raw": [str(samples[0])], "out": tmp_path / "out", "workers": HERE} | wrong
    assert main(Settings(**settings)) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out/*.jpg"))


@pytest.mark.data
def test_broken_files_are_named_and_leave_no_picture(data, tmp_path, capsys):
    broken = sorted((data / "raw" / "broken").iterdir())
    folder = str(data / "raw" / "broken")
    assert main(Settings(raw=[folder], out=tmp_path, workers=HERE)) == 1
    report = json.loads((tmp_path / "results.json").read_text())
    assert [Path(f["file"]).name for f in report["failures"]] == [p.name for p in broken]
    assert all(f["reason"] for f in report["failures"])
    shown = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert shown == REPORTS
    assert "Traceback" not in capsys.readouterr().out


def test_a_damaged_sample_is_reported_not_raised(samples, tmp_path):
    cut = tmp_path / "cut.dng"
    shutil.copy(samples[0], cut)
    cut.write_bytes(cut.read_bytes()[:5000])
    assert main(Settings(raw=[str(cut)], out=tmp_path / "out", workers=HERE)) == 1
