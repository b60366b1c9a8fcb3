"""Stable-Baselines3's algorithms on the tuning task: one dataclass of settings each.

The discount is 1 where the return of an episode is phi(final) - phi(neutral), and 0 where each
picture is paid by itself (`PPOSettings.scene_baselines`).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    VectorizedActionNoise,
)
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.learning.leashed_critic import Leash, LeashedSACPolicy, LeashedTD3Policy
from agents.policies import Algorithm, PhotoPolicy, PolicySettings


@dataclass(frozen=True)
class PPOSettings:
    """Proximal policy optimisation (Schulman et al. 2017).

    Attributes:
        steps: Environment steps in all.
        rollout: Steps of each environment between updates.
        batch_size: Samples of a gradient step.
        epochs: Passes over a rollout.
        learning_rate: Adam's, falling linearly to a tenth.
        gae_lambda: Of generalised advantage estimation.
        entropy: Weight of the entropy bonus.
        clip: Range of the probability ratio.
        target_kl: An update ends when the policy has moved this far.
        scene_baselines: Pay each picture by itself, beside earlier ones of its scene
            (`sb3_vec_env.IspTuningVecEnv`), with discount 0: better where episodes have several
            steps; else the gain of each step.
        policy: The network.
        seed: Of networks, exploration and the draw of scenes.
    """

    algorithm: ClassVar[Algorithm] = "PPO"

    steps: int = 102_400
    rollout: int = 64
    batch_size: int = 256
    epochs: int = 5
    learning_rate: float = 2e-4
    gae_lambda: float = 0.95
    entropy: float = 0.0
    clip: float = 0.2
    target_kl: float = 0.03
    scene_baselines: bool = False
    policy: PolicySettings = field(default_factory=lambda: PolicySettings(frozen=True))
    seed: int = 0

    def build(self, env: VecEnv, folder: Path, device: str) -> BaseAlgorithm:
        """Return an untrained agent that logs to `folder`."""
        return PPO(
            PhotoPolicy,
            env,
            n_steps=self.rollout,
            batch_size=self.batch_size,
            n_epochs=self.epochs,
            gae_lambda=self.gae_lambda,
            ent_coef=self.entropy,
            clip_range=self.clip,
            target_kl=self.target_kl,
            **_shared(self, env, folder, device),
        )


@dataclass(frozen=True)
class ReplaySettings:
    """What algorithms that learn from a replay memory share.

    They explore about their own policy from the first step on: settings drawn from all of [-1, 1]^d
    are worse than neutral, but for few, and teach a critic nothing of where it matters. What lies
    far from the policy the critic knows from the leash (`leashed_critic`).

    Attributes:
        steps: Environment steps in all.
        buffer: Transitions that are remembered.
        learning_starts: Steps before the first update.
        updates: Gradient steps after each step of all environments.
        batch_size: Transitions of a gradient step.
        learning_rate: Adam's, falling linearly to a tenth.
        tau: Share of the new networks in their moving averages.
        policy: The networks.
        seed: Of networks, exploration and the draw of scenes.
    """

    scene_baselines: ClassVar[bool] = False

    steps: int = 3_200
    buffer: int = 10_000
    learning_starts: int = 640
    updates: int = 16
    batch_size: int = 128
    learning_rate: float = 1e-4
    tau: float = 0.005
    policy: PolicySettings = field(default_factory=PolicySettings)
    seed: int = 0

    def replay(self) -> dict[str, Any]:
        """Return keyword arguments of Stable-Baselines3's off-policy algorithms."""
        return {
            "buffer_size": self.buffer,
            "learning_starts": self.learning_starts,
            "gradient_steps": self.updates,
            "train_freq": 1,
            "batch_size": self.batch_size,
            "tau": self.tau,
        }


class _Local:
    """Off-policy exploration that is the policy's own also before the first update."""

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        return super()._sample_action(0, action_noise, n_envs)  # type: ignore[misc]


class _LocalSAC(_Local, SAC):
    pass


class _LocalTD3(_Local, TD3):
    pass


@dataclass(frozen=True)
class SACSettings(ReplaySettings):
    """Soft actor-critic with a learned temperature (Haarnoja et al. 2018).

    Attributes:
        initial_entropy: Temperature at the start.
    """

    algorithm: ClassVar[Algorithm] = "SAC"

    initial_entropy: float = 0.002

    def build(self, env: VecEnv, folder: Path, device: str) -> BaseAlgorithm:
        """Return an untrained agent that logs to `folder`."""
        model = _LocalSAC(
            LeashedSACPolicy,
            env,
            ent_coef=f"auto_{self.initial_entropy}",
            **self.replay(),
            **_shared(self, env, folder, device, leash=_leash(env)),
        )
        last = cast(nn.Linear, model.actor.log_std)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, self.policy.log_std)
        return model


@dataclass(frozen=True)
class TD3Settings(ReplaySettings):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018).

    Attributes:
        noise: Standard deviation of the exploration.
    """

    algorithm: ClassVar[Algorithm] = "TD3"

    noise: float = 0.08

    def build(self, env: VecEnv, folder: Path, device: str) -> BaseAlgorithm:
        """Return an untrained agent that logs to `folder`."""
        actions = env.action_space.shape or ()
        noise = NormalActionNoise(np.zeros(actions), np.full(actions, self.noise))
        return _LocalTD3(
            LeashedTD3Policy,
            env,
            action_noise=VectorizedActionNoise(noise, env.num_envs),
            **self.replay(),
            **_shared(self, env, folder, device, leash=_leash(env)),
        )


AgentSettings = PPOSettings | SACSettings | TD3Settings


def _leash(env: VecEnv) -> Leash:
    """Return the leash of the task that is trained on."""
    (task,), (reward,) = (env.get_attr(name, [0]) for name in ("settings", "reward"))
    return Leash(task, reward.settings.theta_weight)


def _knobs(env: VecEnv) -> int:
    """Return the length of theta."""
    return len(env.get_attr("pipeline", [0])[0].parameters)


def _shared(
    settings: AgentSettings, env: VecEnv, folder: Path, device: str, **policy: Any
) -> dict[str, Any]:
    return {
        "learning_rate": lambda left: settings.learning_rate * (0.1 + 0.9 * left),
        "gamma": 0.0 if settings.scene_baselines else 1.0,
        "policy_kwargs": settings.policy.arguments(settings.algorithm, _knobs(env)) | policy,
        "tensorboard_log": str(folder),
        "seed": settings.seed,
        "device": device,
    }
