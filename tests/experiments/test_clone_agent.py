"""Behaviour cloning as a command: fit, regress, write an agent that can be loaded and plays."""

import json

import numpy as np
import pytest
from PIL import Image

from agents.cloning import CloningSettings
from agents.playing import controller
from agents.policies import PolicySettings, load_agent
from attiqa.model_sources import JUDGE
from attiqa.scoring import load_model
from experiments import clone_agent
from experiments.clone_agent import TASK, Settings, main
from isp_env.environment import AutoresetMode, IspTuningVectorEnv
from isp_env.judged import JudgedScenes
from isp_env.pipeline import DEFAULT_PIPELINE
from isp_env.preview_building import build_previews
from isp_env.preview_sources import simulated_sources
from isp_env.preview_store import PreviewStore, StoreSettings
from isp_env.rewards import QualityReward

SCENES = 4


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    folder = tmp_path_factory.mktemp("scenes")
    rows, columns = np.mgrid[:72, :72] / 7
    photo = 0.5 + 0.3 * np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], -1)
    Image.fromarray((photo * 255).astype(np.uint8)).save(folder / "photo.png")
    sources = simulated_sources([folder / "photo.png"], SCENES, seed=0, side=72)
    form = StoreSettings(48, square=True, truth=True)
    assert len(list(build_previews(sources, folder / "store", form))) == SCENES
    return Settings(
        folder / "store",
        folder / "clone",
        fit_steps=30,
        cloning=CloningSettings(600, 4),
        policy=PolicySettings(16, (32,)),
    )


def test_a_clone_answers_what_it_was_taught(settings):
    main(settings)
    agent = load_agent(settings.out / "agent.json", DEFAULT_PIPELINE)
    judge = load_model(JUDGE)
    assert agent.card.judge.split(" ")[-1] == str(judge.card.sha256)[:16]
    (found,) = (settings.out / "found").glob("nearest*.npz")
    with np.load(found) as arrays:
        taught = arrays["theta 0"]
    scenes, reward = PreviewStore.open(settings.scenes).previews(), QualityReward(judge.perceive)
    env = IspTuningVectorEnv(
        scenes, reward, SCENES, settings=TASK, autoreset_mode=AutoresetMode.DISABLED
    )
    seen, _ = env.reset(options={"scene": np.arange(SCENES)})
    assert np.square(agent.act(seen) - taught).mean() < 0.3 * np.square(taught).mean()
    played = controller(agent)(JudgedScenes(scenes, reward), np.arange(SCENES))
    assert (played.renders == 1).all()


def test_a_second_run_fits_no_truth_again(settings, monkeypatch):
    before = json.loads((settings.out / "agent.json").read_text())

    def forbidden(steps):
        def fit(judged, rows):
            raise AssertionError("fitted again")

        return fit

    monkeypatch.setattr(clone_agent, "fit_truth", forbidden)
    main(settings)
    after = json.loads((settings.out / "agent.json").read_text())
    assert after["training"]["error"] == before["training"]["error"]
