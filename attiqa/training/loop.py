"""The training loop that pretraining and fine-tuning share: plain, seeded, resumable at any step.

Every random number comes from (seed, epoch, photograph) or (seed, epoch, step, process), never from
a stream that a crash could lose: a run that is killed and started again ends with the weights that
it would have had, bit by bit, on the same machine and libraries.
"""

import contextlib
import ctypes
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from attiqa.data.crops import RandomCrops
from attiqa.errors import CheckpointError, SettingsError
from attiqa.provenance.identity import differences, network_hash, photos_hash
from attiqa.teachers.teacher import AttributeTeacher
from attiqa.training.settings import Schedule
from attiqa.training.weight_average import WeightAverage

logger = logging.getLogger(__name__)

Batch = tuple[Int[Tensor, " b"], Float[Tensor, "b 3 s s"]]
Objective = Callable[[Batch, Sequence[torch.Generator]], dict[str, Tensor]]
"""(indices and crops, random numbers of each photograph) -> weighted terms that sum to the loss.

Under several processes the gradients are averaged over them.
"""
Evaluation = Callable[[nn.Module, int], Mapping[str, float]]
"""(network in evaluation mode, epochs done) -> named results for the history."""


def train(
    fabric: Fabric,
    net: nn.Module,
    crops: RandomCrops,
    objective: Objective,
    schedule: Schedule,
    state: Path,
    settings: Mapping[str, Any],
    evaluate: Evaluation | None = None,
    draws: Sequence[Sequence[int]] | None = None,
) -> list[dict[str, float]]:
    """Minimise an objective over random crops; continue from `state` where it exists.

    Args:
        fabric: Launched; decides devices, precision and loggers.
        net: Set up by Fabric; its parameters are changed in place.
        crops: What is trained on.
        objective: Must call `net` itself.
        schedule: Length and speed.
        state: Everything to resume from.
        settings: What else decides the result, ready for JSON; a state written under others is
            refused, and so is one of other photographs or initial weights.
        evaluate: Asked after each epoch, in the main process, about the network that training would
            return if it ended there.
        draws: Photographs that are drawn together, by their rows, such as the two of a pair: an
            epoch goes over all draws, and a batch is of so many of them. One at a time without.

    Returns:
        Of each epoch, the mean of each term and the results of `evaluate`.

    Raises:
        CheckpointError: `state` is broken, or another training's.
    """
    begun = {"photographs": photos_hash(crops.photos), "initial weights": network_hash(net)}
    record = dict(settings) | begun
    draws = draws or [(row,) for row in range(len(crops))]
    run = _Run(fabric, cast(_FabricModule, net), len(draws), schedule, state, record)
    run.resume()
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), _progress(fabric) as progress:
        bar = progress.add_task("", total=schedule.epochs * run.epoch_steps)
        while run.epoch < schedule.epochs:
            crops.epoch = run.epoch
            batches = [_rows(draws, batch) for batch in run.remaining_batches()]
            loader = _loader(fabric, crops, batches, schedule)
            done = run.epoch * run.epoch_steps + run.step
            progress.update(bar, description=f"epoch {run.epoch + 1}", completed=done)
            run.mode()
            for micro, (indices, pixels) in enumerate(loader):
                images = fabric.to_device(pixels).float() / 255
                last = (micro + 1) % schedule.accumulate == 0
                run.learn(objective, (indices, images), micro % schedule.accumulate, last)
                if last:
                    progress.advance(bar)
            progress.stop()  # an evaluation may show a progress of its own
            run.end_epoch(evaluate)
            progress.start()
    if run.average:
        net.load_state_dict(run.average.tensors)
    return run.history


class _Run:
    """Where a training is, and how it gets on."""

    def __init__(
        self,
        fabric: Fabric,
        net: _FabricModule,
        photos: int,
        schedule: Schedule,
        state: Path,
        settings: dict[str, Any],
    ) -> None:
        self.fabric, self.net, self.schedule, self.state = fabric, net, schedule, state
        self.photos = photos
        self.together = schedule.batch_size * fabric.world_size
        self.epoch_steps = schedule.epoch_steps(photos, fabric.world_size)
        self.optimizer = cast(Optimizer, fabric.setup_optimizers(_optimizer(net, schedule)))
        self.rate = OneCycleLR(
            self.optimizer,
            [group["lr"] for group in self.optimizer.param_groups],
            total_steps=schedule.epochs * self.epoch_steps,
            pct_start=0.05,
            cycle_momentum=False,
        )
        self.average = WeightAverage(net, schedule.ema_decay) if schedule.ema_decay else None
        same = {"photos": photos, "processes": fabric.world_size} | settings
        self.settings = json.dumps(_deciding(same), sort_keys=True, default=str)
        self.history: list[dict[str, float]] = []
        self.step = 0  # of the epoch
        self.sums: dict[str, Tensor] = {}  # of the terms in this epoch, over its steps

    @property
    def epoch(self) -> int:
        return len(self.history)

    def remaining_batches(self) -> list[list[int]]:
        """Get what this process still takes of the epoch's permutation.

        Global batches are consecutive parts of it, whatever the number of processes.
        """
        order = torch.Generator().manual_seed(_seed(self.schedule, self.epoch))
        indices = torch.randperm(self.photos, generator=order)
        count = self.epoch_steps * self.schedule.accumulate
        batches = indices[: count * self.together].view(count, self.together)
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        return batches[self.step * self.schedule.accumulate :, rank::processes].tolist()

    def mode(self) -> None:
        self.net.train()
        if self.schedule.freeze_batch_statistics:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def learn(self, objective: Objective, batch: Batch, micro: int, last: bool) -> None:
        """Add the gradients of a micro-batch; after the last one of a step, take the step."""
        schedule, epoch, rank = self.schedule, self.epoch, self.fabric.global_rank
        torch.manual_seed(_seed(schedule, epoch, self.step, micro, rank))  # dropout
        random = [
            torch.Generator().manual_seed(_seed(schedule, epoch, index))
            for index in batch[0].tolist()
        ]
        if micro == 0:
            self.optimizer.zero_grad()
        with self.fabric.no_backward_sync(self.net, enabled=not last):
            try:
                terms = objective(batch, random)
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise SettingsError(
                    f"batch_size: BatchNorm needs more than {len(batch[0])} photograph of this "
                    "size; expected 2 or more, larger crops, or freeze_batch_statistics"
                ) from error
            loss = torch.stack(list(terms.values())).sum()
            self.fabric.backward(loss / schedule.accumulate)
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + term.detach().double()
        if not last:
            return
        self.optimizer.step()
        self.rate.step()
        if self.average:
            self.average.update(self.net)
        self.step += 1
        every = schedule.checkpoint_steps
        if every and self.step % every == 0 and self.step < self.epoch_steps:
            self.save()

    def end_epoch(self, evaluate: Evaluation | None) -> None:
        self._share_sums()
        count = self.epoch_steps * self.schedule.accumulate
        means = {name: total.item() / count for name, total in self.sums.items()}
        self.fabric.log_dict(means | {"learning rate": self.rate.get_last_lr()[-1]}, self.epoch)
        results = self._evaluate(evaluate) if evaluate else {}
        if self.fabric.is_global_zero:
            logger.info(epoch_line(self.epoch + 1, self.schedule.epochs, means, results))
        self.history.append(means | results)
        self.step, self.sums = 0, {}
        self.save()

    def _evaluate(self, evaluate: Evaluation) -> dict[str, float]:
        results = {}
        if self.fabric.is_global_zero:
            self.net.eval()
            with self.average.applied(self.net) if self.average else contextlib.nullcontext():
                results = dict(evaluate(self.net.module, self.epoch + 1))
            self.fabric.log_dict(results, self.epoch)
        return self.fabric.broadcast(results)

    def _share_sums(self) -> None:
        """Replace each process's sums by their mean: what a checkpoint stores counts for all."""
        for name, total in self.sums.items():
            self.sums[name] = cast(Tensor, self.fabric.all_reduce(total, reduce_op="mean"))

    def _parts(self) -> dict[str, Any]:
        parts = {"net": self.net, "optimizer": self.optimizer, "rate": self.rate}
        return parts | ({"average": self.average} if self.average else {})

    def save(self) -> None:
        """Write the state, whole or not at all."""
        self._share_sums()
        rest = {"history": self.history, "step": self.step, "sums": self.sums}
        part = self.state.with_name(self.state.name + ".part")
        try:
            self.fabric.save(part, self._parts() | rest | {"settings": self.settings})
        except (OSError, RuntimeError) as error:  # a full disk is either
            raise CheckpointError(
                f"{part}: cannot be written: {str(error).splitlines()[0]}; an earlier state is "
                "kept: make room, and the same command continues from it"
            ) from error
        if self.fabric.is_global_zero:
            os.replace(part, self.state)
        self.fabric.barrier()

    def resume(self) -> None:
        if not self.state.exists():
            return
        try:
            found = self.fabric.load(self.state, weights_only=True)
        except Exception as error:
            raise CheckpointError(f"{self.state}: cannot be read: {error}") from error
        if found.get("settings") != self.settings:
            before, now = json.loads(found.get("settings", "{}")), json.loads(self.settings)
            raise CheckpointError(
                f"{self.state}: of another training: {'; '.join(differences(before, now))}. "
                "Use another folder, or delete the file to start anew"
            )
        for name, part in self._parts().items():
            part.load_state_dict(found[name])
        self.history, self.step = found["history"], found["step"]
        self.sums = {name: self.fabric.to_device(total) for name, total in found["sums"].items()}
        logger.info("resuming from %s after epoch %d, step %d", self.state, self.epoch, self.step)


def epoch_line(
    epoch: int, epochs: int, terms: Mapping[str, float], results: Mapping[str, float]
) -> str:
    """Write an epoch as one line of a log; the history has everything.

    >>> epoch_line(2, 10, {"mos": 0.0123456}, {"test/srocc": 0.8, "test/plcc": 0.7, "test/rmse": 1})
    'epoch 2/10: mos 0.01235; test SROCC 0.800 PLCC 0.700'

    Args:
        epoch: Counted from 1.
        epochs: Of the training.
        terms: Means of the terms of the loss.
        results: PART/METRIC to value; shown are SROCC and PLCC, and what has no part.
    """
    shown = [" ".join(f"{name} {value:.4g}" for name, value in terms.items())]
    parts: dict[str, list[str]] = {}
    for name, value in results.items():
        part, _, metric = name.rpartition("/")
        if metric in ("srocc", "plcc"):
            parts.setdefault(part, [part]).append(f"{metric.upper()} {value:.3f}")
        elif not part:
            parts[name] = [f"{name} {value:.4g}"]
    shown += [" ".join(words) for words in parts.values()]
    return f"epoch {epoch}/{epochs}: {'; '.join(shown)}"


def labels_of(
    teacher: AttributeTeacher, images: Float[Tensor, "b 3 h w"], attributes: Sequence[str]
) -> Float[Tensor, "b a"]:
    """Ask a teacher about the attributes of a network.

    Raises:
        ValueError: It labels another number of attributes.
    """
    labels = teacher(images)
    if labels.shape[1] != len(attributes):
        raise ValueError(
            f"teacher {teacher.name} labels {labels.shape[1]} attributes; the network has "
            f"{len(attributes)}: {', '.join(attributes)}"
        )
    return labels


def gather(fabric: Fabric, rows: Float[Tensor, "b ..."]) -> Float[Tensor, "n ..."]:
    """Concatenate the rows of all processes; those of this one carry its gradient.

    That gradient is multiplied by the number of processes: averaged over them, the gradients of the
    parameters are those of one process with all the rows. Processes may have different numbers of
    them.
    """
    if fabric.world_size == 1:
        return rows
    counts = cast(Tensor, fabric.all_gather(torch.tensor(len(rows), device=rows.device))).tolist()
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    gathered = cast(Tensor, fabric.all_gather(padded))
    parts = [part[:count] for part, count in zip(gathered, counts, strict=True)]
    parts[fabric.global_rank] = rows + (fabric.world_size - 1) * (rows - rows.detach())
    return torch.cat(parts)


def _rows(draws: Sequence[Sequence[int]], batch: Sequence[int]) -> list[int]:
    """List the photographs of some draws, each once."""
    return list(dict.fromkeys(row for draw in batch for row in draws[draw]))


def _loader(
    fabric: Fabric, crops: RandomCrops, batches: list[list[int]], schedule: Schedule
) -> DataLoader:
    if schedule.workers and sys.platform == "linux":
        # what the allocator keeps for later would be copied page by page into every forked worker
        with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
            ctypes.CDLL(None).malloc_trim(0)
    return DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=schedule.workers,
        pin_memory=fabric.device.type == "cuda",
    )


def _progress(fabric: Fabric) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), disable=not fabric.is_global_zero)


def _optimizer(net: _FabricModule, schedule: Schedule) -> AdamW:
    """Make one group for all that is not the backbone, and one for each learning rate in it."""
    groups: dict[float, list[nn.Parameter]] = {}
    depths = {}
    for path, module in net.module.named_modules():
        if path.split(".")[-1] == "backbone":
            matcher = cast(Any, module).group_matcher(coarse=False)
            names = group_with_matcher(module.named_parameters(), matcher, reverse=True)
            depths |= {f"{path}.{name}": depth for name, depth in names.items()}
    deepest = max(depths.values(), default=0)
    for name, parameter in net.module.named_parameters():
        if parameter.requires_grad:
            lr = schedule.head_lr
            if name in depths:
                lr = schedule.backbone_lr * schedule.layer_decay ** (deepest - depths[name])
            groups.setdefault(lr, []).append(parameter)
    parts = [{"params": parameters, "lr": lr} for lr, parameters in groups.items()]
    return AdamW(parts, weight_decay=schedule.weight_decay)


def _deciding(settings: Any) -> Any:
    """Leave out what may differ between a run and its continuation."""
    if not isinstance(settings, Mapping):
        return settings
    free = ("workers", "checkpoint_steps")
    return {name: _deciding(value) for name, value in settings.items() if name not in free}


def _seed(schedule: Schedule, *place: int) -> int:
    """Return a different stream of random numbers for each place of a run."""
    return int(np.random.SeedSequence([schedule.seed, *place]).generate_state(1)[0])
