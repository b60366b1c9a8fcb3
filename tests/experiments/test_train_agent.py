"""A tiny data set in BIQ2021's layout: which photographs are whose, and a whole run on them."""

import fcntl
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agents.algorithms import PPOSettings
from agents.policies import PolicySettings, load_agent
from agents.training import Pace
from agents.warm_start import WarmStartSettings
from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.rated import random_split
from experiments.agent_scenes import SceneSettings, held_out_scenes, training_scenes
from experiments.train_agent import Settings, main
from isp_env.pipeline import DEFAULT_PIPELINE
from isp_env.preview_building import build_previews
from isp_env.preview_sources import raw_sources
from isp_env.preview_store import PreviewStoreError, StoreSettings
from isp_env.samples import sample_files

PHOTOS, ASIDE = 14, 6
RAW = StoreSettings(side=48)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> SceneSettings:
    """Photographs of which the even ones are rated well."""
    folder = tmp_path_factory.mktemp("biq2021")
    (folder / "Images").mkdir()
    rows, columns = np.mgrid[:72, :72] / 7
    names = [f"{number}.jpg" for number in range(PHOTOS)]
    for number, name in enumerate(names):
        planes = [np.sin(rows + number), np.cos(columns), np.sin(rows + columns)]
        photo = 0.5 + 0.3 * np.stack(planes, axis=-1)
        Image.fromarray((photo * 255).astype(np.uint8)).save(folder / "Images" / name)
    mos = [0.8 - 0.6 * (number % 2) for number in range(PHOTOS)]
    table = pd.DataFrame({"Image Name": names, "MOS": mos})
    table.to_csv(folder / "Train (Images and MOS).csv", index=False)
    return SceneSettings(folder, training=9, held_out=5, judge_test=ASIDE, side=48)


@pytest.fixture(scope="module")
def stores(scenes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    training_scenes(scenes, folder)
    held_out_scenes(scenes, folder)
    return folder


def photographs(names) -> set[str]:
    return {Path(name.split(",")[0]).name for name in names}


def test_held_out_scenes_show_what_neither_agent_nor_judge_was_trained_on(scenes, stores):
    rated = read_biq2021(scenes.photos)
    split = random_split(PHOTOS, 0, ASIDE, scenes.judge_split_seed)
    good = {path.name for path, mos in zip(rated.paths, rated.mos, strict=True) if mos > 0.5}
    of_judge = {rated.paths[row].name for row in split.train}
    trained = photographs(training_scenes(scenes, stores).scenes)
    held_out = photographs(held_out_scenes(scenes, stores).scenes)
    assert trained == good & of_judge
    assert held_out == good - of_judge


def test_a_store_of_other_scenes_is_not_taken(scenes, stores):
    with pytest.raises(ValueError, match=r"training: holds \d+ scenes of other settings"):
        training_scenes(replace(scenes, training=2), stores)


def test_a_finished_store_is_read_while_another_process_holds_its_lock(scenes, stores):
    with (stores / "training" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert len(training_scenes(scenes, stores).scenes) == 9


def test_every_shot_differs_from_the_others_and_repeats(scenes, stores, tmp_path):
    previews = training_scenes(scenes, stores).previews()
    assert len(previews) == 9
    assert len({row.tobytes() for row in previews.linear}) == 9
    again = training_scenes(replace(scenes, training=2), tmp_path).previews()
    assert np.array_equal(again.linear, previews.linear[:2])


SHORT = PPOSettings(
    steps=8,
    rollout=2,
    batch_size=4,
    epochs=1,
    warm_start=WarmStartSettings(1, 1, 2),
    policy=PolicySettings(8, (8,)),
)


def test_a_run_trains_measures_and_exports(scenes, stores, tmp_path):
    settings = Settings(
        scenes,
        SHORT,
        out=tmp_path / "run",
        stores=stores,
        export=tmp_path / "agent",
        environments=2,
        pace=Pace(checkpoint=4, evaluation=4),
        watched=2,
    )
    main(settings)
    card = load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE).card
    assert card.features == 1280
    assert card.judge.startswith("attiqa-judge ")
    assert "its judge may have been" in card.training["data"]  # trained on other photographs
    assert card.metrics["held_out"]["scenes"] == 5
    change = card.metrics["held_out"]["change"]
    assert change["score"]["low"] <= change["score"]["mean"] <= change["score"]["high"]
    assert change["renders"]["mean"] <= card.task.horizon
    assert {"PSNR", "SSIM", "-CIEDE2000", "halo"} < set(change)
    assert str(scenes.photos) not in (tmp_path / "agent.json").read_text()
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in history] == [4, 8]


def test_an_agent_is_trained_on_raw_files(tmp_path):
    """Two stores of previews; nobody knows their truths."""
    for name, paths in (("training", sample_files()[:2]), ("held_out", sample_files()[2:4])):
        sources = raw_sources([str(path) for path in paths])
        assert all(b.status == "done" for b in build_previews(sources, tmp_path / name, RAW))
    stores = {name: tmp_path / name for name in ("training", "held_out")}
    main(Settings(algorithm=SHORT, out=tmp_path / "run", environments=2, **stores))
    card = load_agent(tmp_path / "run" / "agent", DEFAULT_PIPELINE).card
    assert card.training["data"] == "stores training and, held out, held_out"
    assert card.training["training_scenes"] == 2
    change = card.metrics["held_out"]["change"]
    assert "score" in change
    assert "PSNR" not in change


def test_stores_that_cannot_be_compared_are_refused(stores, tmp_path):
    one = stores / "training"
    with pytest.raises(PreviewStoreError, match="both or neither"):
        main(Settings(training=one, out=tmp_path))
    with pytest.raises(PreviewStoreError, match=r"training: 9 scenes are those of .*training"):
        main(Settings(training=one, held_out=one, out=tmp_path))
