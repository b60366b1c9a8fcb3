"""How long cells take, from rates that are measured on the machine at hand."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from attiqa.model.networks import QualityNet
from attiqa.reproduction.cells import new_network
from attiqa.reproduction.items import Cell, cross_sets
from attiqa.reproduction.laboratory import Laboratory


@dataclass(frozen=True)
class Rates:
    """Seconds of the network of a plan on one device.

    Attributes:
        learn: Per crop of fine-tuning: forward, backward, step.
        pretrain: Per crop of pretraining.
        test: Per tested crop.
    """

    learn: float
    pretrain: float
    test: float

    def describe(self) -> str:
        """Say the rates in words."""
        return (
            f"{1 / self.learn:.3g} crops a second fine-tuned, {1 / self.pretrain:.3g} pretrained, "
            f"{1 / self.test:.3g} tested"
        )


def measure_rates(laboratory: Laboratory) -> Rates:
    """Time steps of training and test on random pixels, with a random network."""
    plan, fabric = laboratory.plan, laboratory.fabric
    net = QualityNet(new_network(plan, plan.network)).to(fabric.device)
    crops = plan.finetuning.schedule.crops.size, plan.pretraining.schedule.crops.size
    batches = plan.finetuning.schedule.batch_size, plan.pretraining.schedule.batch_size

    def step(size: int, batch: int) -> float:
        images = torch.rand(min(batch, 32), 3, size, size, device=fabric.device)

        def learn() -> None:
            with fabric.autocast():
                loss = net(images).score.square().mean()
            loss.backward()
            net.zero_grad()

        return _seconds(learn, fabric.device) / len(images)

    @torch.no_grad()
    def test() -> None:
        net(images)

    learn, pretrain = (step(size, batch) for size, batch in zip(crops, batches, strict=True))
    net.eval()
    images = torch.rand(32, 3, plan.protocol.crop, plan.protocol.crop, device=fabric.device)
    return Rates(learn, pretrain, _seconds(test, fabric.device) / 32)


def estimate(laboratory: Laboratory, cell: Cell, rates: Rates) -> float:
    """Estimate the seconds of a cell whose data are there; decoding, done once, is left out."""
    plan = laboratory.plan
    tested = 5 * len(plan.protocol.short_sides) * rates.test

    def photographs(name: str) -> int:
        return len(laboratory.photos(name).paths)

    if cell.kind in ("labels", "pretrain"):
        count = laboratory.unlabelled_count()
        epochs = plan.pretraining.schedule.epochs if cell.kind == "pretrain" else 1
        # a ViT-B/16 at 224 pixels takes 1.5 times as long as a ResNet-50 at 320
        return count * (epochs * rates.pretrain if cell.kind == "pretrain" else 1.5 * rates.test)
    if cell.kind == "probe":
        return photographs(cell.data) * 2 * tested
    if cell.kind == "fine-tune":
        split = laboratory.split(cell.data, cell.split)
        share = cell.share / 100
        trained = len(split.train) if share == 1 else share * photographs(cell.data)
        few = share < 1 and plan.few_epochs
        seconds = trained * rates.learn * (few or plan.finetuning.schedule.epochs)
        more = sum(map(photographs, cross_sets(plan, cell)))
        return seconds + (3 * len(split.test) + more) * tested
    if cell.kind == "apply":
        return (400 if cell.target == "pairs" else photographs(cell.target)) * tested
    return 300 * 36 * rates.test  # prompts: ladders of some hundred photographs, and SPAQ


def in_words(seconds: float) -> str:
    """Say a duration: "12 min", "3.4 h", "5.1 days"."""
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def _seconds(action: Callable[[], None], device: torch.device, rounds: int = 3) -> float:
    """Return the median time of an action after a first one."""
    action()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - began)
    return float(np.median(found))
