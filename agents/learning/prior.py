"""Supervised learning of theta through the differentiable ISP, from shots whose truth is known.

A policy looks at a neutral rendering and answers theta; the picture that it gets is compared with
the truth, and the slope goes back through the ISP. Or it looks at its own picture and corrects it:
the same policy chooses in one look and in several. Simulated shots come without end; FiveK's
experts and other stores are learned from by the same code.

An answer that leads away from the truth costs more than one that leads as far towards it: where
nothing tells what was wrong, the best answer is then neutral. And an answer that is duller than the
truth costs (`isp_env.color.difference.dullness`).
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from rich.progress import track
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from agents.policies.looks import look
from agents.policies.networks import PhotoPolicy, features_of, mean_action
from isp_env.color.difference import cie94, dullness
from isp_env.files import atomic_path
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.preview_set import PreviewSet, shots_of
from isp_env.scenes.random_shots import Shots, ShotSettings, random_shots
from isp_env.scenes.truths import random_crops, random_size

log = logging.getLogger(__name__)

ShotSource = Callable[[int], Shots]
"""Number of a batch -> shots of one shape; it depends on the number alone."""

Watch = Callable[[PhotoPolicy], dict[str, float]]

CHECKPOINT_EVERY = 100
LOG_EVERY = 20


@dataclass(frozen=True)
class LessonSettings:
    """Length and speed of the lesson.

    Attributes:
        light_batches: Batches that the layers on light and colour learn from before the backbone
            takes part; cheap, and most of exposure and white balance is learned there.
        batches: Batches of shots for the whole network.
        looks: At a shot: at neutral, then at the policy's own pictures. A batch teaches one of
            them, the next batch the next.
        warmup: Batches over which the rates rise.
        learning_rate: AdamW's of the backbone, falling to zero along a cosine.
        head_rate: Of the other layers.
        weight_decay: Decoupled.
        dropout: Share of features that are dropped between layers: photographs come back, and
            are not to be known again.
        averaging: Decay of the moving average of the weights, which is what is kept.
        regret: Weight of the colour difference by which an answer is worse than neutral, where
            neutral is `near` away from the truth; up to twice where nearer, less where farther. It
            grows from zero over the lesson: regret from the beginning keeps a policy from moving.
        near: See there, CIE94.
        dullness: Weight of the differences from the truth in mean chroma and in contrast.
        theta_weight: Weight of the mean square of theta: decides what the picture does not.
        coarse: Factor by which a batch is reduced for the loss; every `fine_every`-th is not.
        fine_every: See there.
        seed: Of the weights of new layers.
    """

    light_batches: int = 2500
    batches: int = 2200
    looks: int = 1
    warmup: int = 50
    learning_rate: float = 3e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.3
    averaging: float = 0.995
    regret: float = 1.5
    near: float = 8.0
    dullness: float = 0.3
    theta_weight: float = 0.1
    coarse: int = 2
    fine_every: int = 7
    seed: int = 0


def simulated_source(
    photos: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    settings: ShotSettings,
    long_side: int = 128,
    batch_size: int = 24,
    seed: int = 0,
    least_crop: float = 0.75,
) -> ShotSource:
    """Make fresh shots of random crops of photographs, of another aspect ratio in each batch.

    Args:
        photos: The truths.
        settings: Cameras and mishaps.
        long_side: Pixels of a shot.
        batch_size: Shots of a batch.
        seed: Of everything that is drawn.
        least_crop: Smallest crop, as a share of the largest that fits.
    """

    def source(number: int) -> Shots:
        random = np.random.default_rng((seed, number))
        rows = random.choice(len(photos), batch_size, replace=len(photos) < batch_size)
        size = random_size(random, long_side)
        truth = random_crops([photos[row] for row in rows], size, random, least_crop)
        numbers = torch.Generator().manual_seed(int(random.integers(2**62)))
        return random_shots(truth, numbers, settings)

    return source


def store_source(scenes: PreviewSet, batch_size: int = 24, seed: int = 0) -> ShotSource:
    """Draw batches of the scenes of a store that has truths, as FiveK's with an expert's."""

    def source(number: int) -> Shots:
        random = np.random.default_rng((seed, number))
        rows = np.sort(random.choice(len(scenes), min(batch_size, len(scenes)), replace=False))
        return shots_of(scenes, rows)

    return source


def learn_light(
    policy: PhotoPolicy,
    pipeline: IspPipeline,
    source: ShotSource,
    settings: LessonSettings,
    folder: Path,
) -> list[dict[str, float]]:
    """Teach the layers on light and colour alone; the backbone is left out, and small shots do.

    The arguments are those of `learn_prior`, which comes after.
    """
    features = features_of(policy)
    parts = [*features.light.parameters(), *policy.action_net.parameters()]
    optimizer = torch.optim.AdamW(parts, settings.head_rate, weight_decay=settings.weight_decay)
    features.blind = True
    try:
        run = _Run("light", folder, policy, optimizer, settings, settings.light_batches)
        return run.learn(pipeline, source, fine=False)
    finally:
        features.blind = False


def learn_prior(
    policy: PhotoPolicy,
    pipeline: IspPipeline,
    source: ShotSource,
    settings: LessonSettings,
    folder: Path,
    watch: Watch | None = None,
    watch_every: int = 400,
) -> list[dict[str, float]]:
    """Teach a policy theta; started again with the same folder, goes on from its checkpoint.

    Args:
        policy: Changed in place; ends with the averaged weights.
        pipeline: The ISP whose knobs are learned.
        source: Of shots with their truths.
        settings: Of the lesson.
        folder: For the checkpoint and `history.jsonl`.
        watch: Asked now and then about the averaged policy; what it says goes to the history.
        watch_every: Batches between.

    Returns:
        The history of this call: mean CIE94 of answers and of neutral, of each batch.

    Raises:
        ValueError: The checkpoint was written under other settings.
    """
    features = features_of(policy)
    features.fixed_statistics = False
    backbone = list(features.backbone.parameters())
    inner = {id(p) for p in backbone}
    others = [p for p in policy.parameters() if id(p) not in inner]
    optimizer = torch.optim.AdamW(
        [{"params": backbone, "lr": settings.learning_rate}, {"params": others}],
        settings.head_rate,
        weight_decay=settings.weight_decay,
    )
    try:
        run = _Run("prior", folder, policy, optimizer, settings, settings.batches)
        return run.learn(pipeline, source, fine=True, watch=watch, watch_every=watch_every)
    finally:
        features.fixed_statistics = True
        policy.set_training_mode(False)


class _Run:
    """A lesson with its checkpoint: cosine decay, and a moving average that is the result."""

    def __init__(
        self,
        name: str,
        folder: Path,
        policy: PhotoPolicy,
        optimizer: torch.optim.Optimizer,
        settings: LessonSettings,
        batches: int,
    ) -> None:
        self.name, self.policy, self.optimizer = name, policy, optimizer
        self.settings, self.batches, self.folder = settings, batches, folder
        warmup = min(settings.warmup, batches // 4)
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: _rate(done, warmup, batches)
        )
        self.average = AveragedModel(
            policy, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging), use_buffers=True
        )
        folder.mkdir(parents=True, exist_ok=True)

    def learn(
        self,
        pipeline: IspPipeline,
        source: ShotSource,
        fine: bool,
        watch: Watch | None = None,
        watch_every: int = 400,
    ) -> list[dict[str, float]]:
        """Learn from the batches that are left."""
        settings, history = self.settings, []
        averaged = cast(PhotoPolicy, self.average.module)
        done = self._resume()
        self.policy.set_training_mode(True)
        features_of(self.policy).dropout = settings.dropout
        for number in track(range(done, self.batches), self.name):
            factor = 1 if fine and number % settings.fine_every == 0 else settings.coarse
            regret = settings.regret * (number + 1) / self.batches
            turn = number % settings.looks
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(_seed_of(settings.seed, number))  # of what is dropped
                told = _lesson(
                    *(self.policy, pipeline, source(number), turn, factor, regret, settings),
                    self.optimizer,
                )
            self.rate.step()
            self.average.update_parameters(self.policy)
            history.append(told)
            if (number + 1) % LOG_EVERY == 0:
                self._note(number + 1, _means(history[-LOG_EVERY:]))
            if watch and (number + 1) % watch_every == 0:
                averaged.set_training_mode(False)
                self._note(number + 1, watch(averaged))
            if (number + 1) % CHECKPOINT_EVERY == 0 or number + 1 == self.batches:
                self._save(number + 1)
        features_of(self.policy).dropout = 0.0
        self.policy.load_state_dict(averaged.state_dict())
        return history

    @property
    def _parts(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "average": self.average,
            "optimizer": self.optimizer,
            "rate": self.rate,
        }

    def _note(self, batch: int, told: dict[str, float]) -> None:
        told = {"batch": batch} | told
        log.info("%s %s", self.name, {name: round(value, 3) for name, value in told.items()})
        with (self.folder / "history.jsonl").open("a") as file:
            file.write(json.dumps({"lesson": self.name} | told) + "\n")

    def _save(self, done: int) -> None:
        content = {name: part.state_dict() for name, part in self._parts.items()}
        with atomic_path(self.folder / f"{self.name}.pt") as temporary:
            torch.save(content | {"done": done, "settings": asdict(self.settings)}, temporary)

    def _resume(self) -> int:
        path = self.folder / f"{self.name}.pt"
        if not path.exists():
            return 0
        content = torch.load(path, weights_only=True)
        if content["settings"] != asdict(self.settings):
            raise ValueError(f"{path}: written under other settings; name another folder")
        for name, part in self._parts.items():
            part.load_state_dict(content[name])
        return content["done"]


def _seed_of(*numbers: int) -> int:
    return int(np.random.default_rng(numbers).integers(2**62))


def _rate(done: int, warmup: int, batches: int) -> float:
    """Return a linear rise, then half a cosine down to zero."""
    if done < warmup:
        return (done + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * (done - warmup) / max(batches - warmup, 1))) / 2


def _means(history: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for told in history for name in told})
    return {name: float(np.mean([h[name] for h in history if name in h])) for name in names}


def _lesson(
    policy: PhotoPolicy,
    pipeline: IspPipeline,
    shots: Shots,
    turn: int,
    factor: int,
    regret: float,
    settings: LessonSettings,
    optimizer: torch.optim.Optimizer,
) -> dict[str, float]:
    """Look at a batch until the look `turn` (from 0), and make a gradient step on that one."""
    linear, truth, noise = shots.linear, shots.truth, shots.noise
    if factor > 1:
        linear, truth = functional.avg_pool2d(linear, factor), functional.avg_pool2d(truth, factor)
        noise = noise / factor**2
    theta = pipeline.neutral(len(linear))
    with torch.no_grad():
        neutral = now = pipeline(shots.linear, theta, shots.noise)
        before = cie94(pipeline(linear, theta, noise), truth).mean((1, 2))
        for _ in range(turn):
            theta = mean_action(policy, look(shots, now, neutral, theta)).clamp(-1, 1)
            now = pipeline(shots.linear, theta, shots.noise)
    action = mean_action(policy, look(shots, now, neutral, theta))
    theta = action + (action.clamp(-1, 1) - action).detach()
    answer = pipeline(linear, theta, noise)
    after = cie94(answer, truth).mean((1, 2))
    beyond = (action.abs() - 1).clamp(min=0).square().mean(1)
    dear = regret * 2 * settings.near / (settings.near + before)
    loss = after + dear * (after - before).clamp(min=0) + beyond
    loss = loss + settings.dullness * dullness(answer, truth)
    loss = (loss + settings.theta_weight * theta.square().mean(1)).mean()
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(policy.parameters(), 5.0)
    optimizer.step()
    return {"neutral": before.mean().item(), f"look {turn + 1}": after.mean().item()}
