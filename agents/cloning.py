"""Learning from known truths: the theta that comes nearest to each, and a policy that imitates it.

The nearest theta is the ceiling of the ISP: no controller renders better by that measure. Behaviour
cloning regresses it from what an agent sees of the neutral rendering: the control that says what
supervised learning gets from the same network, without any reward.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_

from agents.controls import Controller, Found, chosen
from agents.search import climb
from isp_env.judged import JudgedScenes

# Of two settings that render alike, the one nearer to neutral: a regression cannot learn a choice
# that the picture does not decide. Against the squared error of encoded samples it is negligible.
THETA_WEIGHT = 1e-5


def fit_truth(steps: int) -> Controller:
    """The theta whose rendering is nearest to the known truth: the ceiling of the ISP.

    Least mean squared error of encoded sRGB, by Adam through the ISP from theta = 0; the best
    iterate counts. Each iterate is a render.

    Args:
        steps: Iterates.
    """

    def fit(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        truth = judged.scenes.truths(rows, judged.device)
        best = torch.zeros(len(rows), judged.knobs, device=judged.device)
        highest = best.new_full((len(rows),), -torch.inf)
        path = climb(lambda theta: _likeness(judged, rows, theta, truth), best, steps)
        for theta, likeness in path:
            better = likeness > highest
            best = torch.where(better[:, None], theta, best)
            highest = torch.where(better, likeness, highest)
        return chosen(judged, rows, best.cpu().numpy(), renders=steps)

    return fit


@dataclass(frozen=True)
class CloningSettings:
    """Regression of theta.

    Attributes:
        steps: Gradient steps.
        batch_size: Scenes of a step.
        learning_rate: Adam's, falling to zero along a cosine.
    """

    steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 1e-3


def clone(
    policy: ActorCriticPolicy,
    observations: dict[str, np.ndarray],
    theta: Float[np.ndarray, "n d"],
    settings: CloningSettings,
    seed: int,
) -> list[float]:
    """Teach a policy to answer neutral observations with the given theta.

    Args:
        policy: Changed in place; its actions are theta itself (a task of horizon 1, absolute).
        observations: Of the neutral rendering of n scenes, batched.
        theta: What to answer (`fit_truth`).
        settings: Length and speed.
        seed: Of the draw of scenes.

    Returns:
        The mean squared error in theta of each step's batch.
    """
    rng = np.random.default_rng(seed)
    seen = cast(dict[str, Tensor], policy.obs_to_tensor(observations)[0])
    answers = torch.as_tensor(theta, dtype=torch.float32, device=policy.device)
    optimizer = torch.optim.Adam(policy.parameters(), settings.learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    history = []
    policy.set_training_mode(True)
    for _ in range(settings.steps):
        rows = torch.from_numpy(rng.choice(len(answers), settings.batch_size)).to(policy.device)
        batch = cast(Tensor, {name: x[rows] for name, x in seen.items()})  # SB3 types no dicts
        mean = cast(Normal, policy.get_distribution(batch).distribution).mean
        loss = mse_loss(mean, answers[rows])
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        rate.step()
        history.append(loss.item())
    policy.set_training_mode(False)
    return history


def _likeness(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    theta: Float[Tensor, "n d"],
    truth: Float[Tensor, "n 3 h w"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
    """Negative squared error of each rendering, and its gradient by theta."""
    values, slopes = [], []
    for part in judged.parts(len(rows)):
        knobs = theta[part].detach().requires_grad_()
        error = (judged.render(rows[part], knobs) - truth[part]).square().mean((1, 2, 3))
        value = -error - THETA_WEIGHT * knobs.square().mean(1)
        slopes.append(torch.autograd.grad(value.sum(), knobs)[0])
        values.append(value.detach())
    return torch.cat(values), torch.cat(slopes)
