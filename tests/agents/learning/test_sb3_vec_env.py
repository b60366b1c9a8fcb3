"""Stable-Baselines3 gets every reward, and is never told that an episode was cut off."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecMonitor

from agents.learning import sb3_vec_env
from agents.learning.sb3_vec_env import IspTuningVecEnv
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.environment import IspTuningVectorEnv, TaskSettings
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward


def middle_grey(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return -(images.mean((1, 2, 3)) - 0.5).abs(), images.mean((2, 3))


@pytest.fixture(scope="module")
def scenes() -> PreviewSet:
    rng = np.random.default_rng(0)
    return PreviewSet(
        linear=(0.3 * rng.random((6, 3, 16, 16))).astype(np.float16),
        noise=np.zeros((6, 3, 2), np.float32),
        as_shot_neutral=np.ones((6, 3), np.float32),
        iso=np.full(6, 100, np.float32),
    )


def batch(scenes: PreviewSet, count: int, **options) -> IspTuningVectorEnv:
    options.setdefault("autoreset_mode", AutoresetMode.SAME_STEP)
    return IspTuningVectorEnv(scenes, QualityReward(middle_grey), count, **options)


@pytest.mark.parametrize("rules", [TaskSettings(horizon=3), TaskSettings(1, absolute=True)])
def test_the_monitored_return_is_the_gain_in_potential(scenes, rules):
    count, rng = 8, np.random.default_rng(3)
    task = batch(scenes, count, settings=rules)
    env = VecMonitor(IspTuningVecEnv(task))
    env.seed(0)
    env.reset()
    start = task._info()["potential"]
    episodes, length = 0, task.single_action_space.shape[-1]  # type: ignore[index]
    for _ in range(8):
        actions = rng.uniform(-1, 1, (count, length)).astype(np.float32)
        _, _, dones, infos = env.step(actions)
        for row in np.flatnonzero(dones):
            info = infos[row]
            assert info["TimeLimit.truncated"] is False
            assert info["episode"]["r"] == pytest.approx(info["potential"] - start[row], abs=1e-4)
            assert info["episode"]["l"] <= rules.horizon
            episodes += 1
        start = np.where(dones, task._info()["potential"], start)
    assert episodes > count


def test_a_picture_is_paid_beside_those_of_its_scene_before(scenes):
    rules, theta = TaskSettings(horizon=2, absolute=True), np.zeros((3, 3, 14), np.float32)
    theta[1:] = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 3, 14))
    task, rows = batch(scenes, 3, settings=rules), np.array([4, 0, 2])
    known = JudgedScenes(scenes, task.reward)
    worth = [known.judge(rows, torch.from_numpy(each))[1].value.numpy() for each in theta]
    env = IspTuningVecEnv(task, scene_baselines=True)

    def start() -> None:
        env.set_options([{"scene": row} for row in rows])
        env.reset()

    start()
    _, rewards, *_ = env.step(theta[0])
    assert rewards.tolist() == [0, 0, 0]
    _, rewards, dones, infos = env.step(theta[1])
    assert dones.all()
    assert [info["potential"] for info in infos] == pytest.approx(worth[1], abs=1e-5)
    assert rewards == pytest.approx(worth[1] - worth[0], abs=1e-5)
    assert np.abs(rewards).min() > 0.01
    start()
    _, rewards, *_ = env.step(theta[2])
    assert rewards == pytest.approx(worth[2] - (worth[0] + worth[1]) / 2, abs=1e-5)
    _, rewards, *_ = env.step(theta[2])
    assert rewards == pytest.approx(worth[2] - np.mean(worth, axis=0), abs=1e-5)


def test_older_pictures_of_a_scene_count_less(scenes, monkeypatch):
    monkeypatch.setattr(sb3_vec_env, "LATEST", 2)
    task = batch(scenes, 1, settings=TaskSettings(horizon=4, absolute=True))
    env = IspTuningVecEnv(task, scene_baselines=True)
    env.reset()
    theta = np.random.default_rng(2).uniform(-0.5, 0.5, (4, 1, 14)).astype(np.float32)
    played = [env.step(each) for each in theta]
    worth = [infos[0]["potential"] for *_, infos in played]
    usual = ((worth[0] + worth[1]) / 2 + worth[2]) / 2
    assert played[-1][1][0] == pytest.approx(worth[3] - usual, abs=1e-5)


def test_infos_of_running_and_of_finished_episodes_tell_the_same_things(scenes):
    env = IspTuningVecEnv(batch(scenes, 2))
    env.reset()
    moves = np.full((2, *env.action_space.shape), -0.1, np.float32)  # type: ignore[misc]
    _, _, dones, running = env.step(moves)
    assert not dones.any()
    moves[0, -1] = 1.0  # a stop
    observation, rewards, dones, infos = env.step(moves)
    assert dones.tolist() == [True, False]
    assert rewards[0] == 0
    assert infos[0]["potential"] == running[0]["potential"]
    assert set(infos[0]) - set(infos[1]) == {"terminal_observation", "TimeLimit.truncated"}
    assert set(infos[1]["leash"]) == {"clipping", "chroma", "theta", "truth"}
    assert infos[1]["parameters"]["exposure"] == pytest.approx(-0.2)  # two tenths of half of 2 EV
    knobs = len(infos[0]["theta"])
    assert infos[0]["terminal_observation"]["vector"][:knobs] == pytest.approx(-0.05)
    assert (observation["vector"][0, :knobs] == 0).all()  # type: ignore[index,call-overload]


def test_options_reach_the_scenes_and_infos_come_back(scenes):
    env = IspTuningVecEnv(batch(scenes, 2))
    env.set_options([{"scene": 4}, {"scene": 1}])
    env.reset()
    assert [info["scene"] for info in env.reset_infos] == [4, 1]
    assert env.reset_infos[0]["potential"] != env.reset_infos[1]["potential"]
    env.set_options([{"scene": 4}, {}])
    with pytest.raises(ValueError, match="the same keys for each environment"):
        env.reset()


def test_episodes_that_are_cut_short_are_told_as_such(scenes):
    env = IspTuningVecEnv(batch(scenes, 1, max_episode_steps=2))
    env.reset()
    moves = np.full((1, *env.action_space.shape), -0.1, np.float32)  # type: ignore[misc]
    env.step(moves)
    _, _, dones, infos = env.step(moves)
    assert dones.tolist() == [True]
    assert infos[0]["TimeLimit.truncated"] is True


def test_another_autoreset_is_refused(scenes):
    with pytest.raises(ValueError, match="expected SAME_STEP"):
        IspTuningVecEnv(batch(scenes, 1, autoreset_mode=AutoresetMode.NEXT_STEP))
