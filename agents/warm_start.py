"""A policy's first lesson: climb the potential through the differentiable ISP.

Exploring thirteen knobs by trial takes many renders. ISP and judge are differentiable, so the
gradient of phi with respect to theta, and through it to the policy's weights, is known exactly; the
reinforcement learner then starts from there.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn.utils import clip_grad_norm_

from isp_env.environment import IspTuningVectorEnv
from isp_env.judged import CHUNK

log = logging.getLogger(__name__)

LOG_EVERY = 20


@dataclass(frozen=True)
class WarmStartSettings:
    """Gradient ascent of the mean action before reinforcement learning.

    Attributes:
        iterations: Gradient steps; 0 leaves the policy as it is.
        batch_size: Scenes of a step.
        learning_rate: Adam's, falling to zero along a cosine.
    """

    iterations: int = 400
    batch_size: int = 16
    learning_rate: float = 1e-3


def warm_start(
    policy: ActorCriticPolicy, env: IspTuningVectorEnv, settings: WarmStartSettings, seed: int
) -> list[float]:
    """Raise the mean potential of the policy's mean actions at the neutral renderings.

    Args:
        policy: Changed in place; its actions must be theta itself.
        env: The task; its scenes are trained on.
        settings: Length and speed.
        seed: Of the draw of scenes.

    Returns:
        The mean gain in potential over neutral at each step.

    Raises:
        ValueError: The actions of the task are steps, not theta.
    """
    if not settings.iterations:
        return []
    if not env.settings.absolute:
        raise ValueError("a warm start needs a task with absolute actions")
    rng, device = np.random.default_rng(seed), env.device
    observations, start = _neutral(env)
    optimizer = torch.optim.Adam(policy.parameters(), settings.learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.iterations)
    history = []
    policy.set_training_mode(True)
    for _ in track(range(settings.iterations), "warm start"):
        rows = rng.choice(len(env.scenes), settings.batch_size)
        optimizer.zero_grad()
        gain = 0.0
        for chunk in np.split(rows, range(CHUNK, len(rows), CHUNK)):
            seen, _ = policy.obs_to_tensor({k: v[chunk] for k, v in observations.items()})
            theta = policy.get_distribution(seen).distribution.mean  # type: ignore[arg-type]
            linear, noise = env.scenes.images(chunk, device)
            with torch.no_grad():
                neutral = env.pipeline(linear, torch.zeros_like(theta), noise)
            image = env.pipeline(linear, theta, noise)
            potential = env.reward(image, neutral, theta).value
            loss = -potential.sum() / len(rows)
            loss.backward()
            gain -= loss.item() + start[chunk].sum() / len(rows)
        clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        rate.step()
        history.append(float(gain))
        if len(history) % LOG_EVERY == 0:
            log.info("warm start, step %d: %+.3f", len(history), np.mean(history[-LOG_EVERY:]))
    policy.set_training_mode(False)
    return history


def _neutral(env: IspTuningVectorEnv) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Observation and potential of the neutral rendering of every scene."""
    observations, potentials = [], []
    count = len(env.scenes)
    for first in track(range(0, count, env.num_envs), "looking at the scenes"):
        rows = np.arange(first, first + env.num_envs) % count
        observation, info = env.reset(options={"scene": rows})
        observations.append(observation)
        potentials.append(info["potential"])
    joined = {k: np.concatenate([o[k] for o in observations])[:count] for k in observations[0]}
    return joined, np.concatenate(potentials)[:count]
