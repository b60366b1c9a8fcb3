"""Training of agents with Stable-Baselines3 on the batched tuning task.

A run keeps everything in its folder and goes on from its last checkpoint, replay memory included,
wherever it was killed.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecMonitor

from agents.learning.algorithms import AgentSettings
from agents.learning.sb3_vec_env import IspTuningVecEnv
from agents.learning.warm_start import start_from
from agents.policies import Agent, AgentCard, AgentError, knobs
from isp_env.files import atomic_path
from isp_env.task.environment import IspTuningVectorEnv

log = logging.getLogger(__name__)

Evaluation = Callable[[Agent], dict[str, float]]


@dataclass(frozen=True)
class Pace:
    """How often training looks up from its work, in environment steps.

    Attributes:
        checkpoint: Between checkpoints.
        evaluation: Between evaluations.
    """

    checkpoint: int = 2_000
    evaluation: int = 5_000


def train(
    env: IspTuningVectorEnv,
    settings: AgentSettings,
    folder: Path | str,
    device: str = "cpu",
    evaluation: Evaluation | None = None,
    pace: Pace = Pace(),
    origin: str = "",
    prior: Agent | None = None,
) -> Agent:
    """Train an agent; started again with the same `folder` it goes on from its checkpoint.

    Args:
        env: The task.
        settings: The algorithm and its settings.
        folder: Where checkpoints and TensorBoard's events go.
        device: Where the policy runs.
        evaluation: Asked now and then about the agent; what it returns goes to TensorBoard and to
            `history.jsonl`.
        pace: How often.
        origin: What else decides the result: which scenes, which judge, which prior.
        prior: The policy to start from.

    Raises:
        AgentError: The task shows no pictures, or the run in `folder` was begun with another task,
            reward, origin or settings; only their `steps` may change.
    """
    if not env.settings.pictures:
        raise AgentError("these policies look at pictures: TaskSettings(pictures=True)")
    folder = Path(folder)
    _claim(folder, env, settings, origin)
    set_random_seed(settings.seed)
    model = settings.build(
        VecMonitor(IspTuningVecEnv(env, settings.scene_baselines)), folder, device
    )
    card = describe(env, settings)
    checkpoint = Checkpoint(model, folder)
    if not checkpoint.path.exists():
        if prior is not None:
            start_from(model.policy, prior.policy, env)
        checkpoint.save()
    done = checkpoint.resume()
    if done < settings.steps:
        callback = _Watch(checkpoint, settings.steps, card, evaluation, pace)
        name = settings.algorithm.lower()
        left = settings.steps - done
        model.learn(left, callback=callback, reset_num_timesteps=False, tb_log_name=name)
    model.policy.set_training_mode(False)
    return Agent(model.policy, card)


def _claim(folder: Path, env: IspTuningVectorEnv, settings: AgentSettings, origin: str) -> None:
    """Write down what a new run is; refuse to go on with another one."""
    said = asdict(describe(env, replace(settings, steps=0))) | {"origin": origin}
    said = json.loads(json.dumps(said))
    path = folder / "run.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(said, indent=2) + "\n")
        return
    begun = json.loads(path.read_text())
    if other := [key for key in said if begun.get(key) != said[key]]:
        raise AgentError(f"{folder}: begun with another {', '.join(other)}; name another folder")


def describe(env: IspTuningVectorEnv, settings: AgentSettings) -> AgentCard:
    """Return the card of an agent trained on `env`, without results."""
    return AgentCard(
        algorithm=settings.algorithm,
        parameters=knobs(env.pipeline),
        attributes=env.attributes,
        features=env.features,
        task=env.settings,
        policy=settings.policy,
        preview_side=max(env.scenes.linear.shape[-2:]),
        reward=env.reward.settings,
        training={
            "settings": json.loads(json.dumps(asdict(settings))),
            "environments": env.num_envs,
        },
    )


@dataclass(frozen=True)
class Checkpoint:
    """The state of an algorithm, in files that appear whole or not at all.

    Attributes:
        model: The algorithm.
        folder: Where they lie.
    """

    model: BaseAlgorithm
    folder: Path

    @property
    def path(self) -> Path:
        """Networks, optimizers and counters."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write what `resume` reads."""
        state: dict[str, Any] = {"parameters": self.model.get_parameters()}
        state["steps"] = self.model.num_timesteps
        if (temperature := getattr(self.model, "log_ent_coef", None)) is not None:
            state["log_ent_coef"] = temperature.detach()
        self.folder.mkdir(parents=True, exist_ok=True)
        if (memory := self._memory) is not None:
            with atomic_path(self.folder / "memory.npz") as temporary:
                np.savez(temporary, allow_pickle=False, **_memories(memory))
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)

    def resume(self) -> int:
        """Load a checkpoint of an interrupted training; returns the steps done."""
        model = self.model
        state = torch.load(self.path, weights_only=True, map_location=model.device)
        model.set_parameters(state["parameters"], device=model.device)
        if "log_ent_coef" in state:
            model.log_ent_coef.data.copy_(state["log_ent_coef"])  # type: ignore[attr-defined]
        model.num_timesteps = state["steps"]
        if (memory := self._memory) is not None and (self.folder / "memory.npz").exists():
            _remember(memory, self.folder / "memory.npz")
        # other scenes and noise than those already seen
        set_random_seed((model.seed or 0) + state["steps"])
        model.get_env().seed((model.seed or 0) + state["steps"])  # type: ignore[union-attr]
        log.info("%s: starts from step %d", self.path, state["steps"])
        return state["steps"]

    @property
    def _memory(self) -> DictReplayBuffer | None:
        if isinstance(self.model, OffPolicyAlgorithm):
            assert isinstance(self.model.replay_buffer, DictReplayBuffer)
            return self.model.replay_buffer
        return None


def _memories(memory: DictReplayBuffer) -> dict[str, np.ndarray]:
    """Return the transitions so far as arrays."""
    size = memory.buffer_size if memory.full else memory.pos
    arrays = {f"now {key}": value[:size] for key, value in memory.observations.items()}
    arrays |= {f"next {key}": value[:size] for key, value in memory.next_observations.items()}
    arrays |= {key: getattr(memory, key)[:size] for key in ("actions", "rewards", "dones")}
    return arrays | {"position": np.array(memory.pos)}


def _remember(memory: DictReplayBuffer, path: Path) -> None:
    """Fill a replay memory from `_memories`."""
    with np.load(path, allow_pickle=False) as arrays:
        size = len(arrays["rewards"])
        for key in memory.observations:
            memory.observations[key][:size] = arrays[f"now {key}"]
            memory.next_observations[key][:size] = arrays[f"next {key}"]
        for key in ("actions", "rewards", "dones"):
            getattr(memory, key)[:size] = arrays[key]
        memory.pos, memory.full = int(arrays["position"]), size == memory.buffer_size


class _Watch(BaseCallback):
    """A progress bar, checkpoints and evaluations."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        total: int,
        card: AgentCard,
        evaluation: Evaluation | None,
        pace: Pace,
    ) -> None:
        super().__init__()
        self.checkpoint, self.total, self.card = checkpoint, total, card
        self.evaluation, self.pace = evaluation, pace
        self.saved = self.evaluated = 0
        self.bar = Progress(
            TextColumn(card.algorithm),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, mean return {task.fields[mean]:+.3f}"),
            TimeRemainingColumn(),
        )
        self.task = self.bar.add_task("steps", total=total, mean=0.0)

    def _on_training_start(self) -> None:
        self.saved = self.evaluated = self.num_timesteps
        self.bar.start()

    def _on_step(self) -> bool:
        episodes = self.model.ep_info_buffer
        mean = float(np.mean([e["r"] for e in episodes])) if episodes else 0.0
        self.bar.update(self.task, completed=min(self.num_timesteps, self.total), mean=mean)
        return True

    def _on_rollout_start(self) -> None:
        """Save between an update and the next rollout: the state is consistent here."""
        if self.model.num_timesteps - self.saved >= self.pace.checkpoint:
            self.saved = self.model.num_timesteps
            self.checkpoint.save()
        if self.model.num_timesteps - self.evaluated >= self.pace.evaluation:
            self.evaluated = self.model.num_timesteps
            self._evaluate()

    def _on_training_end(self) -> None:
        self.checkpoint.save()
        self._evaluate()
        self.bar.stop()

    def _evaluate(self) -> None:
        if self.evaluation is None:
            return
        self.model.policy.set_training_mode(False)
        results = self.evaluation(Agent(self.model.policy, self.card))
        steps = self.model.num_timesteps
        for name, value in results.items():
            self.logger.record(f"evaluation/{name}", value)
        self.logger.dump(steps)
        with (self.checkpoint.folder / "history.jsonl").open("a") as history:
            history.write(json.dumps({"step": steps, **results}) + "\n")
