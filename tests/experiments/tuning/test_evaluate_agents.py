"""A tiny comparison of every control, from a store to table and figure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.tuning import evaluate_agents
from experiments.tuning.evaluate_agents import Settings, by_distance, main
from experiments.tuning.libraw_renderings import LIBRAW
from isp_env.scenes.preview_store import StoreSettings
from isp_env.scenes.samples import sample_files
from isp_env.scenes.sources import simulated_sources
from isp_env.scenes.store_building import build_previews
from tests.experiments.tiny_agents import tiny_agent, tiny_judge

SIDE, COUNT = 64, 3


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    rows, columns = np.mgrid[:96, :96] / 9
    photo = 0.5 + 0.3 * np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], -1)
    Image.fromarray((photo * 255).astype(np.uint8)).save(folder / "photo.png")
    sources = simulated_sources([folder / "photo.png"], COUNT, seed=0, side=96)
    settings = StoreSettings(SIDE, square=True, truth=True)
    built = list(build_previews(sources, folder / "store", settings, workers=0))
    assert [one.status for one in built] == ["done"] * COUNT
    return folder / "store"


@pytest.fixture(scope="module")
def run(store, tmp_path_factory) -> tuple[Settings, dict]:
    folder = tmp_path_factory.mktemp("parts")
    prior, judge = tiny_agent(folder / "prior", answer=0.4), tiny_judge(folder)
    agent = tiny_agent(folder / "agent", "PPO", seed=1, prior=f"{prior} 0123", answer=0.2)
    settings = Settings(
        store,
        [agent, agent],
        prior=str(prior),
        judge=judge,
        out=tmp_path_factory.mktemp("out"),
        count=COUNT,
        random=(1, 2),
        cma=(2, 4),
        gradient=(1, 2),
        refined=(10,),
        costly=2,
        libraw=True,
        raw=[str(sample_files()[0])],
        referee=judge,
    )
    main(settings)
    return settings, json.loads((settings.out / "agents.json").read_text())


def test_every_control_is_in_the_results(run):
    _, results = run
    assert set(results["controls"]) == {
        *("neutral", "auto-adjust", "nearest to the truth", "agent 0", "agent 1"),
        *("prior", "prior, refined"),
        *("CMA-ES, 2", "CMA-ES, 4", "gradient ascent, 1", "gradient ascent, 2"),
        *("random search, 1", "random search, 2"),
        *("agent 0, refined", "agent 1, refined", "neutral, refined"),
        *("LibRaw", "LibRaw, auto-bright"),
    }
    libraw = results["controls"]["LibRaw"]
    assert libraw["scenes"] == COUNT
    assert libraw["change"]["PSNR"]["mean"] != 0
    ((name, on_file),) = results["files"].items()
    assert name == sample_files()[0].name  # not where it lies on this machine
    assert set(on_file) == {
        *("neutral", "auto-adjust", "prior", "prior, refined", "agent 0", "agent 1"),
        *("agent 0, refined", "agent 1, refined", "neutral, refined"),
    }
    assert "PSNR" not in on_file["neutral"]  # nobody knows the truth
    neutral = results["controls"]["neutral"]
    assert neutral["change"]["score"] == {"mean": 0, "low": 0, "high": 0, "wins": 0.5}
    assert results["controls"]["random search, 2"]["scenes"] == 2
    assert results["controls"]["CMA-ES, 4"]["mean"]["renders"] == 4
    assert results["controls"]["CMA-ES, 4"]["scenes"] == 2
    assert results["controls"]["agent 0"]["mean"]["renders"] <= 1
    refined = results["controls"]["agent 0, refined"]
    assert refined["mean"]["renders"] == 10
    gain = results["controls"]["agent 0"]["change"]["potential"]["mean"]
    assert refined["change"]["potential"]["mean"] > gain
    nearest = results["controls"]["nearest to the truth"]["change"]
    assert nearest["PSNR"]["mean"] > 0
    assert results["agent"]["score"]["deviation"] == 0  # the same agent twice
    for trial in results["trials"].values():
        assert 0 <= trial["accuracy"] <= 1


def test_searches_report_the_gain_of_the_potential(run):
    _, results = run
    for name, values in results["controls"].items():
        if name not in ("auto-adjust", "nearest to the truth", "prior", *LIBRAW):
            assert values["change"]["potential"]["mean"] >= -1e-6, name


def test_a_table_and_a_figure_are_written(run):
    settings, _ = run
    assert "| CMA-ES, 4 |" in (settings.out / "agents.md").read_text()
    with Image.open(settings.out / "agents.png") as figure:
        assert figure.width > 500


def test_a_run_that_is_started_again_does_not_search_again(run, monkeypatch, tmp_path):
    settings, results = run

    def forbidden(budgets, seed):
        def search(judged, rows):
            raise AssertionError("searched again")

        return search

    monkeypatch.setattr(evaluate_agents, "cma_es", forbidden)
    main(settings)
    again = json.loads((settings.out / "agents.json").read_text())
    assert again["controls"] == results["controls"]
    alone = replace(settings, agents=[], raw=[], refined=(), random=(), gradient=(), libraw=False)
    for other in (
        replace(alone, out=tmp_path),
        replace(alone, cma=(2, 3)),
        replace(alone, costly=1),
        replace(alone, seed=1),
    ):
        with pytest.raises(AssertionError, match="searched again"):
            main(other)


def test_changes_are_told_by_how_far_neutral_was():
    start = {"-CIEDE2000": np.array([-2.0, -3.0, -6.0, -20.0])}
    after = {"-CIEDE2000": np.array([-2.5, -2.0, -8.5, -5.0])}
    told = by_distance(after, start)
    assert told["worse by more than 2"] == 0.25
    assert told["0 to 4"] == {"scenes": 2, "change": -0.25, "nearer": 0.5}
    assert told["4 to 8"] == {"scenes": 1, "change": 2.5, "nearer": 0.0}
    assert told["15 to 100"] == {"scenes": 1, "change": -15.0, "nearer": 1.0}
    assert "8 to 15" not in told
    assert by_distance({}, start) == {}
