"""Training of agents with Stable-Baselines3 on the batched tuning task."""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecMonitor

from agents.policies import Agent, AgentCard, PolicySettings, knobs
from agents.vec_env import IspTuningVecEnv
from agents.warm_start import WarmStartSettings, warm_start
from isp_env.environment import IspTuningVectorEnv
from isp_env.files import atomic_path

log = logging.getLogger(__name__)

PPO_WARM = "PPO, started by gradient ascent through the ISP"


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
        warm_start: Gradient ascent through the ISP before the first step.
        policy: The network.
        seed: Of networks, exploration and the draw of scenes.
    """

    steps: int = 10_000
    rollout: int = 20
    batch_size: int = 160
    epochs: int = 8
    learning_rate: float = 1e-4
    gae_lambda: float = 0.95
    entropy: float = 0.0
    clip: float = 0.2
    target_kl: float = 0.03
    warm_start: WarmStartSettings = field(default_factory=WarmStartSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    seed: int = 0


def train_ppo(
    env: IspTuningVectorEnv, settings: PPOSettings, folder: Path, device: str = "cpu"
) -> Agent:
    """Train an agent; started again with the same `folder` it goes on from its checkpoint.

    The discount is 1: episodes are short and their return is phi(final) - phi(neutral).

    Args:
        env: The task.
        settings: Of the algorithm.
        folder: Where `checkpoint.pt` and TensorBoard's events go.
        device: Where the policy runs.
    """
    set_random_seed(settings.seed)
    vec_env = VecMonitor(IspTuningVecEnv(env))
    model = PPO(
        "MultiInputPolicy",
        vec_env,
        learning_rate=lambda left: settings.learning_rate * (0.1 + 0.9 * left),
        n_steps=settings.rollout,
        batch_size=settings.batch_size,
        n_epochs=settings.epochs,
        gamma=1.0,
        gae_lambda=settings.gae_lambda,
        ent_coef=settings.entropy,
        clip_range=settings.clip,
        target_kl=settings.target_kl,
        policy_kwargs=settings.policy.arguments(),
        tensorboard_log=str(folder),
        seed=settings.seed,
        device=device,
    )
    checkpoint = folder / "checkpoint.pt"
    if not checkpoint.exists():
        warm_start(model.policy, env, settings.warm_start, settings.seed)
        _save(model, checkpoint)
    done = _resume(model, checkpoint)
    if done < settings.steps:
        callback = _CheckpointAndProgress(model, checkpoint, settings.steps)
        left = settings.steps - done
        model.learn(left, callback=callback, reset_num_timesteps=False, tb_log_name="ppo")
    model.policy.set_training_mode(False)
    card = AgentCard(
        algorithm=PPO_WARM if settings.warm_start.iterations else "PPO",
        parameters=knobs(env.pipeline),
        attributes=env.attributes,
        task=env.settings,
        policy=settings.policy,
        preview_side=max(env.scenes.linear.shape[-2:]),
        reward=env.reward.settings,
        training={
            "settings": json.loads(json.dumps(asdict(settings))),
            "environments": env.num_envs,
        },
    )
    return Agent(model.policy, card)


def play(env: IspTuningVectorEnv, agent: Agent, scene: np.ndarray) -> list[dict[str, Any]]:
    """One episode of each scene; what was best on the way counts, the neutral rendering included.

    Choosing by the potential uses nothing but what the agent sees: no truth is involved.

    Args:
        env: With as many environments as `scene` has rows and `AutoresetMode.DISABLED`.
        agent: The policy.
        scene: Rows of the preview set.

    Returns:
        For each scene: theta, parameters, score, attributes, potential of the best rendering;
        the same of the neutral rendering under `neutral`; and the number of `renders`.
    """
    observation, info = env.reset(options={"scene": scene})
    neutral = [_row(info, i) for i in range(len(scene))]
    best, renders = list(neutral), np.zeros(len(scene), int)
    active = np.ones(len(scene), bool)
    while active.any():
        observation, _, terminated, _, info = env.step(agent.act(observation))
        renders += active
        for i in np.flatnonzero(active):
            if info["potential"][i] > best[i]["potential"]:
                best[i] = _row(info, int(i))
        active &= ~terminated
    return [
        row | {"neutral": start, "renders": int(count)}
        for row, start, count in zip(best, neutral, renders, strict=True)
    ]


def _row(info: dict[str, Any], row: int) -> dict[str, Any]:
    keys = ("theta", "score", "attributes", "potential", "clipping", "chroma")
    parameters = {name: float(value[row]) for name, value in info["parameters"].items()}
    return {key: info[key][row].copy() for key in keys} | {"parameters": parameters}


class _CheckpointAndProgress(BaseCallback):
    """A progress bar, and a checkpoint after every few updates."""

    def __init__(self, ppo: PPO, path: Path, total: int, every: int = 5) -> None:
        super().__init__()
        self.ppo, self.path, self.total = ppo, path, total
        self.every, self.rollouts = every, 0
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("return {task.fields[mean]:+.3f}"),
            TimeRemainingColumn(),
        )
        self.task = self.bar.add_task("training", total=total, mean=0.0)

    def _on_training_start(self) -> None:
        self.bar.start()

    def _on_step(self) -> bool:
        episodes = self.model.ep_info_buffer
        mean = float(np.mean([e["r"] for e in episodes])) if episodes else 0.0
        self.bar.update(self.task, completed=min(self.num_timesteps, self.total), mean=mean)
        return True

    def _on_rollout_start(self) -> None:
        """Between the update before and the next rollout: the state is consistent here."""
        if self.rollouts and self.rollouts % self.every == 0:
            _save(self.ppo, self.path)
        self.rollouts += 1

    def _on_training_end(self) -> None:
        _save(self.ppo, self.path)
        self.bar.stop()


def _save(model: PPO, checkpoint: Path) -> None:
    """Write what `_resume` reads."""
    state = {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "steps": model.num_timesteps,
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(checkpoint) as temporary:
        torch.save(state, temporary)


def _resume(model: PPO, checkpoint: Path) -> int:
    """Load a checkpoint of an interrupted training; returns the steps done."""
    state = torch.load(checkpoint, weights_only=True, map_location=model.device)
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    model.num_timesteps = state["steps"]
    # other scenes and noise than those already seen
    set_random_seed((model.seed or 0) + state["steps"])
    log.info("%s: resumed after %d steps", checkpoint, state["steps"])
    return state["steps"]
