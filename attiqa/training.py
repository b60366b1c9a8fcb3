"""The training loop that pretraining and fine-tuning share: plain, seeded, resumable."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from rich.progress import track
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from attiqa.datasets.crops import CropSettings, RandomCrops
from attiqa.errors import CheckpointError

logger = logging.getLogger(__name__)

Batch = tuple[Int[Tensor, " b"], Float[Tensor, "b 3 s s"]]
Objective = Callable[[Batch, torch.Generator], dict[str, Tensor]]
"""(indices and crops, random numbers of the step) -> weighted terms whose sum is the loss."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train: AdamW, 5 % warm-up, cosine decay to zero."""

    epochs: int = 10
    """Passes over the photographs."""
    batch_size: int = 32
    """Photographs per step and process."""
    backbone_lr: float = 1e-4
    """Peak learning rate of the backbone."""
    head_lr: float = 1e-3
    """Peak learning rate of all other layers."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    crops: CropSettings = field(default_factory=CropSettings)
    """The crops that are trained on."""
    workers: int = 2
    """Processes that decode and crop."""
    seed: int = 0
    """Fixes the initial weights, the order, the crops and the distortions."""


def train(
    fabric: Fabric,
    net: nn.Module,
    crops: RandomCrops,
    objective: Objective,
    schedule: Schedule,
    state: Path,
) -> list[dict[str, float]]:
    """Minimise an objective over random crops; continue from `state` where it exists.

    Args:
        fabric: Launched; decides devices, precision and loggers.
        net: Set up by Fabric; its parameters are changed in place.
        crops: What is trained on.
        objective: Must call `net` itself.
        schedule: Length and speed.
        state: Written after each epoch: weights, optimiser and epoch, to resume from.

    Returns:
        The mean of each term in each epoch.

    Raises:
        CheckpointError: `state` was written under another schedule.
    """
    loader = fabric.setup_dataloaders(
        DataLoader(
            crops,
            schedule.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=schedule.workers,
            generator=(order := torch.Generator()),
        )
    )
    optimizer = cast(Optimizer, fabric.setup_optimizers(_optimizer(net, schedule)))
    warming = OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=schedule.epochs * len(loader),
        pct_start=0.05,
        cycle_momentum=False,
    )
    history = _resume(fabric, state, net, optimizer, warming, schedule)
    net.train()
    for epoch in range(len(history), schedule.epochs):
        crops.epoch = epoch
        order.manual_seed(_seed(schedule, epoch))
        random = torch.Generator().manual_seed(_seed(schedule, epoch, fabric.global_rank + 1))
        means: dict[str, float] = {}
        for indices, pixels in track(loader, f"epoch {epoch + 1}/{schedule.epochs}"):
            terms = objective((indices, pixels.float() / 255), random)
            optimizer.zero_grad()
            fabric.backward(torch.stack(list(terms.values())).sum())
            optimizer.step()
            warming.step()
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + term.item() / len(loader)
        history.append(means)
        fabric.log_dict(means, epoch)
        logger.info("epoch %d: %s", epoch + 1, means)
        progress = {"history": history, "schedule": asdict(schedule)}
        parts = {"net": net, "optimizer": optimizer, "rate": warming}
        fabric.save(state.with_suffix(".part"), parts | progress)
        if fabric.is_global_zero:
            state.with_suffix(".part").replace(state)
        fabric.barrier()
    return history


def _optimizer(net: nn.Module, schedule: Schedule) -> AdamW:
    backbone, rest = [], []
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            (backbone if "backbone." in name else rest).append(parameter)
    groups = [
        {"params": backbone, "lr": schedule.backbone_lr},
        {"params": rest, "lr": schedule.head_lr},
    ]
    return AdamW(groups, weight_decay=schedule.weight_decay)


def _resume(fabric, state, net, optimizer, rate, schedule) -> list[dict[str, float]]:
    if not state.exists():
        return []
    rest = fabric.load(state, {"net": net, "optimizer": optimizer, "rate": rate})
    if rest["schedule"] != asdict(schedule):
        raise CheckpointError(
            f"{state}: written under {rest['schedule']}, not {asdict(schedule)}; "
            "use another folder, or delete the file to start anew"
        )
    logger.info("resuming from %s after epoch %d", state, len(rest["history"]))
    return rest["history"]


def _seed(schedule: Schedule, *place: int) -> int:
    """A different stream of random numbers for each place of a run."""
    return int(np.random.SeedSequence([schedule.seed, *place]).generate_state(1)[0])
