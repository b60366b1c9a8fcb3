"""Agents as data: the weights of an actor in safetensors and a card from which it is built anew.

A Stable-Baselines3 archive is a pickle, and unpickling a stranger's file runs a stranger's code.
The card says how to build the network; the weights are plain tensors.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from agents.policies.networks import POLICIES, Algorithm, PolicySettings, actor, build_policy
from isp_env.errors import IspEnvError
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.pipeline import IspPipeline
from isp_env.task.environment import TaskSettings
from isp_env.task.observations import observation_space
from isp_env.task.reward import RewardSettings

log = logging.getLogger(__name__)

FORMAT = 3
EMBEDDED = "prior"  # the agent that ships
PRIOR = "prior"  # the supervised policy that ships


class AgentError(IspEnvError):
    """An agent's files are missing, damaged or made for another pipeline."""


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
        prior: The policy that it began with and that anchors its reward, with the beginning of its
            weights' hash; empty where there is none.
        doubt: Colour difference (CIE94) of the changes of a supervised policy that are shrunk by
            half (`looks.shrunk`).
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
    prior: str = ""
    doubt: float = 0.0
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
        """Return deterministic actions (n, k) in [-1, 1] for batched observations."""
        actions, _ = self.policy.predict(observation, deterministic=True)
        return actions


def warn_of_another_judge(card: AgentCard, sha256: str | None) -> None:
    """Log a warning if the quality model of this hash is not the one that paid the agent."""
    paid_by = card.judge.split(" ")[-1]
    if paid_by and not str(sha256).startswith(paid_by):
        log.warning("the agent was trained by %s; the judge now is %.16s", card.judge, sha256)


def knobs(pipeline: IspPipeline) -> list[list[Any]]:
    """List the parameters of a pipeline and their ranges, as an agent's card states them."""
    return [[p.name, p.low, p.neutral, p.high] for p in pipeline.parameters]


def save_agent(agent: Agent, stem: Path | str) -> None:
    """Write `stem`.safetensors (16 bits) and `stem`.json, each whole or not at all."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    card, weights = agent_files(stem)
    halves = {name: x.detach().half().contiguous() for name, x in _weights(agent.policy).items()}
    with atomic_path(weights) as temporary:
        save_file(halves, str(temporary))
    with atomic_path(card) as temporary:
        temporary.write_text(json.dumps(asdict(agent.card), indent=2) + "\n")


def agent_files(source: str | Path) -> tuple[Path, Path]:
    """Card and weights of an agent: "embedded", "prior", either of the two files, or their stem."""
    if source in ("embedded", PRIOR):
        name = EMBEDDED if source == "embedded" else PRIOR
        source = Path(str(files("agents") / "weights" / name))
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
    space = observation_space(len(card.parameters), card.attributes, card.features)
    policy = build_policy(card.algorithm, card.policy, space, len(card.parameters), length)
    try:
        _load(policy, load_file(weights))
    except (OSError, SafetensorError, ValueError) as error:
        raise AgentError(f"{weights}: not the weights its card describes: {error}") from error
    policy.to(device).set_training_mode(False)
    return Agent(policy, card)


def _weights(policy: BasePolicy) -> dict[str, Tensor]:
    """Return weights of what chooses, each once: actor and critic share what they see by."""
    chooses = actor(policy)
    named = {**dict(chooses.named_parameters()), **dict(chooses.named_buffers())}
    return {name: value for name, value in named.items() if value.is_floating_point()}


@torch.no_grad()
def _load(policy: BasePolicy, found: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(value.shape) for name, value in _weights(policy).items()}
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            raise ValueError(
                f"{name}: the network has {expected.get(name)}, the file {shapes.get(name)}"
            )
    for name, value in _weights(policy).items():
        value.copy_(found[name])


def load_prior(source: str, device: str | torch.device = "cpu") -> Agent | None:
    """Load a supervised policy for the knobs of the default pipeline; None for "none"."""
    return None if source == "none" else load_agent(source, DEFAULT_PIPELINE, device)


def prior_identity(source: str) -> str:
    """Return the SHA-256 of a prior's weights."""
    return hashlib.sha256(agent_files(source)[1].read_bytes()).hexdigest()


def _read_card(path: Path) -> AgentCard:
    try:
        card = json.loads(path.read_text())
        if card["format"] != FORMAT:
            raise AgentError(f"{path}: card format {card['format']}, this version reads {FORMAT}")
        if card["algorithm"] not in POLICIES:
            raise AgentError(f"{path}: algorithm {card['algorithm']}, expected {list(POLICIES)}")
        policy = card["policy"] | {"critic": tuple(card["policy"]["critic"])}
        reward = card["reward"] | {"views": tuple(card["reward"]["views"])}
        card["task"] = TaskSettings(**card["task"])
        card["policy"], card["reward"] = PolicySettings(**policy), RewardSettings(**reward)
        return AgentCard(**card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{path}: no readable agent card: {error}") from error
