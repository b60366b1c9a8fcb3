"""The theta whose rendering comes nearest to a known truth: the ceiling of the ISP."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.controllers.base import Controller, Found, chosen
from agents.controllers.search import climb
from isp_env.task.judged_scenes import JudgedScenes

# Of two settings that render alike, the one nearer to neutral. Against the squared error of encoded
# samples it is negligible.
THETA_WEIGHT = 1e-5


def fit_truth(steps: int) -> Controller:
    """Return the theta whose rendering is nearest to the known truth: the ceiling of the ISP.

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


def _likeness(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    theta: Float[Tensor, "n d"],
    truth: Float[Tensor, "n 3 h w"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
    """Return the negative squared error of each rendering, and its gradient by theta."""
    values, slopes = [], []
    for part in judged.parts(len(rows)):
        knobs = theta[part].detach().requires_grad_()
        error = (judged.render(rows[part], knobs) - truth[part]).square().mean((1, 2, 3))
        value = -error - THETA_WEIGHT * knobs.square().mean(1)
        slopes.append(torch.autograd.grad(value.sum(), knobs)[0])
        values.append(value.detach())
    return torch.cat(values), torch.cat(slopes)
