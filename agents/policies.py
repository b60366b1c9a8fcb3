"""Agents as data: the weights of an actor in safetensors and a card from which it is built anew.

A Stable-Baselines3 archive is a pickle, and unpickling a stranger's file runs a stranger's code.
The card says how to build the network; the weights are plain tensors.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from stable_baselines3.common.policies import (
    BasePolicy,
    ContinuousCritic,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.sac.policies import MultiInputPolicy as SACPolicy
from stable_baselines3.sac.policies import SACPolicy as SACNetworks
from stable_baselines3.td3.policies import MultiInputPolicy as TD3Policy
from stable_baselines3.td3.policies import TD3Policy as TD3Networks
from torch import Tensor, nn

from isp_env.environment import TaskSettings
from isp_env.errors import IspEnvError
from isp_env.files import atomic_path
from isp_env.observations import observation_space
from isp_env.pipeline import IspPipeline
from isp_env.rewards import RewardSettings

log = logging.getLogger(__name__)

FORMAT = 2
EMBEDDED = "ppo"  # the agent that ships

Algorithm = Literal["PPO", "SAC", "TD3"]
POLICIES: Mapping[Algorithm, type[BasePolicy]] = {
    "PPO": MultiInputActorCriticPolicy,
    "SAC": SACPolicy,
    "TD3": TD3Policy,
}


class AgentError(IspEnvError):
    """An agent's files are missing, damaged or made for another pipeline."""


@dataclass(frozen=True)
class PolicySettings:
    """The networks of an agent.

    Attributes:
        picture_features: Outputs of the convolutional network on the pictures.
        hidden: Widths of the layers of actor and of critic.
        log_std: Initial log standard deviation of PPO's and SAC's Gaussian actions.
    """

    picture_features: int = 64
    hidden: tuple[int, ...] = (128, 128)
    log_std: float = -2.5

    def arguments(self, algorithm: Algorithm) -> dict[str, Any]:
        """Keyword arguments of Stable-Baselines3's `MultiInputPolicy`."""
        shared = {
            "net_arch": list(self.hidden),
            "features_extractor_kwargs": {"cnn_output_dim": self.picture_features},
        }
        return shared | ({"log_std_init": self.log_std} if algorithm == "PPO" else {})


@dataclass(frozen=True)
class AgentCard:
    """What the weights are and where they come from.

    Attributes:
        algorithm: Algorithm that trained them.
        parameters: Knobs of the pipeline as [name, low, neutral, high], in the order of theta.
        attributes: Number of attribute scores in the observation.
        features: Number of the judge's features in the observation.
        task: Rules of the episodes.
        policy: The network.
        preview_side: Long side of the previews trained on, in pixels.
        reward: Weights of the potential.
        judge: The quality model of the reward.
        training: Data, steps, seed, versions.
        metrics: Measured results.
        format: Version of this card.
    """

    algorithm: Algorithm
    parameters: list[list[Any]]
    attributes: int
    features: int
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

    policy: BasePolicy
    card: AgentCard

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """Deterministic actions (n, k) in [-1, 1] for batched observations."""
        actions, _ = self.policy.predict(observation, deterministic=True)
        return actions


def warn_of_another_judge(card: AgentCard, sha256: str | None) -> None:
    """Log a warning if the quality model of this hash is not the one that paid the agent."""
    paid_by = card.judge.split(" ")[-1]
    if paid_by and not str(sha256).startswith(paid_by):
        log.warning("the agent was trained by %s; the judge now is %.16s", card.judge, sha256)


def knobs(pipeline: IspPipeline) -> list[list[Any]]:
    """What an agent must know of a pipeline: its parameters and their ranges."""
    return [[p.name, p.low, p.neutral, p.high] for p in pipeline.parameters]


def actor(policy: BasePolicy) -> nn.Module:
    """What chooses the actions: PPO's whole policy, the actors of SAC and TD3."""
    if isinstance(policy, SACNetworks | TD3Networks):
        return policy.actor
    return policy


def mean_action(policy: BasePolicy, observation: Any) -> Float[Tensor, "n k"]:
    """The deterministic action, not clipped, for an observation in tensors; differentiable.

    Raises:
        TypeError: Not a policy of PPO, SAC or TD3.
    """
    if isinstance(policy, MultiInputActorCriticPolicy):
        return cast(Tensor, policy.get_distribution(observation).distribution.mean)  # type: ignore[union-attr]
    if isinstance(policy, SACNetworks):
        return torch.tanh(policy.actor.get_action_dist_params(observation)[0])
    if isinstance(policy, TD3Networks):
        return policy.actor(observation)
    raise TypeError(f"a policy of PPO, SAC or TD3, got {type(policy).__name__}")


def action_values(policy: BasePolicy) -> ContinuousCritic | None:
    """The Q functions of SAC and TD3; None for PPO, whose critic knows no actions."""
    return policy.critic if isinstance(policy, SACNetworks | TD3Networks) else None


def sync_targets(policy: BasePolicy) -> None:
    """Let the moving averages of SAC's and TD3's networks start from the networks as they are."""
    if isinstance(policy, SACNetworks | TD3Networks):
        policy.critic_target.load_state_dict(policy.critic.state_dict())
    if isinstance(policy, TD3Networks):
        policy.actor_target.load_state_dict(policy.actor.state_dict())


def save_agent(agent: Agent, stem: Path) -> None:
    """Write `stem`.safetensors and `stem`.json, each whole or not at all."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    card, weights = agent_files(stem)
    with atomic_path(weights) as temporary:
        save_model(actor(agent.policy), str(temporary))  # actor and critic share their extractor
    with atomic_path(card) as temporary:
        temporary.write_text(json.dumps(asdict(agent.card), indent=2) + "\n")


def agent_files(source: str | Path) -> tuple[Path, Path]:
    """Card and weights of an agent: "embedded", either of the two files, or their common stem."""
    if source == "embedded":
        source = Path(str(files("agents") / "weights" / EMBEDDED))
    path = Path(source)
    stem = path.stem if path.suffix in (".json", ".safetensors") else path.name
    return path.with_name(f"{stem}.json"), path.with_name(f"{stem}.safetensors")


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
    card_path, weights = agent_files(source)
    card = _read_card(card_path)
    if other := [knob for knob in card.parameters if knob not in knobs(pipeline)]:
        raise AgentError(f"{card_path}: trained for other knobs than this pipeline's: {other}")
    length = len(card.parameters) + (0 if card.task.absolute else 1)
    policy = POLICIES[card.algorithm](
        observation_space(len(card.parameters), card.attributes, card.features),
        spaces.Box(-1.0, 1.0, (length,), np.float32),
        lr_schedule=lambda _: 0.0,
        **card.policy.arguments(card.algorithm),
    )
    try:
        load_model(actor(policy), weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise AgentError(f"{weights}: not the weights its card describes: {error}") from error
    policy.to(device).set_training_mode(False)
    return Agent(policy, card)


def _read_card(path: Path) -> AgentCard:
    try:
        card = json.loads(path.read_text())
        if card["format"] != FORMAT:
            raise AgentError(f"{path}: card format {card['format']}, this version reads {FORMAT}")
        if card["algorithm"] not in POLICIES:
            raise AgentError(f"{path}: algorithm {card['algorithm']}, expected {list(POLICIES)}")
        policy = card["policy"] | {"hidden": tuple(card["policy"]["hidden"])}
        reward = card["reward"] | {"views": tuple(card["reward"]["views"])}
        card["task"] = TaskSettings(**card["task"])
        card["policy"], card["reward"] = PolicySettings(**policy), RewardSettings(**reward)
        return AgentCard(**card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{path}: no readable agent card: {error}") from error
