"""What critics know before they have learnt anything: the leash on theta."""

import numpy as np
import pytest
import torch
from torch import nn

from agents.learning.algorithms import SACSettings, TD3Settings
from agents.learning.leashed_critic import Leash, LeashedCritic
from agents.learning.sb3_vec_env import IspTuningVecEnv
from agents.learning.training import train
from agents.policies import PolicySettings, load_agent, save_agent
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.task.reward import QualityReward, RewardSettings

KNOBS = len(DEFAULT_PIPELINE.parameters)
BANDIT = TaskSettings(horizon=1, absolute=True)
NETWORK = PolicySettings("test_efficientnet", side=32, hidden=16, critic=(16,))
BOTH = [
    kind(
        steps=16,
        buffer=20,
        learning_starts=8,
        updates=1,
        batch_size=8,
        policy=NETWORK,
    )
    for kind in (SACSettings, TD3Settings)
]
each = pytest.mark.parametrize("settings", BOTH, ids=lambda s: s.algorithm)


def indifferent(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A judge to whom all pictures are the same."""
    return images.new_zeros(len(images)), images.new_zeros(len(images), 5)


def env(
    task: TaskSettings, weight: float = 3.0, anchors: np.ndarray | None = None
) -> IspTuningVectorEnv:
    linear = np.random.default_rng(0).uniform(0.2, 0.4, (4, 3, 32, 32)).astype(np.float16)
    scenes = PreviewSet(
        linear,
        np.zeros((4, 3, 2), np.float32),
        np.ones((4, 3), np.float32),
        np.full(4, 100, np.float32),
    )
    only = RewardSettings(clipping_weight=0.0, chroma_weight=0.0, theta_weight=weight)
    reward = QualityReward(indifferent, only)
    return IspTuningVectorEnv(
        scenes, reward, 4, settings=task, anchors=anchors, autoreset_mode=AutoresetMode.SAME_STEP
    )


def somewhere() -> np.ndarray:
    """Theta of each scene that a prior could have chosen."""
    return np.random.default_rng(2).uniform(-0.5, 0.5, (4, KNOBS)).astype(np.float32)


@pytest.mark.parametrize("anchors", [None, somewhere()], ids=["neutral", "prior"])
@pytest.mark.parametrize("task", [BANDIT, TaskSettings(step_size=0.5)], ids=["theta", "steps"])
def test_the_leash_is_what_the_task_takes(task, anchors):
    """To an indifferent judge there is nothing else in the reward."""
    stepped = env(task, anchors=anchors)
    seen, _ = stepped.reset(seed=0)
    random = np.random.default_rng(1)
    leash = Leash(task, 3.0)
    for _ in range(task.horizon):
        action = random.uniform(-0.3, 0.3, stepped.action_space.shape).astype(np.float32)
        action[:, KNOBS:] = -1  # goes on
        known = leash({k: torch.from_numpy(v) for k, v in seen.items()}, torch.from_numpy(action))
        seen, reward, _, _, _ = stepped.step(action)
        assert known[:, 0].numpy() == pytest.approx(reward, abs=1e-4)


@each
def test_critics_add_the_leash_to_what_their_networks_say(settings, tmp_path):
    task = env(BANDIT, anchors=somewhere())
    vec = IspTuningVecEnv(task)
    policy = settings.build(vec, tmp_path, "cpu").policy
    for one in (policy.critic, policy.critic_target):
        assert isinstance(one, LeashedCritic)
        for parameter in one.parameters():
            nn.init.zeros_(parameter)
        seen, _ = policy.obs_to_tensor(vec.reset())
        action = torch.linspace(-1, 1, 4)[:, None].expand(4, KNOBS)
        anchor = torch.from_numpy(somewhere()[task._state.scene])
        away = (action - anchor).square().mean(1) - anchor.square().mean(1)
        expected = -3.0 * away[:, None]
        assert all(torch.allclose(value, expected, atol=1e-6) for value in one(seen, action))
        assert torch.allclose(one.q1_forward(seen, action), expected, atol=1e-6)


@each
def test_what_is_trained_with_a_leash_is_loaded_without(settings, tmp_path):
    agent = train(env(BANDIT), settings, tmp_path)
    save_agent(agent, tmp_path / "agent")
    seen, _ = env(BANDIT).reset(seed=0)
    loaded = load_agent(tmp_path / "agent", DEFAULT_PIPELINE)
    assert loaded.act(seen) == pytest.approx(agent.act(seen), abs=2e-3)  # 16 bits
    assert np.ptp(agent.act(seen)) > 0.05
