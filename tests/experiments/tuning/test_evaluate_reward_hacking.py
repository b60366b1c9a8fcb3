"""A tiny run from a preview folder to figure and JSON; the parts against what they must give."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from skimage import data

from agents.controllers.search import climb
from experiments.tuning.evaluate_reward_hacking import (
    ANCHORED,
    FREE,
    NEUTRAL,
    PRIOR,
    Settings,
    main,
    summary,
    unleashed,
)
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.preview_store import PreviewStore, StoreSettings
from isp_env.scenes.sources import simulated_sources
from isp_env.scenes.store_building import build_previews
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings
from tests.experiments.tiny_agents import tiny_agent, tiny_judge

BLUE, RED, GREEN = (
    tuple(round(255 * c) for c in to_rgb(name)) for name in ("tab:blue", "tab:red", "tab:green")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four simulated shots of parts of a photograph."""
    photos = [data.astronaut()[y : y + 192, x : x + 192] for y in (0, 300) for x in (120, 300)]
    path = tmp_path_factory.mktemp("scenes")
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(path / f"{number}.png")
    sources = simulated_sources(sorted(path.glob("*.png")), 4, seed=0, side=192)
    settings = StoreSettings(96, square=True, truth=True)
    built = list(build_previews(sources, path / "store", settings, workers=0))
    assert [one.status for one in built] == ["done"] * 4
    return path / "store"


def previews(folder: Path) -> PreviewSet:
    return PreviewStore.open(folder).previews()


def darkness(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A judge that likes the dark: easy to please, and wrong."""
    return -images.mean((1, 2, 3)), images.mean((2, 3))


def test_a_run_writes_figure_and_results(folder, tmp_path):
    history = tmp_path / "history.jsonl"
    history.write_text('{"step": 0, "score": 0.0}\n{"step": 64, "score": 0.1, "PSNR": -0.5}\n')
    out, judge = tmp_path / "out", tiny_judge(tmp_path)
    settings = Settings(
        folder,
        steps=5,
        looks=(2, 9),
        prior=str(tiny_agent(tmp_path / "prior", answer=0.4)),
        judge=judge,
        referee=judge,
        weights=(500.0,),
        history=history,
        out=out,
    )
    main(settings)
    results = json.loads((tmp_path / "out" / "reward_hacking.json").read_text())
    assert results["scenes"] == 4
    assert results["settings"]["steps"] == 5
    assert len(results["history"]) == 2
    names = {"score", "clipping", "chroma", "halo", "PSNR", "SSIM", "-CIEDE2000"}
    for name in (PRIOR, NEUTRAL, FREE):
        curves = results["curves"][name]
        assert names < set(curves)
        assert curves["step"] == [0, 2, 5]
        assert all(curves[measure]["change"][0] == 0 for measure in names)
    anchored = results["curves"][ANCHORED]["PSNR"]["change"]
    assert anchored[0] != 0  # begun at the prior's development
    free, short = (results["curves"][name]["score"] for name in (FREE, "theta weight 500"))
    assert free["change"][-1] > 0  # the ascent ascends
    assert free["change"][-1] > short["change"][-1]  # nothing holds it back
    tried = results["trials"]["-CIEDE2000"]
    assert tried["right"]["truth above neutral"] == 1
    assert set(results["trials"]) <= set(results["curves"][FREE])
    with Image.open(tmp_path / "out" / "reward_hacking.png") as figure:
        colors = {tuple(c) for c in np.asarray(figure.convert("RGB")).reshape(-1, 3).tolist()}
    assert {BLUE, RED, GREEN} <= colors  # two ascents and during training


def test_what_climbs_a_bad_judge_moves_away_from_the_truth(folder):
    scenes = previews(folder)
    rows = np.arange(4)
    found = {}
    for reward in (
        RewardSettings(scale=5.0, theta_weight=50.0),
        unleashed(RewardSettings(scale=5.0)),
    ):
        judged = JudgedScenes(scenes, QualityReward(darkness, reward))
        neutral, _ = judged.neutral(rows)
        origin = torch.zeros(4, judged.knobs)
        path = list(climb(partial(judged.gradient, rows), origin, 9))
        assert path[0][0].abs().max() == 0
        assert path[-1][0].abs().max() <= 1
        images, _ = judged.judge(rows, path[-1][0])
        found[reward.theta_weight] = (images - neutral).mean().item()
    assert found[0.0] < -0.05  # as dark as it can in eight steps
    assert found[0.0] < found[50.0] < 0


def test_without_the_leash_the_potential_is_the_score_alone(folder):
    free = unleashed(RewardSettings(attribute_weight=0.3))
    judged = JudgedScenes(previews(folder), QualityReward(darkness, free))
    rows = np.arange(4)
    theta = torch.linspace(-1, 1, judged.knobs).expand(4, -1).contiguous()
    _, potential = judged.judge(rows, theta)
    torch.testing.assert_close(potential.value, free.scale * potential.score)


def test_changes_are_paired_and_infinite_scenes_are_left_out():
    values = np.array([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0], [2.0, 6.5, np.inf]])
    found = summary(values)
    assert found["scenes"] == 2
    assert found["neutral"] == 3.0
    assert found["change"] == [0.0, 1.25]
    # deviation of (1, 1.5) is sqrt(1/8), of the mean 1/4
    assert found["high"][1] == pytest.approx(1.25 + 1.96 * 0.25)
    assert found["low"][1] == pytest.approx(1.25 - 1.96 * 0.25)


def test_scenes_without_truths_are_refused(folder):
    scenes = previews(folder)
    bare = PreviewSet(scenes.linear, scenes.noise, scenes.as_shot_neutral, scenes.iso)
    with pytest.raises(ValueError, match="no truths"):
        bare.truths(np.arange(2))
