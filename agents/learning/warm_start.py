"""Reinforcement learning starts from a supervised policy."""

from typing import cast

import numpy as np
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from agents.policies.networks import PhotoPolicy, actor, features_of, sync_targets
from isp_env.task.environment import IspTuningVectorEnv

FITTED = 512  # scenes whose answers a squashed actor's last layer is fitted to
LARGEST = 0.98  # of theta, before the inverse of tanh
RIDGE = 1e-2


@torch.no_grad()
def start_from(policy: BasePolicy, prior: BasePolicy, env: IspTuningVectorEnv) -> None:
    """Let a policy answer as a prior does; critics, and how widely it explores, stay its own.

    A prior that looks once has not learned to read its own pictures: of a task of several steps it
    answers each as the first, until it learns to do better.

    The actors of SAC and TD3 end in tanh: their last layer is fitted to the prior's answers to the
    neutral renderings of the first scenes, by least squares.

    Args:
        policy: Changed in place; a policy whose actions are theta itself.
        prior: Sees by the same network.
        env: The task.

    Raises:
        TypeError: The prior is no `PhotoPolicy`, or actions are not theta.
    """
    if not isinstance(prior, PhotoPolicy) or not env.settings.absolute:
        raise TypeError(
            "a start from a prior needs a PhotoPolicy, and actions that are theta: "
            "TaskSettings(absolute=True)"
        )
    policy.set_training_mode(False)
    features = features_of(policy if isinstance(policy, PhotoPolicy) else _actor(policy))
    features.load_state_dict(features_of(prior).state_dict())
    if env.settings.horizon > 1:
        features.ignore_progress()
    if isinstance(policy, PhotoPolicy):
        policy.action_net.load_state_dict(prior.action_net.state_dict())
        return
    seen = torch.cat([features(part) for part in _observations(policy, env)])
    theta = cast(Tensor, prior.action_net(seen)).clamp(-LARGEST, LARGEST)
    inputs = torch.cat([seen, seen.new_ones(len(seen), 1)], dim=1)
    gram = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1], device=seen.device)
    solved = torch.linalg.solve(gram, inputs.T @ torch.atanh(theta))
    last = _actor(policy).mu
    last = cast(nn.Linear, last[0] if isinstance(last, nn.Sequential) else last)
    last.weight.copy_(solved[:-1].T)
    last.bias.copy_(solved[-1])
    sync_targets(policy)


def _actor(policy: BasePolicy) -> BasePolicy:
    return cast(BasePolicy, actor(policy))


def _observations(policy: BasePolicy, env: IspTuningVectorEnv):
    """Yield observations of neutral renderings as the features read them, in parts."""
    count = min(FITTED, len(env.scenes))
    for first in range(0, count, env.num_envs):
        rows = np.arange(first, first + env.num_envs) % len(env.scenes)
        observation, _ = env.reset(options={"scene": rows})
        tensors, _ = policy.obs_to_tensor(observation)
        yield {
            key: value.float() / 255 if key == "image" else value
            for key, value in cast(dict[str, Tensor], tensors).items()
        }
