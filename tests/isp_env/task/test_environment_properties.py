"""What holds in every episode, whatever the scenes and the actions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.environment import IspTuningEnv, IspTuningVectorEnv, TaskSettings
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings, opponents

KNOBS = len(DEFAULT_PIPELINE.parameters)
SCENES = 9


def middle_grey(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A judge that likes a mean of 0.5, with features."""
    means = images.mean((2, 3))
    return -(images.mean((1, 2, 3)) - 0.5).abs(), means, 100 * means


@pytest.fixture(scope="module")
def scenes() -> PreviewSet:
    """Black, white, the largest float16, more than that, not a number, negative, and usual ones."""
    rng = np.random.default_rng(0)
    linear = 0.3 * rng.random((SCENES, 3, 16, 16))
    linear[0], linear[1], linear[2], linear[3], linear[4] = 0, 1, 65504, np.inf, np.nan
    linear[5] = rng.choice([0, 65504], (3, 16, 16))
    linear[6] = -1
    return PreviewSet(
        linear=linear.astype(np.float16),
        noise=np.full((SCENES, 3, 2), 1e-3, np.float32),
        as_shot_neutral=np.tile(np.array([0.5, 1.0, 0.7], np.float32), (SCENES, 1)),
        iso=np.array([0, 1, np.nan, np.inf, 100, 400, 1e6, 800, 800], np.float32),
    )


def random_moves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Actions that stop now and then, some far outside the space."""
    moves = rng.uniform(-1, 1, (count, KNOBS + 1)).astype(np.float32)
    moves[:, -1] -= 0.6
    return moves


def test_ten_thousand_random_steps(scenes):
    """Observations stay in their space, returns telescope, nothing is ever truncated."""
    count = 250
    rules = TaskSettings(horizon=4, step_size=0.7)
    env = IspTuningVectorEnv(
        scenes,
        QualityReward(middle_grey),
        count,
        settings=rules,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    env.judged = replace(env.judged, chunk=count)  # pictures are tiny
    rng, episodes = np.random.default_rng(1), np.zeros(SCENES, int)
    _, info = env.reset(seed=0)
    start, total = info["potential"], np.zeros(count)
    for _ in range(40):
        observation, reward, terminated, truncated, info = env.step(random_moves(rng, count))
        assert env.observation_space.contains(observation)
        assert np.isfinite(reward).all()
        assert not truncated.any()
        total += reward
        if not terminated.any():
            continue
        final = info["final_info"]
        assert env.observation_space.contains(info["final_obs"])
        gains = (final["potential"] - start)[terminated]
        assert total[terminated] == pytest.approx(gains, abs=1e-4)
        np.add.at(episodes, final["scene"][terminated], 1)
        start[terminated], total[terminated] = info["potential"][terminated], 0
    assert (episodes > 50).all()


@pytest.mark.parametrize("scene", [2, 3, 4])
def test_scenes_that_cannot_be_rendered_end_at_the_stated_potential(scenes, scene):
    env = IspTuningEnv(scenes, QualityReward(middle_grey))
    _, info = env.reset(options={"scene": scene})
    start = info["potential"]
    _, reward, terminated, truncated, info = env.step(np.full(KNOBS + 1, -0.1, np.float32))
    if not np.isfinite(scenes.linear[scene]).all():
        assert terminated
        assert start == info["potential"] == TaskSettings().degenerate_potential
    assert not truncated
    assert reward == pytest.approx(info["potential"] - start)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 3))
def test_a_stop_pays_the_promised_potential(seed, steps):
    """It earns exactly 0 and what was told before is what counts in the end."""
    rng = np.random.default_rng(seed)
    usual = PreviewSet(
        linear=(0.1 + 0.2 * rng.random((1, 3, 16, 16))).astype(np.float16),
        noise=np.zeros((1, 3, 2), np.float32),
        as_shot_neutral=np.ones((1, 3), np.float32),
        iso=np.ones(1, np.float32),
    )
    env = IspTuningEnv(
        usual,
        QualityReward(middle_grey),
        settings=TaskSettings(step_size=0.1),
        render_mode="rgb_array",
    )
    _, before = env.reset(seed=seed)
    moves = random_moves(rng, steps)
    moves[:, -1] = -1
    for move in moves:
        *_, before = env.step(move)
    picture, moves = np.array(env.render()), random_moves(rng, 1)[0]
    moves[-1] = 1
    _, reward, terminated, _, after = env.step(moves)
    assert terminated
    assert reward == 0
    assert after["potential"] == before["potential"]
    assert np.array_equal(np.array(env.render()), picture)


def test_the_same_seed_is_the_same_episode_alone_and_in_a_batch_of_one(scenes):
    reward = QualityReward(middle_grey)
    batch = IspTuningVectorEnv(scenes, reward, 1, autoreset_mode=AutoresetMode.DISABLED)
    single = IspTuningEnv(scenes, reward)
    told = []
    for _ in range(2):
        rng = np.random.default_rng(2)
        observation, info = batch.reset(seed=7)
        alone, alone_info = single.reset(seed=7)
        assert info["scene"][0] == alone_info["scene"]
        for _ in range(4):
            for key in alone:
                assert np.array_equal(observation[key][0], alone[key])
            moves = random_moves(rng, 1)
            observation, rewards, terminated, _, info = batch.step(moves)
            alone, alone_reward, alone_terminated, _, alone_info = single.step(moves[0])
            assert (rewards[0], terminated[0]) == (alone_reward, alone_terminated)
            told.append((info["scene"][0], *rewards, *info["theta"][0]))
    assert told[:4] == told[4:]


def test_what_is_remembered_of_neutral_renderings_is_what_a_new_look_shows(scenes):
    usual = np.array([0, 1, 7, 8])
    anchors = np.linspace(-0.3, 0.3, SCENES * KNOBS, dtype=np.float32).reshape(SCENES, KNOBS)
    judged = JudgedScenes(scenes, QualityReward(middle_grey), anchors=anchors)
    first, again = judged.shots(usual), judged.shots(usual[::-1].copy())
    _, potential = judged.neutral(usual)
    theta = torch.full((4, KNOBS), 0.2)
    for name, tensor in potential._asdict().items():
        seen = getattr(first.sight.potential, name)
        assert torch.equal(seen.flip(0), getattr(again.sight.potential, name))
        assert seen.numpy() == pytest.approx(tensor.numpy(), abs=1e-6)
    anchored = judged.render(usual, torch.from_numpy(anchors[usual]))
    assert torch.equal(first.reference.theta, torch.from_numpy(anchors[usual]))
    assert torch.allclose(first.reference.colors, opponents(anchored), atol=1e-5)
    _, compared = judged.judge(usual, theta)
    assert judged.see(usual, theta, first.reference).potential.value.numpy() == pytest.approx(
        compared.value.numpy(), abs=1e-6
    )


def test_memory_of_neutral_renderings_is_bounded(scenes, monkeypatch):
    monkeypatch.setattr("isp_env.task.judged_scenes.REMEMBERED", 3)
    judged = JudgedScenes(scenes, QualityReward(middle_grey))
    judged.shots(np.array([0, 1, 6]))
    judged.shots(np.array([0, 7, 8]))
    assert list(judged._remembered) == [0, 7, 8]
    assert len(judged.shots(np.arange(SCENES)).reference.clipped) == SCENES


def test_a_task_without_leash_pays_the_score_alone(scenes):
    free = QualityReward(middle_grey, RewardSettings(confidence=0.0).leash_free())
    env = IspTuningEnv(scenes, free, settings=TaskSettings(horizon=1, absolute=True))
    env.reset(options={"scene": 7})
    *_, info = env.step(np.full(KNOBS, 0.4, np.float32))
    assert info["potential"] == pytest.approx(free.settings.scale * info["score"], abs=1e-5)
    assert all(cost == 0 for cost in info["leash"].values())
