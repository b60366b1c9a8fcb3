"""The task with what one has at hand: names, folders, functions."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import HumanRendering, RecordVideo
from gymnasium.wrappers import vector as wrappers
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO

import isp_env
from isp_env import PreviewSet, TaskSettings, sample_files, write_dng
from isp_env.task.arguments import SIDE, ArgumentError, reward_of, scenes_of

NAME = "isp_env/IspTuning-v0"


def brightness(images: torch.Tensor) -> torch.Tensor:
    return images.mean((1, 2, 3))


@pytest.mark.slow
def test_the_task_is_made_without_arguments():
    env = gymnasium.make(NAME)
    _, info = env.reset(seed=0)
    gained, after = 0.0, info
    for _ in range(5):
        _, reward, terminated, _, after = env.step(0.2 * env.action_space.sample())
        gained += float(reward)
        if terminated:
            break
    assert gained == pytest.approx(after["potential"] - info["potential"], abs=1e-4)
    batch = gymnasium.make_vec(NAME, num_envs=3)
    _, info = batch.reset(seed=0)
    assert len(info["score"]) == 3
    assert len(batch.unwrapped.scenes) == len(sample_files())  # type: ignore[attr-defined]


@pytest.mark.slow
def test_stable_baselines_trains_by_its_name_alone():
    program = """
from stable_baselines3 import PPO
task = "isp_env:isp_env/IspTuning-v0"
PPO("MultiInputPolicy", task, n_steps=4, batch_size=4, n_epochs=1).learn(4)
print("learned")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("learned\n"), done.stderr


@pytest.fixture
def folder(tmp_path, take):
    folder = tmp_path / "raws"
    folder.mkdir()
    for number, shape in enumerate([(160, 240), (300, 200)]):
        write_dng(take(*shape), folder / f"{number}.dng")
    (folder / "broken.dng").write_bytes(b"no picture")
    write_dng(take(80, 240), folder / "small.dng")
    return folder


def test_a_folder_of_raw_files_of_any_shapes(folder, caplog):
    scenes = scenes_of(folder)
    assert scenes.linear.shape == (2, 3, SIDE, SIDE)
    told = " ".join(caplog.messages)
    assert "broken.dng: truncated or unreadable" in told
    assert "small.dng: smaller than 112 pixels" in told
    assert np.isfinite(scenes.linear).all()
    one = scenes_of(str(folder / "1.dng"))
    assert np.array_equal(one.linear[0], scenes.linear[1])
    assert scenes_of(scenes) is scenes


def test_scenes_that_are_none(tmp_path):
    (tmp_path / "a.dng").write_bytes(b"no picture")
    with pytest.raises(ArgumentError, match="no RAW file gives a preview"):
        scenes_of(tmp_path)
    with pytest.raises(isp_env.IspEnvError, match="nowhere"):
        scenes_of("nowhere")


@pytest.fixture
def small() -> PreviewSet:
    rng = np.random.default_rng(0)
    return PreviewSet(
        linear=(0.3 * rng.random((4, 3, 24, 32))).astype(np.float16),
        noise=np.zeros((4, 3, 2), np.float32),
        as_shot_neutral=np.ones((4, 3), np.float32),
        iso=np.full(4, 100, np.float32),
    )


def test_a_function_is_a_reward_without_penalties(small):
    env = gymnasium.make(NAME, scenes=small, reward=brightness)
    _, before = env.reset(seed=1)
    action = np.zeros(env.action_space.shape, np.float32)  # type: ignore[arg-type]
    knobs = [parameter.name for parameter in isp_env.DEFAULT_PIPELINE.parameters]
    action[[knobs.index("exposure"), -1]] = 1.0, -1.0
    _, reward, _, _, after = env.step(action)
    assert after["parameters"]["exposure"] == pytest.approx(1.0)
    assert reward == pytest.approx(after["score"] - before["score"], abs=1e-6)
    assert float(reward) > 0.05
    assert sum(after["leash"].values()) == 0
    assert after["potential"] == after["score"]


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (lambda images: images.mean(), r"got torch.float32 \(\)"),
        (lambda images: images.mean((2, 3)), r"got torch.float32 \(., 3\)"),
        (lambda images: images.mean((1, 2, 3))[:, None], r"got torch.float32 \(., 1\)"),
        (lambda images: (images.mean((1, 2, 3)), None), "got tuple"),
        (lambda images: torch.ones(len(images), dtype=torch.int64), r"got torch.int64 \(.,\)"),
    ],
)
def test_functions_that_give_something_else_are_refused(small, wrong, got):
    with pytest.raises(ValueError, match=r"expected a floating-point tensor.*" + got):
        gymnasium.make_vec(NAME, num_envs=2, scenes=small, reward=wrong)


def test_quality_models_by_name():
    named = reward_of("attiqa-mini")
    assert reward_of(named.judge) == named  # a judge that knows the shot, as it is
    with pytest.raises(ArgumentError, match=r"'niqe'; known: attiqa-mini, attiqa-referee"):
        reward_of("niqe")


TWICE = np.full(len(isp_env.DEFAULT_PIPELINE.parameters) + 1, 2, np.float32)
WRAPPERS = {
    "FlattenObservation": wrappers.FlattenObservation,
    "FilterObservation": lambda env: wrappers.FilterObservation(env, ["vector"]),
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "NormalizeReward": wrappers.NormalizeReward,
    "ClipReward": lambda env: wrappers.ClipReward(env, -1, 1),
    "TransformReward": lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward),
    "ClipAction": wrappers.ClipAction,
    "RescaleAction": lambda env: wrappers.RescaleAction(env, -TWICE, TWICE),
    "DictInfoToList": wrappers.DictInfoToList,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_gymnasiums_vector_wrappers(small, name):
    env = gymnasium.make_vec(
        NAME, num_envs=2, scenes=small, reward=brightness, render_mode="rgb_array"
    )
    wrapped = WRAPPERS[name](env)
    observation, _ = wrapped.reset(seed=0)
    for _ in range(7):  # beyond the first episodes
        observation, *_ = wrapped.step(0.1 * wrapped.action_space.sample())
    assert wrapped.observation_space.contains(observation)


def test_an_observation_without_pictures(small):
    blind = TaskSettings(pictures=False)
    env = gymnasium.make(NAME, scenes=small, reward=brightness, settings=blind)
    seen, _ = env.reset(seed=0)
    assert set(seen) == {"linear", "vector"}
    assert env.observation_space.contains(seen)
    whole, _ = gymnasium.make(NAME, scenes=small, reward=brightness).reset(seed=0)
    assert set(whole) == {"image", "linear", "vector"}
    assert all(np.array_equal(seen[key], whole[key]) for key in seen)
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8)
    model.learn(8)
    assert model.num_timesteps == 8


@pytest.mark.filterwarnings("ignore")  # of pygame, moviepy and sb3-contrib
def test_wrappers_that_need_the_extra_rl(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(NAME, scenes=small, reward=brightness, render_mode="rgb_array")
    shown = HumanRendering(env)
    shown.reset(seed=0)
    shown.step(env.action_space.sample())
    shown.close()
    blind = TaskSettings(pictures=False)
    env = gymnasium.make(NAME, scenes=small, reward=brightness, settings=blind)
    model = RecurrentPPO("MultiInputLstmPolicy", env, n_steps=8, batch_size=8)
    model.learn(8)
    assert model.num_timesteps == 8


@pytest.mark.filterwarnings("ignore")
def test_videos(small, tmp_path):
    pytest.importorskip("moviepy", reason="moviepy holds pillow back: only in the extra rl")
    env = gymnasium.make(NAME, scenes=small, reward=brightness, render_mode="rgb_array")
    recorded = RecordVideo(env, str(tmp_path))
    recorded.reset(seed=0)
    over = False
    while not over:
        over = recorded.step(0.1 * recorded.action_space.sample())[2]
    recorded.close()
    assert [path.suffix for path in tmp_path.iterdir() if path.stat().st_size > 1000] == [".mp4"]


def test_time_limits(small):
    env = gymnasium.make(NAME, scenes=small, reward=brightness, max_episode_steps=2)
    env.reset(seed=0)
    stay = np.full(env.action_space.shape, -0.1, np.float32)  # type: ignore[arg-type]
    assert [env.step(stay)[2:4] for _ in range(2)] == [(False, False), (False, True)]
    batch = gymnasium.make_vec(
        NAME, num_envs=2, scenes=small, reward=brightness, max_episode_steps=2
    )
    batch.reset(seed=0)
    cut = [batch.step(np.stack([stay, stay]))[3].tolist() for _ in range(2)]
    assert cut == [[False, False], [True, True]]
