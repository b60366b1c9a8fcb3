"""A small network on frozen features: the linear probe of ATTIQA (section 4.5).

The paper trains "only a single regression MLPs on the target dataset with a frozen backbone" and
states no more: one hidden layer as wide as the regressor's of a whole network, AdamW, and one cycle
are ours. Every crop of a training photograph is one example; a photograph's score is the mean over
its crops, as in the test of whole networks.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR


@dataclass(frozen=True)
class MlpProbe:
    """Settings of an MLP probe."""

    hidden: int = 512
    """Width of the hidden layer."""
    epochs: int = 50
    """Passes over the crops."""
    batch_size: int = 256
    """Crops per step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    seed: int = 0
    """Fixes the first weights and the order of the crops."""


@dataclass(frozen=True)
class FittedProbe:
    """A trained probe.

    Attributes:
        net: From standardised features to standardised opinion.
        mean: Of the training features.
        scale: One over their deviation; 0 where that is 0.
        opinion: Mean and deviation of the training scores.
        error: Mean squared error of the last epoch, in variances of the training scores.
    """

    net: nn.Module
    mean: Float[Tensor, " f"]
    scale: Float[Tensor, " f"]
    opinion: tuple[float, float]
    error: float

    @torch.no_grad()
    def __call__(self, features: Float[np.ndarray, "n k f"]) -> Float[np.ndarray, " n"]:
        """Predict opinion scores from the features of k crops of each photograph."""
        seen = (torch.from_numpy(features).float() - self.mean) * self.scale
        mean, std = self.opinion
        return self.net(seen).squeeze(-1).mean(1).double().numpy() * std + mean


def fit_mlp_probe(
    features: Float[np.ndarray, "n k f"],
    mos: Float[np.ndarray, " n"],
    settings: MlpProbe | None = None,
) -> FittedProbe:
    """Fit an MLP with one hidden layer to opinion scores, on a CPU.

    Args:
        features: Of k crops of each training photograph; constant ones are ignored.
        mos: Their opinion scores.
        settings: Of the training.

    Raises:
        ValueError: All scores are the same.
    """
    settings = settings or MlpProbe()
    if np.ptp(mos) == 0:
        raise ValueError("a probe needs different opinion scores; all are the same")
    inputs = torch.from_numpy(features).float().flatten(0, 1)
    std, mean = torch.std_mean(inputs, dim=0, correction=0)
    scale = torch.where(std > 1e-6, 1 / std.clamp(min=1e-6), 0.0)
    inputs = (inputs - mean) * scale
    opinion = float(mos.mean()), float(mos.std())
    targets = torch.from_numpy((mos - opinion[0]) / opinion[1]).float()
    targets = targets.repeat_interleave(features.shape[1])
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        net = nn.Sequential(
            nn.Linear(inputs.shape[1], settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, 1)
        )
        error = _train(net, inputs, targets, settings)
    return FittedProbe(net.eval(), mean, scale, opinion, error)


def _train(
    net: nn.Module, inputs: Float[Tensor, "m f"], targets: Float[Tensor, " m"], settings: MlpProbe
) -> float:
    """Minimise the squared error; return its mean over the last epoch."""
    steps = -(-len(inputs) // settings.batch_size)
    optimizer = AdamW(net.parameters(), settings.lr, weight_decay=settings.weight_decay)
    rate = OneCycleLR(optimizer, settings.lr, total_steps=steps * settings.epochs, pct_start=0.05)
    errors = torch.zeros(steps)
    for _ in range(settings.epochs):
        order = torch.randperm(len(inputs))
        for step, rows in enumerate(order.split(settings.batch_size)):
            error = mse_loss(net(inputs[rows]).squeeze(1), targets[rows])
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            rate.step()
            errors[step] = error.detach()
    return float(errors.mean())
