"""Looks of a policy at a shot, without an environment and without any reward."""

import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from agents.policies.cards import Agent
from agents.policies.networks import mean_action
from isp_env.color.difference import cie94
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.random_shots import Shots
from isp_env.task.observations import IMAGE_SIDE, capture_vector, see_linear, squeezed


@torch.no_grad()
def look(
    shots: Shots,
    now: Float[Tensor, "b 3 h w"],
    neutral: Float[Tensor, "b 3 h w"],
    theta: Float[Tensor, "b d"],
) -> dict[str, Tensor]:
    """Observe renderings of shots as the environment does, in tensors that a policy takes.

    Of `vector` only theta and the capture data are filled in; pictures are in [0, 255], as the
    environment's, but keep the fractions that its 8 bits lose.
    """
    iso, white = (x.cpu().numpy() for x in (shots.iso, shots.as_shot_neutral))
    capture = capture_vector(np.asarray(iso), np.asarray(white)).to(theta)
    return {
        "image": 255 * torch.cat([squeezed(x, IMAGE_SIDE) for x in (now, neutral)], dim=1),
        "linear": see_linear(shots.linear),
        "vector": torch.cat([theta, theta.new_zeros(len(theta), 1), capture], dim=1),
    }


@torch.no_grad()
def answers(
    policy: BasePolicy, pipeline: IspPipeline, shots: Shots, looks: int
) -> list[Float[Tensor, "b d"]]:
    """Return the theta of each look: first at the neutral rendering, then at the policy's own."""
    theta = pipeline.neutral(len(shots.linear)).to(shots.linear.device)
    neutral = now = pipeline(shots.linear, theta, shots.noise)
    found = []
    for turn in range(looks):
        theta = mean_action(policy, look(shots, now, neutral, theta)).clamp(-1, 1)
        found.append(theta)
        if turn + 1 < looks:
            now = pipeline(shots.linear, theta, shots.noise)
    return found


@torch.no_grad()
def choices(agent: Agent, pipeline: IspPipeline, shots: Shots) -> Float[Tensor, "b d"]:
    """Return the theta of a supervised agent: its last look's, shrunk by its card's `doubt`."""
    theta = answers(agent.policy, pipeline, shots, agent.card.task.horizon)[-1]
    return shrunk(pipeline, shots, theta, agent.card.doubt)


@torch.no_grad()
def shrunk(
    pipeline: IspPipeline, shots: Shots, theta: Float[Tensor, "b d"], doubt: float
) -> Float[Tensor, "b d"]:
    """Shrink theta towards neutral where it changes little: small changes are mostly error.

    By d^2 / (d^2 + doubt^2), where d is the mean colour difference (CIE94) between the picture and
    neutral: Wiener's gain for a signal of size d with an error of size `doubt`.

    Args:
        pipeline: The ISP.
        shots: b shots.
        theta: Settings of the knobs, in [-1, 1]; 0 is neutral.
        doubt: The d of changes that are halved, CIE94; 0 shrinks nothing.
    """
    if not doubt:
        return theta
    neutral = pipeline(shots.linear, torch.zeros_like(theta), shots.noise)
    changed = cie94(pipeline(shots.linear, theta, shots.noise), neutral).mean((1, 2)).square()
    return theta * (changed / (changed + doubt**2))[:, None]
