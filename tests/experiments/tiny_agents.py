"""Tiny policies, stores, and a tiny quality model that compares developments."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from agents.policies import (
    Agent,
    AgentCard,
    Algorithm,
    PhotoPolicy,
    PolicySettings,
    build_policy,
    knobs,
    save_agent,
)
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from attiqa.training.learn_developments import with_development_head
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_store import PreviewStore
from isp_env.scenes.random_shots import ShotSettings
from isp_env.scenes.simulated_store import write_simulated_store
from isp_env.task.environment import TaskSettings
from isp_env.task.observations import observation_space
from isp_env.task.reward import RewardSettings

NETWORK = PolicySettings(backbone="test_efficientnet", side=32, hidden=8, critic=(8,))
TINY = Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8)


def photographs(count: int, side: int = 72) -> dict[str, np.ndarray]:
    """Smooth colourful pictures, 8-bit sRGB."""
    rows, columns = np.mgrid[:side, :side] / 7
    pictures = {}
    for number in range(count):
        planes = [np.sin(rows + number), np.cos(columns), np.sin(rows + columns)]
        pixels = 0.5 + 0.3 * np.stack(planes, axis=-1)
        pictures[f"{number}.png"] = (255 * pixels).astype(np.uint8)
    return pictures


def folder_of_photographs(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in photographs(count).items():
        Image.fromarray(pixels).save(folder / name)
    return folder


def store_of(folder: Path, scenes: int, photos: int = 4) -> PreviewStore:
    return write_simulated_store(folder, photographs(photos), scenes, (48, 64), ShotSettings(), 0)


def tiny_agent(
    stem: Path,
    algorithm: Algorithm = "supervised",
    seed: int = 0,
    prior: str = "",
    answer: float = 0.0,
) -> Path:
    """Random weights; answers thetas near `answer`. Returns the card's path."""
    torch.manual_seed(seed)
    count = len(DEFAULT_PIPELINE.parameters)
    attributes = 0 if algorithm == "supervised" else 5
    policy = build_policy(algorithm, NETWORK, observation_space(count, attributes), count, count)
    if isinstance(policy, PhotoPolicy):
        torch.nn.init.constant_(policy.action_net.bias, answer)  # type: ignore[arg-type]
    card = AgentCard(
        algorithm,
        knobs(DEFAULT_PIPELINE),
        attributes,
        0,
        TaskSettings(horizon=2 if algorithm == "supervised" else 1, absolute=True),
        NETWORK,
        64,
        RewardSettings(),
        prior=prior,
    )
    save_agent(Agent(policy, card), stem)
    return stem.with_suffix(".json")


def tiny_judge(folder: Path) -> str:
    """A random quality model that compares developments; the embedded model's card."""
    torch.manual_seed(0)
    net = with_development_head(QualityNet(AttributeNet(TINY)), 8)
    card = replace(load_model().card, name="tiny", architecture=net.architecture)
    return str(save_checkpoint(folder, net, card))
