"""Reinforcement learning starts from what a prior answers."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import nn

from agents.learning.algorithms import AgentSettings, PPOSettings, SACSettings, TD3Settings
from agents.learning.sb3_vec_env import IspTuningVecEnv
from agents.learning.training import train
from agents.learning.warm_start import start_from
from agents.policies import (
    PhotoPolicy,
    actor,
    features_of,
    mean_action,
)
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.task.reward import QualityReward
from tests.agents.tiny import NETWORK, PIPELINE, agent_of, dark_shots, opinionated, scenes_of

COUNT = 30
EACH: list[AgentSettings] = [
    PPOSettings(
        steps=0,
        rollout=4,
        batch_size=8,
        policy=NETWORK,
    ),
    *(
        kind(
            steps=0,
            buffer=20,
            learning_starts=8,
            policy=NETWORK,
        )
        for kind in (SACSettings, TD3Settings)
    ),
]
each_algorithm = pytest.mark.parametrize("settings", EACH, ids=lambda s: s.algorithm)


def level(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images.mean((1, 2, 3)), images.mean((2, 3))


BANDIT = TaskSettings(1, absolute=True)


def env(task: TaskSettings = BANDIT) -> IspTuningVectorEnv:
    scenes = scenes_of(dark_shots(COUNT, 0))
    mode = AutoresetMode.SAME_STEP
    return IspTuningVectorEnv(scenes, QualityReward(level), 4, PIPELINE, task, mode)


def observations() -> dict[str, np.ndarray]:
    scenes = scenes_of(dark_shots(COUNT, 0))
    task = IspTuningVectorEnv(scenes, QualityReward(level), COUNT, PIPELINE, BANDIT)
    return task.reset(options={"scene": np.arange(COUNT)})[0]


def prior() -> PhotoPolicy:
    """With features of the size that a trained one's have, and answers spread within the knobs."""
    policy = opinionated(seed=4, attributes=3)
    features, last = features_of(policy), linear(policy.action_net)
    seen, _ = policy.obs_to_tensor(observations())
    with torch.no_grad():
        for part in (features.light, features.join):
            linear(part[3]).weight *= 12
        std, mean = torch.std_mean(mean_action(policy, seen), dim=0)
        last.bias.copy_(0.6 - mean * 0.12 / std)  # where tanh bends
        last.weight *= 0.12 / std[:, None]
    return policy


def linear(module: object) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


@each_algorithm
def test_an_agent_starts_as_its_prior(settings, tmp_path):
    supervised, seen = prior(), observations()
    expected, _ = supervised.predict(seen, deterministic=True)
    untaught = settings.build(IspTuningVecEnv(env()), tmp_path, "cpu").policy
    assert np.abs(untaught.predict(seen, deterministic=True)[0] - expected).max() > 0.2
    agent = train(env(), settings, tmp_path / "run", prior=agent_of(supervised, attributes=3))
    found = agent.act(seen)
    if settings.algorithm == "PPO":
        assert np.array_equal(found, expected)
    else:
        assert np.abs(found - expected).mean() < 0.02
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97
    sees = features_of(cast(BasePolicy, actor(agent.policy)))
    for name, value in features_of(supervised).state_dict().items():
        assert torch.equal(sees.state_dict()[name], value), name


def test_of_several_steps_each_is_answered_as_the_first(tmp_path):
    task = env(TaskSettings(3, absolute=True))
    agent = train(task, EACH[0], tmp_path, prior=agent_of(prior(), attributes=3))
    seen, _ = task.reset(options={"scene": np.arange(4)})
    first = agent.act(seen)
    expected, _ = prior().predict(seen, deterministic=True)
    np.testing.assert_allclose(first, expected, atol=1e-5)
    later = seen
    for _ in range(2):
        later, *_ = task.step(first)
        assert np.abs(later["image"][:, :3].astype(float) - seen["image"][:, :3]).mean() > 1
        np.testing.assert_allclose(agent.act(later), first, atol=1e-5)
    learned = features_of(agent.policy).light[0]
    assert isinstance(learned, nn.Linear)
    nn.init.normal_(learned.weight)  # it may learn to read its own picture
    assert np.abs(agent.act(later) - agent.act(seen)).max() > 1e-3


@pytest.mark.parametrize("settings", EACH[1:], ids=lambda s: s.algorithm)
def test_critics_stay_and_targets_follow(settings, tmp_path: Path):
    policy = settings.build(IspTuningVecEnv(env()), tmp_path, "cpu").policy
    critic = policy.critic
    heads = {n: x.clone() for n, x in critic.state_dict().items() if n.startswith("qf")}
    start_from(policy, prior(), env())
    assert all(torch.equal(critic.state_dict()[name], value) for name, value in heads.items())
    for now, late in zip(critic.parameters(), policy.critic_target.parameters(), strict=True):
        assert torch.equal(now, late)
    if settings.algorithm == "TD3":
        chosen = zip(actor(policy).parameters(), policy.actor_target.parameters(), strict=True)
        assert all(torch.equal(now, late) for now, late in chosen)


def test_how_widely_an_agent_explores_is_its_own(tmp_path):
    policy = EACH[0].build(IspTuningVecEnv(env()), tmp_path, "cpu").policy
    assert isinstance(policy, PhotoPolicy)
    nn.init.constant_(linear(policy.value_net).weight, 0.25)
    start_from(policy, prior(), env())
    assert isinstance(policy.log_std, nn.Parameter)
    assert set(policy.log_std.tolist()) == {NETWORK.log_std}
    assert set(linear(policy.value_net).weight.flatten().tolist()) == {0.25}


def test_a_run_that_goes_on_does_not_start_anew(tmp_path):
    settings = replace(EACH[0], steps=16, learning_rate=1e-2)
    first, another = agent_of(prior(), attributes=3), agent_of(opinionated(attributes=3))
    once = train(env(), settings, tmp_path, prior=first)
    again = train(env(), settings, tmp_path, prior=another)
    seen = observations()
    assert np.array_equal(again.act(seen), once.act(seen))


def test_a_start_needs_actions_that_are_theta(tmp_path):
    stepping = env(TaskSettings(horizon=3))
    policy = EACH[0].build(IspTuningVecEnv(stepping), tmp_path, "cpu").policy
    with pytest.raises(TypeError, match="actions that are theta"):
        start_from(policy, prior(), stepping)
    sac = EACH[1].build(IspTuningVecEnv(env()), tmp_path, "cpu").policy
    with pytest.raises(TypeError, match="needs a PhotoPolicy"):
        start_from(EACH[0].build(IspTuningVecEnv(env()), tmp_path, "cpu").policy, sac, env())
