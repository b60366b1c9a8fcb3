import json
from typing import cast

import numpy as np
import pytest
import torch

from agents.evaluation import evaluate
from agents.policies import Agent, AgentError, PolicySettings, load_agent, save_agent
from agents.training import PPOSettings, play, train_ppo
from agents.vec_env import IspTuningVecEnv
from agents.warm_start import WarmStartSettings, warm_start
from isp_env.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.pipeline import DEFAULT_PIPELINE, IspPipeline
from isp_env.previews import PreviewSet
from isp_env.rewards import QualityReward, RewardSettings

KNOBS = len(DEFAULT_PIPELINE.parameters)
EXPOSURE = [p.name for p in DEFAULT_PIPELINE.parameters].index("exposure")
TINY = PPOSettings(
    steps=160,
    rollout=10,
    batch_size=40,
    epochs=2,
    learning_rate=5e-4,
    warm_start=WarmStartSettings(iterations=0),
    policy=PolicySettings(8, (16,), -1.0),
    seed=1,
)


def middle_grey(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A judge that likes a mean of 0.5."""
    return -(images.mean((1, 2, 3)) - 0.5).abs(), images.mean((2, 3)).repeat(1, 2)[:, :5]


@pytest.fixture(scope="module")
def scenes() -> PreviewSet:
    rng = np.random.default_rng(0)
    level = np.array([0.01, 0.02, 0.04, 0.06])[:, None, None, None]
    return PreviewSet(
        linear=(level * (0.5 + rng.random((4, 3, 24, 24)))).astype(np.float16),
        noise=np.zeros((4, 3, 2), np.float32),
        as_shot_neutral=np.ones((4, 3), np.float32),
        iso=np.full(4, 100, np.float32),
        truth=np.full((4, 3, 24, 24), 0.5, np.float16),
    )


def task(scenes: PreviewSet, count: int = 4, **options) -> IspTuningVectorEnv:
    reward = QualityReward(middle_grey, RewardSettings(views=("whole",), scale=10.0))
    return IspTuningVectorEnv(scenes, reward, count, **options)


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    agent = train_ppo(task(scenes), TINY, folder)
    save_agent(agent, folder / "agent")
    return agent, folder


def observations(scenes: PreviewSet) -> dict[str, np.ndarray]:
    return task(scenes).reset(options={"scene": np.arange(4)})[0]


def test_a_saved_agent_acts_the_same(trained, scenes):
    agent, folder = trained
    loaded = load_agent(folder / "agent.json", DEFAULT_PIPELINE)
    seen = observations(scenes)
    assert np.array_equal(loaded.act(seen), agent.act(seen))
    assert loaded.card == agent.card


def test_same_seed_same_agent(trained, scenes, tmp_path):
    again = train_ppo(task(scenes), TINY, tmp_path)
    seen = observations(scenes)
    assert np.array_equal(again.act(seen), trained[0].act(seen))


def test_training_goes_on_from_its_checkpoint(trained, scenes, tmp_path):
    half = PPOSettings(**{**vars(TINY), "steps": 80})
    train_ppo(task(scenes), half, tmp_path)
    steps = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"]
    assert steps == 80
    train_ppo(task(scenes), TINY, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"] == 160


def test_warm_start_climbs_the_potential(scenes, tmp_path):
    env = task(scenes, 4, settings=TaskSettings(horizon=1, absolute=True))
    start = PPOSettings(**{**vars(TINY), "steps": 0})
    agent = train_ppo(env, start, tmp_path)
    settings = WarmStartSettings(iterations=30, batch_size=4, learning_rate=3e-3)
    gains = warm_start(agent.policy, env, settings, seed=0)
    assert gains[-1] > gains[0] + 0.3
    assert evaluate(agent, scenes, env.reward)["psnr"]["agent"] > 9  # neutral: about 7


def test_warm_start_needs_absolute_actions(trained, scenes):
    with pytest.raises(ValueError, match="absolute actions"):
        warm_start(trained[0].policy, task(scenes), WarmStartSettings(iterations=1), seed=0)


@pytest.mark.slow
def test_ppo_learns_to_brighten_dark_scenes(scenes, tmp_path):
    settings = PPOSettings(
        steps=3200,
        rollout=10,
        batch_size=80,
        epochs=6,
        learning_rate=1e-3,
        target_kl=0.2,
        warm_start=WarmStartSettings(iterations=0),
        policy=TINY.policy,
    )
    env = task(scenes, 16, settings=TaskSettings(horizon=1, absolute=True))
    agent = train_ppo(env, settings, tmp_path)
    result = evaluate(agent, scenes, env.reward)
    assert result["score"]["agent"] > result["score"]["neutral"] + 0.05
    assert result["psnr"]["agent"] > result["psnr"]["neutral"]


def test_play_returns_the_best_rendering_and_never_less_than_neutral(trained, scenes):
    env = task(scenes, autoreset_mode=AutoresetMode.DISABLED)
    choices = play(env, trained[0], np.arange(4))
    for scene, choice in enumerate(choices):
        assert choice["potential"] >= choice["neutral"]["potential"]
        assert 1 <= choice["renders"] <= env.settings.horizon
        theta = torch.from_numpy(choice["theta"])[None]
        linear, noise = scenes.images(np.array([scene]), "cpu")
        image = DEFAULT_PIPELINE(linear, theta, noise)
        neutral = DEFAULT_PIPELINE(linear, torch.zeros_like(theta), noise)
        value = env.reward(image, neutral, theta).value.item()
        assert value == pytest.approx(choice["potential"], abs=1e-5)


def test_play_keeps_the_neutral_rendering_where_the_agent_does_harm(trained, scenes):
    class Darkener(Agent):
        def act(self, observation):
            actions = np.zeros((len(observation["vector"]), KNOBS + 1), np.float32)
            actions[:, [EXPOSURE, -1]] = -1.0  # exposure down, no stop
            return actions

    env = task(scenes, autoreset_mode=AutoresetMode.DISABLED)
    for choice in play(env, Darkener(trained[0].policy, trained[0].card), np.arange(4)):
        assert (choice["theta"] == 0).all()
        assert choice["potential"] == choice["neutral"]["potential"]


def test_vec_env_hands_out_terminal_observations(scenes):
    env = IspTuningVecEnv(task(scenes, 2, settings=TaskSettings(horizon=1)))
    env.seed(0)
    env.reset()
    action = np.full((2, env.action_space.shape[0]), 0.1, np.float32)  # type: ignore[index]
    observation, _, dones, infos = env.step(action)
    assert dones.all()
    for row, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is False
        theta = info["terminal_observation"]["vector"][:13]
        assert theta == pytest.approx(0.05)  # half a step of 0.1
        now = cast(dict[str, np.ndarray], observation)
        assert (now["vector"][row][: len(DEFAULT_PIPELINE.parameters)] == 0).all()


def test_agents_for_other_knobs_are_refused(trained):
    _, folder = trained
    fewer = IspPipeline(DEFAULT_PIPELINE.stages[:3])
    with pytest.raises(AgentError, match="trained for other knobs"):
        load_agent(folder / "agent.json", fewer)


def test_damaged_files_are_named(trained, tmp_path):
    _, folder = trained
    with pytest.raises(AgentError, match=r"nothing\.json: no readable agent card"):
        load_agent(tmp_path / "nothing.json", DEFAULT_PIPELINE)
    card = json.loads((folder / "agent.json").read_text())
    (tmp_path / "agent.json").write_text(json.dumps(card))
    (tmp_path / "agent.safetensors").write_bytes(b"not weights")
    with pytest.raises(AgentError, match=r"agent\.safetensors: not the weights"):
        load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE)
    (tmp_path / "agent.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(AgentError, match="card format 99"):
        load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE)
