from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.environment import IspTuningEnv, IspTuningVectorEnv, TaskSettings
from isp_env.task.reward import QualityReward, RewardSettings

KNOBS = [p.name for p in DEFAULT_PIPELINE.parameters]


def middle_grey(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A judge that likes a mean of 0.5."""
    return -(images.mean((1, 2, 3)) - 0.5).abs(), images.mean((2, 3)).repeat(1, 2)[:, :5]


@pytest.fixture(scope="module")
def scenes() -> PreviewSet:
    rng = np.random.default_rng(0)
    level = np.array([0.02, 0.05, 0.1, 0.3])[:, None, None, None]
    return PreviewSet(
        linear=(level * (0.5 + rng.random((4, 3, 24, 32)))).astype(np.float16),
        noise=np.zeros((4, 3, 2), np.float32),
        as_shot_neutral=np.ones((4, 3), np.float32),
        iso=np.array([100, 400, np.nan, 1600], np.float32),
    )


def batch(scenes: PreviewSet, count: int = 3, **options) -> IspTuningVectorEnv:
    options.setdefault("autoreset_mode", AutoresetMode.SAME_STEP)
    return IspTuningVectorEnv(scenes, QualityReward(middle_grey), count, **options)


def action(count: int = 1, stop: float = -1.0, **moves: float) -> np.ndarray:
    row = np.zeros((count, len(KNOBS) + 1), np.float32)
    row[:, -1] = stop
    for name, value in moves.items():
        row[:, KNOBS.index(name)] = value
    return row


@pytest.mark.parametrize("settings", [TaskSettings(), TaskSettings(horizon=1, absolute=True)])
def test_the_checkers_of_gymnasium_and_stable_baselines3_pass(scenes, settings):
    arguments = {"scenes": scenes, "reward": QualityReward(middle_grey), "settings": settings}
    env = gymnasium.make("isp_env/IspTuning-v0", **arguments)
    check_env(env.unwrapped)
    sb3_check_env(env)


def test_registered_alone_and_as_a_batch(scenes):
    arguments = {"scenes": scenes, "reward": QualityReward(middle_grey)}
    env = gymnasium.make("isp_env/IspTuning-v0", **arguments)
    vector = gymnasium.make_vec(
        "isp_env/IspTuning-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        **arguments,
    )
    for task in (env, vector):
        observation, info = task.reset(seed=0)
        assert task.observation_space.contains(observation)
        observation, reward, terminated, truncated, info = task.step(task.action_space.sample())
        assert task.observation_space.contains(observation)
        assert np.asarray(reward).shape == np.shape(terminated) == np.shape(truncated)
        assert set(info["leash"]) == {"clipping", "chroma", "theta", "truth"}
        assert set(info["parameters"]) == set(KNOBS)
    assert vector.reset(seed=0)[0]["image"].shape == (2, 6, 128, 128)


def test_the_return_is_the_gain_in_potential(scenes):
    env = batch(scenes, 4, autoreset_mode=AutoresetMode.DISABLED)
    _, info = env.reset(options={"scene": np.arange(4)})
    start, total = info["potential"], np.zeros(4)
    rng = np.random.default_rng(1)
    for step in range(5):
        moves = rng.uniform(-1, 1, (4, len(KNOBS) + 1)).astype(np.float32)
        moves[:, -1] = -1
        _, reward, terminated, truncated, info = env.step(moves)
        total += reward
        assert terminated.all() == (step == 4)
        assert not truncated.any()
    assert total == pytest.approx(info["potential"] - start, abs=1e-5)


def test_stop_ends_the_episode_and_earns_nothing_but_not_at_once(scenes):
    env = batch(scenes, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(options={"scene": 0})
    _, _, terminated, _, first = env.step(action(3, stop=1.0, exposure=1.0))
    assert not terminated.any()
    _, reward, terminated, truncated, second = env.step(action(3, stop=1.0, exposure=-1.0))
    assert terminated.all()
    assert not truncated.any()
    assert (reward == 0).all()
    assert np.array_equal(first["theta"], second["theta"])


def test_renders_start_from_the_preview_not_from_the_last_picture(scenes):
    env = batch(scenes, 1, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(options={"scene": 2})
    neutral = env.pictures()[0]
    env.step(action(exposure=1.0))
    assert not np.array_equal(env.pictures()[0], neutral)
    env.step(action(exposure=-1.0))
    assert np.array_equal(env.pictures()[0], neutral)


def test_degenerate_pictures_terminate_with_the_lowest_potential(scenes):
    settings = TaskSettings(step_size=1.0)
    env = batch(scenes, 1, settings=settings, autoreset_mode=AutoresetMode.DISABLED)
    _, info = env.reset(options={"scene": 0})
    moves = action(exposure=-1.0, blacks=-1.0, gamma=-1.0, shadows=-1.0)
    _, reward, terminated, truncated, _ = env.step(moves)
    assert terminated[0]
    assert not truncated[0]
    assert reward[0] == pytest.approx(settings.degenerate_potential - info["potential"][0])


def test_finished_episodes_restart_and_hand_out_their_last_observation(scenes):
    env = batch(scenes, 3, settings=TaskSettings(horizon=2))
    env.reset(seed=0)
    env.step(action(3, exposure=0.4))
    observation, _, terminated, _, info = env.step(action(3, exposure=0.4))
    assert terminated.all()
    assert info["final_obs"]["vector"][:, KNOBS.index("exposure")] == pytest.approx(0.4)
    assert (observation["vector"][:, : len(KNOBS)] == 0).all()
    assert info["_final_obs"].all()
    progress = len(KNOBS)
    assert (info["final_obs"]["vector"][:, progress] == 1).all()
    assert (observation["vector"][:, progress] == 0).all()


def test_a_mask_restarts_some(scenes):
    env = batch(scenes, 3, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    _, _, _, _, before = env.step(action(3, exposure=0.5))
    mask = np.array([False, True, False])
    _, info = env.reset(options={"reset_mask": mask, "scene": 3})
    assert info["scene"].tolist() == [before["scene"][0], 3, before["scene"][2]]
    assert (info["theta"][1] == 0).all()
    assert np.array_equal(info["theta"][[0, 2]], before["theta"][[0, 2]])


def test_absolute_actions_are_theta(scenes):
    settings = TaskSettings(horizon=1, absolute=True)
    env = batch(scenes, 2, settings=settings, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    theta = np.random.default_rng(0).uniform(-1, 1, (2, len(KNOBS))).astype(np.float32)
    _, _, terminated, _, info = env.step(theta)
    assert terminated.all()
    assert np.array_equal(info["theta"], theta)


def test_same_seed_same_episode(scenes):
    def episode(seed: int) -> list[float]:
        env = batch(scenes, 4)
        env.reset(seed=seed)
        return [*env.step(action(4, exposure=0.3))[1], *env.step(action(4, contrast=0.5))[1]]

    assert episode(3) == episode(3)
    assert episode(3) != episode(4)


def test_a_batch_is_the_same_as_single_environments(scenes):
    env = batch(scenes, 4, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(options={"scene": np.arange(4)})
    observation, reward, *_ = env.step(action(4, exposure=0.6, saturation=-0.3))
    single = IspTuningEnv(scenes, QualityReward(middle_grey))
    for scene in range(4):
        single.reset(options={"scene": scene})
        alone, alone_reward, *_ = single.step(action(exposure=0.6, saturation=-0.3)[0])
        assert alone_reward == pytest.approx(reward[scene], abs=1e-5)
        assert alone["vector"] == pytest.approx(observation["vector"][scene], abs=1e-4)


def test_features_of_the_judge_are_observed_where_it_gives_them(scenes):
    def seeing(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weight = torch.ones(1, requires_grad=True)
        return *middle_grey(images), weight * torch.linspace(-9, 9, 7).expand(len(images), 7)

    env = IspTuningVectorEnv(scenes, QualityReward(seeing), 2)
    observation, _ = env.reset(seed=0)
    assert env.features == 7
    assert env.observation_space.contains(observation)
    expected = np.tile(np.tanh(np.linspace(-2.25, 2.25, 7)), (2, 1))
    assert observation["features"] == pytest.approx(expected, 1e-5)
    assert "features" not in batch(scenes).reset(seed=0)[0]


def test_the_leash_holds_to_the_anchor_and_the_agent_sees_where_that_is(scenes):
    anchors = np.zeros((4, len(KNOBS)), np.float32)
    anchors[:, KNOBS.index("exposure")] = [0.0, 0.2, 0.4, -0.2]
    env = batch(scenes, 4, anchors=anchors, autoreset_mode=AutoresetMode.DISABLED)
    observation, start = env.reset(options={"scene": np.arange(4)})
    vector = observation["vector"]
    assert (vector[:, : len(KNOBS)] == 0).all()  # episodes start at neutral all the same
    assert np.array_equal(vector[:, len(KNOBS) + 1 : 2 * len(KNOBS) + 1], anchors)
    weight = env.reward.settings.theta_weight
    away = weight * np.square(anchors).mean(1)
    assert start["leash"]["theta"] == pytest.approx(away, abs=1e-6)
    *_, info = env.step(action(4, exposure=0.4))  # theta 0.2
    moved = np.square(0.2 - anchors[:, KNOBS.index("exposure")]) / len(KNOBS)
    assert info["leash"]["theta"] == pytest.approx(weight * moved, abs=1e-6)
    assert info["leash"]["chroma"][1] == pytest.approx(0, abs=1e-6)


def test_the_truth_is_charged_but_not_observed(scenes):
    shots = replace(scenes, truth=np.full_like(scenes.linear, 0.6))

    def played(weight: float):
        reward = QualityReward(middle_grey, RewardSettings(truth_weight=weight))
        env = IspTuningVectorEnv(shots, reward, 4, autoreset_mode=AutoresetMode.DISABLED)
        before, _ = env.reset(options={"scene": np.arange(4)})
        after, rewards, *_ = env.step(action(4, exposure=0.8))
        return [before["vector"], after["vector"]], rewards

    charged, without = played(0.5), played(0.0)
    assert np.abs(charged[1] - without[1]).min() > 0.01
    assert np.allclose(charged[0], without[0], atol=1e-5)


def test_a_judge_that_knows_the_shot_gets_its_neutral_rendering(scenes):
    class Lighter:
        def see(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))

        def compare(
            self, seen: torch.Tensor, neutral: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return (seen - neutral).mean(1), seen

    reward = QualityReward(Lighter(), RewardSettings(scale=1.0).leash_free())
    env = IspTuningVectorEnv(scenes, reward, 3, autoreset_mode=AutoresetMode.DISABLED)
    _, info = env.reset(options={"scene": np.array([3, 1, 0])})
    assert info["score"] == pytest.approx(0, abs=1e-6)
    before = [picture.mean() / 255 for picture in env.pictures()]
    _, reward, *_, info = env.step(action(3, exposure=0.8))
    after = [picture.mean() / 255 for picture in env.pictures()]
    assert info["score"] == pytest.approx(np.subtract(after, before), abs=2e-3)
    assert reward == pytest.approx(info["score"], abs=1e-6)


def test_info_is_in_physical_units(scenes):
    env = batch(scenes, 1, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    *_, info = env.step(action(exposure=1.0))  # half of the way to +2 EV
    assert info["parameters"]["exposure"][0] == pytest.approx(1.0)
    assert info["parameters"]["gamma"][0] == 1.0


def test_next_step_starts_the_next_episode_in_the_step_after_the_last(scenes):
    env = batch(scenes, 2, settings=TaskSettings(horizon=2), autoreset_mode="NextStep")
    env.reset(seed=0, options={"scene": np.array([0, 3])})
    env.step(action(2, exposure=-0.5))
    ends = action(2, exposure=-0.5)
    ends[0, -1] = 1.0
    last, _, terminated, _, _ = env.step(ends)
    assert terminated.all()
    seen, reward, terminated, truncated, info = env.step(action(2, exposure=1.0))
    assert not (terminated | truncated).any()
    assert (reward == 0).all()
    assert (info["theta"] == 0).all()
    assert not np.array_equal(seen["vector"], last["vector"])
    _, _, terminated, _, info = env.step(action(2, exposure=1.0))
    assert (info["theta"][:, KNOBS.index("exposure")] == 0.5).all()
    assert not terminated.any()  # the step that started the episode is none of its two
    assert env.step(action(2))[2].all()


def test_max_episode_steps_truncate(scenes):
    env = batch(scenes, 2, max_episode_steps=1, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(action(2, exposure=0.1))
    assert not terminated.any()
    assert truncated.all()


def test_render_mode_as_gymnasium_has_it(scenes):
    silent, shown = batch(scenes, 2), batch(scenes, 2, render_mode="rgb_array")
    assert silent.render() is None
    pictures = shown.render()
    assert pictures is not None
    assert [picture.shape for picture in pictures] == [(24, 32, 3)] * 2
    assert shown.metadata["render_fps"] > 0
    with pytest.raises(ValueError, match="render_mode: expected None or"):
        batch(scenes, 1, render_mode="human")


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.full((2, len(KNOBS) + 1), np.nan), "not finite"),
        (np.zeros((2, len(KNOBS))), r"expected finite numbers of shape \(2, 15\)"),
        (np.zeros(len(KNOBS) + 1), "expected finite numbers"),
    ],
)
def test_actions_that_are_none_are_refused(scenes, actions, message):
    env = batch(scenes, 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)


@pytest.mark.parametrize("scene", [-1, 4, [0, 7]])
def test_scenes_that_are_none_are_refused(scenes, scene):
    with pytest.raises(ValueError, match="scene: expected 0 to 3"):
        batch(scenes, 2).reset(options={"scene": scene})


def test_a_step_after_the_end_is_refused(scenes):
    env = IspTuningEnv(scenes, QualityReward(middle_grey), settings=TaskSettings(horizon=1))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action()[0])
    env.reset(seed=0)
    env.step(action()[0])
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action()[0])


@pytest.mark.parametrize("rules", [{"horizon": 0}, {"step_size": 0.0}])
def test_rules_that_make_no_episode_are_refused(rules):
    with pytest.raises(ValueError, match="horizon: expected at least 1"):
        TaskSettings(**rules)
