"""Whose photographs are whose, and whole trainings of tiny agents on them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.learning.algorithms import PPOSettings
from agents.learning.training import Pace
from agents.policies import load_agent
from experiments.simulated_scenes import (
    SceneSettings,
    TruthSettings,
    held_out_scenes,
    training_scenes,
)
from experiments.tuning import train_agent
from experiments.tuning.train_agent import Settings, main, with_real_ones
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_store import PreviewStore, PreviewStoreError, StoreSettings
from isp_env.scenes.samples import sample_files
from isp_env.scenes.sources import raw_sources
from isp_env.scenes.store_building import build_previews
from isp_env.scenes.truths import part_of
from tests.experiments.tiny_agents import NETWORK, folder_of_photographs, tiny_agent, tiny_judge

RAW = StoreSettings(side=48)
SHORT = PPOSettings(steps=8, rollout=2, batch_size=4, epochs=1, policy=NETWORK)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> SceneSettings:
    folder = folder_of_photographs(tmp_path_factory.mktemp("photos"), 20)
    return SceneSettings(TruthSettings(photos=folder), training=9, held_out=5, size=(48, 64))


@pytest.fixture(scope="module")
def stores(scenes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    training_scenes(scenes, folder)
    held_out_scenes(scenes, folder)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    """A tiny prior and a tiny judge."""
    folder = tmp_path_factory.mktemp("parts")
    return {"prior": str(tiny_agent(folder / "prior")), "judge": tiny_judge(folder)}


def shown(store) -> set[str]:
    return {name.split(",")[0] for name in store.scenes}


def test_held_out_scenes_show_what_nobody_was_trained_on(scenes, stores):
    trained = shown(training_scenes(scenes, stores))
    held_out = shown(held_out_scenes(scenes, stores))
    assert {part_of(name) for name in trained} == {"training"}
    assert {part_of(name) for name in held_out} == {"held out"}


def test_a_store_of_other_scenes_is_not_taken(scenes, stores):
    with pytest.raises(PreviewStoreError, match=r"training: holds scenes of other settings"):
        training_scenes(replace(scenes, training=2), stores)


def test_every_shot_differs_from_the_others_and_repeats(scenes, stores, tmp_path):
    previews = training_scenes(scenes, stores).previews()
    assert len(previews) == 9
    assert len({row.tobytes() for row in previews.linear}) == 9
    again = training_scenes(scenes, tmp_path).previews()
    assert np.array_equal(again.linear, previews.linear)


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no photographs for 'training'"):
        TruthSettings(photos=tmp_path).paths("training")


def test_a_run_trains_measures_and_exports(scenes, stores, parts, tmp_path):
    settings = Settings(
        scenes,
        SHORT,
        out=tmp_path / "run",
        stores=stores,
        export=tmp_path / "agent",
        environments=2,
        pace=Pace(checkpoint=4, evaluation=4),
        watched=2,
        **parts,
    )
    main(settings)
    card = load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE).card
    assert card.judge.startswith("tiny ")
    assert card.prior.startswith(parts["prior"])
    assert card.metrics["held_out"]["scenes"] == 5
    change = card.metrics["held_out"]["change"]
    assert change["score"]["low"] <= change["score"]["mean"] <= change["score"]["high"]
    assert change["renders"]["mean"] <= card.task.horizon
    assert {"PSNR", "SSIM", "-CIEDE2000", "halo"} < set(change)
    assert str(scenes.truths.photos) not in (tmp_path / "agent.json").read_text()
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in history] == [4, 8]


def test_an_agent_is_trained_on_raw_files(parts, tmp_path):
    """Two stores of previews; nobody knows their truths."""
    for name, paths in (("training", sample_files()[:2]), ("held_out", sample_files()[2:4])):
        sources = raw_sources([str(path) for path in paths])
        assert all(b.status == "done" for b in build_previews(sources, tmp_path / name, RAW))
    stores = {name: tmp_path / name for name in ("training", "held_out")}
    main(Settings(algorithm=SHORT, out=tmp_path / "run", environments=2, **stores, **parts))
    card = load_agent(tmp_path / "run" / "agent", DEFAULT_PIPELINE).card
    assert card.training["data"] == "stores training and, held out, held_out"
    assert card.training["training_scenes"] == 2
    change = card.metrics["held_out"]["change"]
    assert "score" in change
    assert "PSNR" not in change


def test_an_evaluation_is_not_charged_by_the_truth(scenes, stores, parts, tmp_path, monkeypatch):
    """Or an agent's best picture would be chosen by what nobody knows."""
    weights = []

    def listening(agent, judged, count):
        weights.append(judged.reward.settings.truth_weight)
        return {}

    monkeypatch.setattr(train_agent, "against_neutral", listening)
    settings = Settings(scenes, SHORT, out=tmp_path, stores=stores, environments=2, **parts)
    assert settings.reward.truth_weight > 0
    main(settings)
    assert set(weights) == {0.0}


def test_raw_files_take_part_beside_scenes_with_truths(scenes, parts, tmp_path):
    sources = raw_sources([str(path) for path in sample_files()[:2]])
    assert all(b.status == "done" for b in build_previews(sources, tmp_path / "real", RAW))
    square, stores = replace(scenes, size=(48, 48)), tmp_path / "stores"
    asked = Settings(square, stores=stores, real=tmp_path / "real", real_share=0.25)
    real = PreviewStore.open(tmp_path / "real").previews()
    both = with_real_ones(training_scenes(square, stores).previews(), real, asked.real_share)
    assert len(both) == 12  # nine, and a quarter of all
    assert both.truth is not None
    assert np.isnan(both.truth[9:]).all()
    main(replace(asked, algorithm=SHORT, out=tmp_path / "run", environments=2, **parts))
    card = load_agent(tmp_path / "run" / "agent", DEFAULT_PIPELINE).card
    assert card.training["data"].endswith("; 25% of the episodes on RAW files, store real")


def test_stores_that_cannot_be_compared_are_refused(stores, parts, tmp_path):
    one = stores / "training"
    with pytest.raises(PreviewStoreError, match="both or neither"):
        main(Settings(training=one, out=tmp_path, **parts))
    with pytest.raises(PreviewStoreError, match=r"training: 9 scenes are those of .*training"):
        main(Settings(training=one, held_out=one, out=tmp_path, **parts))
