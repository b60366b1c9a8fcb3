"""Tiny policies and scenes for the tests of this folder."""

import numpy as np
import torch
from torch import nn

from agents.policies import (
    Agent,
    AgentCard,
    Algorithm,
    PhotoPolicy,
    PolicySettings,
    build_policy,
    knobs,
)
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.random_shots import Shots
from isp_env.task.environment import TaskSettings
from isp_env.task.observations import observation_space
from isp_env.task.reward import RewardSettings

NETWORK = PolicySettings("test_efficientnet", side=32, hidden=16, critic=(8,), log_std=-1.0)
PIPELINE = DEFAULT_PIPELINE.only(["exposure", "temperature", "saturation"])


def opinionated(
    pipeline: IspPipeline = PIPELINE, seed: int = 0, attributes: int = 0
) -> PhotoPolicy:
    """A supervised policy that knows nothing and answers far from neutral."""
    torch.manual_seed(seed)
    count = len(pipeline.parameters)
    space = observation_space(count, attributes)
    policy = build_policy("supervised", NETWORK, space, count, count)
    assert isinstance(policy, PhotoPolicy)
    assert isinstance(policy.action_net, nn.Linear)
    nn.init.normal_(policy.action_net.weight, std=0.15)
    policy.set_training_mode(False)
    return policy


def agent_of(
    policy: PhotoPolicy,
    pipeline: IspPipeline = PIPELINE,
    looks: int = 1,
    algorithm: Algorithm = "supervised",
    attributes: int = 0,
) -> Agent:
    card = AgentCard(
        algorithm=algorithm,
        parameters=knobs(pipeline),
        attributes=attributes,
        features=0,
        task=TaskSettings(looks, absolute=True),
        policy=NETWORK,
        preview_side=32,
        reward=RewardSettings(),
    )
    return Agent(policy, card)


def dark_shots(count: int, seed: int, stops: tuple[float, float] = (0.5, 1.5)) -> Shots:
    """Patches of colour with too little light, and their truths: what neutral makes of enough."""
    random = torch.Generator().manual_seed(seed)
    colors = 0.05 + 0.4 * torch.rand(count, 3, 4, 4, generator=random)
    light = colors.repeat_interleave(8, 2).repeat_interleave(8, 3)
    low, high = stops
    missing = low + (high - low) * torch.rand(count, 1, 1, 1, generator=random)
    noise = torch.zeros(count, 3, 2)
    with torch.no_grad():
        truth = PIPELINE(light, PIPELINE.neutral(count), noise)
    return Shots(
        linear=light * 2**-missing,
        noise=noise,
        as_shot_neutral=torch.tensor([0.5, 1.0, 0.7]).repeat(count, 1),
        iso=torch.full((count,), 200.0),
        truth=truth,
    )


def scenes_of(shots: Shots, truth: bool = True) -> PreviewSet:
    return PreviewSet(
        linear=shots.linear.numpy().astype(np.float16),
        noise=shots.noise.numpy(),
        as_shot_neutral=shots.as_shot_neutral.numpy(),
        iso=shots.iso.numpy(),
        truth=shots.truth.numpy().astype(np.float16) if truth else None,
    )
