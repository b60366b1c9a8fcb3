"""Agents as data: a policy's weights in safetensors and a card from which it is built anew.

A Stable-Baselines3 archive is a pickle, and unpickling a stranger's file runs a stranger's code.
The card says how to build the network; the weights are plain tensors.
"""

import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy

from isp_env.environment import TaskSettings
from isp_env.errors import IspEnvError
from isp_env.files import atomic_path
from isp_env.observations import observation_space
from isp_env.pipeline import IspPipeline
from isp_env.rewards import RewardSettings

FORMAT = 1


class AgentError(IspEnvError):
    """An agent's files are missing, damaged or made for another pipeline."""


@dataclass(frozen=True)
class PolicySettings:
    """The network of an actor-critic policy.

    Attributes:
        picture_features: Outputs of the convolutional network on the pictures.
        hidden: Widths of the layers of actor and of critic.
        log_std: Initial log standard deviation of the Gaussian actions.
    """

    picture_features: int = 128
    hidden: tuple[int, ...] = (128, 128)
    log_std: float = -2.0

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of Stable-Baselines3's `MultiInputPolicy`."""
        return {
            "net_arch": list(self.hidden),
            "features_extractor_kwargs": {"cnn_output_dim": self.picture_features},
            "log_std_init": self.log_std,
        }


@dataclass(frozen=True)
class AgentCard:
    """What the weights are and where they come from.

    Attributes:
        algorithm: Algorithm that trained them.
        parameters: Knobs of the pipeline as [name, low, neutral, high], in the order of theta.
        attributes: Number of attribute scores in the observation.
        task: Rules of the episodes.
        policy: The network.
        preview_side: Long side of the previews trained on, in pixels.
        reward: Weights of the potential.
        judge: The quality model of the reward.
        training: Data, steps, seed, versions.
        metrics: Measured results.
        format: Version of this card.
    """

    algorithm: str
    parameters: list[list[Any]]
    attributes: int
    task: TaskSettings
    policy: PolicySettings
    preview_side: int
    reward: RewardSettings
    judge: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def knobs(self) -> list[str]:
        """Names of the parameters that theta moves, in its order."""
        return [name for name, *_ in self.parameters]


@dataclass(frozen=True)
class Agent:
    """A trained policy and its card."""

    policy: ActorCriticPolicy
    card: AgentCard

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """Deterministic actions (n, k) in [-1, 1] for batched observations."""
        actions, _ = self.policy.predict(observation, deterministic=True)
        return actions


def knobs(pipeline: IspPipeline) -> list[list[Any]]:
    """What an agent must know of a pipeline: its parameters and their ranges."""
    return [[p.name, p.low, p.neutral, p.high] for p in pipeline.parameters]


def save_agent(agent: Agent, stem: Path) -> None:
    """Write `stem`.safetensors and `stem`.json, each whole or not at all."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(stem.with_suffix(".safetensors")) as temporary:
        save_model(agent.policy, str(temporary))  # actor and critic share their extractor
    with atomic_path(stem.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(asdict(agent.card), indent=2) + "\n")


def load_agent(
    source: str | Path, pipeline: IspPipeline, device: str | torch.device = "cpu"
) -> Agent:
    """Build an agent from its card and weights.

    Args:
        source: "embedded", or the path of the .safetensors or .json file.
        pipeline: The pipeline that it is to tune, which must have the knobs of the card: tune
            `pipeline.only(agent.card.knobs)`.
        device: Where the policy runs.

    Raises:
        AgentError: A file is missing or damaged, or the agent is for other knobs.
    """
    if source == "embedded":
        source = Path(str(files("agents") / "weights" / "ppo.json"))
    stem = Path(source).with_suffix("")
    card = _read_card(stem.with_suffix(".json"))
    if other := [knob for knob in card.parameters if knob not in knobs(pipeline)]:
        raise AgentError(f"{stem}.json: trained for other knobs than this pipeline's: {other}")
    length = len(card.parameters) + (0 if card.task.absolute else 1)
    policy = MultiInputActorCriticPolicy(
        observation_space(len(card.parameters), card.attributes),
        spaces.Box(-1.0, 1.0, (length,), np.float32),
        lr_schedule=lambda _: 0.0,
        **card.policy.arguments(),
    )
    try:
        load_model(policy, stem.with_suffix(".safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise AgentError(
            f"{stem}.safetensors: not the weights its card describes: {error}"
        ) from error
    policy.to(device).set_training_mode(False)
    return Agent(policy, card)


def _read_card(path: Path) -> AgentCard:
    try:
        card = json.loads(path.read_text())
        if card["format"] != FORMAT:
            raise AgentError(f"{path}: card format {card['format']}, this version reads {FORMAT}")
        policy = card["policy"] | {"hidden": tuple(card["policy"]["hidden"])}
        reward = card["reward"] | {"views": tuple(card["reward"]["views"])}
        card["task"] = TaskSettings(**card["task"])
        card["policy"], card["reward"] = PolicySettings(**policy), RewardSettings(**reward)
        return AgentCard(**card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{path}: no readable agent card: {error}") from error
