"""Train the prior: a policy that learns theta through the ISP from shots whose truth is known.

Repeats agents/weights/prior (one CPU core, 40 minutes):

    python experiments/tuning/train_prior.py --truths.photos PHOTOS --truths.biq2021 BIQ2021 \
        --init mobilenetv2_100_imagenet.safetensors --export agents/weights/prior

Truths are the photographs of a folder, and BIQ2021's best rated. A fifth of them, chosen by their
names, is held out from this training as from every other. With
`--store STORE` the truths of a store are learned instead, as FiveK's with an expert's renderings
(`build_previews.py fivek`). A run that was interrupted goes on from its last checkpoint.
"""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.logging import RichHandler
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from agents.learning.prior import (
    LessonSettings,
    ShotSource,
    learn_light,
    learn_prior,
    simulated_source,
    store_source,
)
from agents.policies import (
    Agent,
    AgentCard,
    PhotoPolicy,
    PolicySettings,
    begin_neutral,
    build_policy,
    features_of,
    knobs,
    save_agent,
)
from agents.policies.looks import answers, shrunk
from attiqa.data.rated_photos import random_split
from attiqa.provenance.versions import versions
from experiments.settings import parsed, without_paths
from experiments.simulated_scenes import TruthSettings
from isp_env.color.difference import chroma_and_contrast
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_store import PreviewStore
from isp_env.scenes.random_shots import ShotSettings
from isp_env.scenes.truths import Part, read_truths
from isp_env.task.environment import TaskSettings
from isp_env.task.observations import observation_space
from isp_env.task.reward import RewardSettings

PARTS: dict[str, tuple[Part, ...]] = {
    "training": ("training", "referee"),
    "held out": ("held out",),
}
"""Photographs that are for referees alone are unknown to rewards, not to priors."""
MEASURED, MEASURED_SEED = 10, 10_000
"""Batches of held-out shots that the card tells of, and what they are drawn by."""
LIGHT_SIDE, LIGHT_BATCH = 64, 48
"""Pixels and shots of a batch where the backbone takes no part."""
BANDS = ((0, 4), (4, 8), (8, 15), (15, 100))
"""CIEDE2000 of the neutral rendering: how far there was to go."""


@dataclass(frozen=True)
class Settings:
    """Settings of the run; the defaults are those of the embedded prior."""

    truths: TruthSettings = field(default_factory=TruthSettings)
    """Photographs that are shot."""
    store: Path | None = None
    """Instead: a store with truths."""
    init: Path | None = None
    """ImageNet weights of the backbone (safetensors, no classifier); random without."""
    out: Path = Path("runs/train_prior")
    """Checkpoint, history and results."""
    export: Path | None = None
    """Where to write the policy besides: path without suffix."""
    policy: PolicySettings = field(default_factory=PolicySettings)
    """The network."""
    lesson: LessonSettings = field(default_factory=LessonSettings)
    """Length and speed."""
    shots: ShotSettings = field(default_factory=ShotSettings)
    """Cameras and mishaps."""
    long_side: int = 128
    """Pixels of the shots."""
    batch_size: int = 24
    """Shots of a gradient step."""
    least_crop: float = 0.5
    """Smallest crop of a photograph to learn from, as a share of the largest that fits."""
    doubt: float = 4.0
    """Colour difference (CIE94) of changes that are shrunk by half (`agents.policies.looks`)."""
    watched: int = 4
    """Batches of held-out shots that are looked at while training."""
    threads: int = 0
    """Of torch; 0 leaves its own choice."""


def main(settings: Settings) -> None:
    """Train, measure, export."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    if settings.threads:
        torch.set_num_threads(settings.threads)
    pipeline = DEFAULT_PIPELINE
    count = len(pipeline.parameters)
    torch.manual_seed(settings.lesson.seed)
    space = observation_space(count, 0)
    policy = build_policy("supervised", settings.policy, space, count, count)
    assert isinstance(policy, PhotoPolicy)
    begin_neutral(policy)
    if settings.init:
        features_of(policy).initialise(settings.init)
    small, training, held_out, data = sources(settings)

    doubt, looks = settings.doubt, settings.lesson.looks

    def watch(policy: PhotoPolicy) -> dict[str, float]:
        return flat(measure(policy, held_out, settings.watched, doubt, looks))

    learn_light(policy, pipeline, small, settings.lesson, settings.out)
    learn_prior(policy, pipeline, training, settings.lesson, settings.out, watch)
    card = AgentCard(
        algorithm="supervised",
        parameters=knobs(pipeline),
        attributes=0,
        features=0,
        task=TaskSettings(settings.lesson.looks, absolute=True),
        policy=settings.policy,
        preview_side=settings.long_side,
        reward=RewardSettings(),
        doubt=doubt,
        training=json.loads(
            json.dumps(
                {
                    "data": data,
                    "settings": without_paths(asdict(settings)),
                    "init": settings.init.name if settings.init else "random",
                    "versions": versions(),
                }
            )
        ),
        metrics={"held-out simulated shots": measure(policy, held_out, MEASURED, doubt, looks)},
    )
    agent = Agent(policy, card)
    save_agent(agent, settings.out / "prior")
    if settings.export:
        save_agent(agent, settings.export)
    logging.info("%s", json.dumps(card.metrics, indent=2))


def sources(settings: Settings) -> tuple[ShotSource, ShotSource, ShotSource, str]:
    """Return shots to learn from, small and larger, shots to measure on, and words for the card."""
    seed = settings.lesson.seed
    if settings.store is not None:
        scenes = PreviewStore.open(settings.store).previews()
        split = random_split(len(scenes), 0, max(1, len(scenes) // 5), 0)
        training = store_source(scenes.some(split.train), settings.batch_size, seed)
        return (
            training,
            training,
            store_source(scenes.some(split.test), settings.batch_size, seed),
            f"store {settings.store.name}; a fifth of its scenes is held out",
        )
    photos = {
        name: read_truths(settings.truths.paths(*parts), 2 * settings.long_side)
        for name, parts in PARTS.items()
    }

    def shots(part: str, long_side: int, batch_size: int, seed: int) -> ShotSource:
        least = settings.least_crop if part == "training" else 0.75
        return simulated_source(photos[part], settings.shots, long_side, batch_size, seed, least)

    counts = {part: len(pictures) for part, pictures in photos.items()}
    return (
        shots("training", LIGHT_SIDE, LIGHT_BATCH, seed + 1),
        shots("training", settings.long_side, settings.batch_size, seed),
        shots("held out", settings.long_side, settings.batch_size, MEASURED_SEED),
        f"simulated shots without end of clean photographs: {counts}",
    )


def measure(
    policy: PhotoPolicy, source: ShotSource, batches: int, doubt: float = 0.0, looks: int = 1
) -> dict[str, Any]:
    """Return CIEDE2000 and PSNR to the truth of neutral and of each look, over all and by distance.

    Beside them the mean chroma and the contrast (`chroma_and_contrast`) of all pictures and of the
    truths. The last look's answer is shrunk by `doubt`, as when the policy is used.
    """
    columns: dict[str, list[np.ndarray]] = {}
    for number in range(batches):
        shots = source(number)
        note_life(columns, "truth", shots.truth)
        theta = [DEFAULT_PIPELINE.neutral(len(shots.linear))]
        theta += answers(policy, DEFAULT_PIPELINE, shots, looks)
        theta[-1] = shrunk(DEFAULT_PIPELINE, shots, theta[-1], doubt)
        for turn, one in enumerate(theta):
            name = f"look {turn}" if turn else "neutral"
            with torch.no_grad():
                image = DEFAULT_PIPELINE(shots.linear, one, shots.noise)
            note_life(columns, name, image)
            first, second = (x.permute(0, 2, 3, 1).numpy() for x in (image, shots.truth))
            difference = deltaE_ciede2000(rgb2lab(second), rgb2lab(first)).mean((1, 2))
            error = ((first - second) ** 2).mean((1, 2, 3))
            columns.setdefault(f"{name}: CIEDE2000", []).append(difference)
            with np.errstate(divide="ignore"):  # of equal pictures it is infinite
                columns.setdefault(f"{name}: PSNR", []).append(-10 * np.log10(error))
    values = {name: np.concatenate(column) for name, column in columns.items()}
    before = values["neutral: CIEDE2000"]
    result: dict[str, Any] = {name: float(column.mean()) for name, column in values.items()}
    result["shots"] = len(before)
    for turn in range(looks):
        after = values[f"look {turn + 1}: CIEDE2000"]
        change = after - before
        result[f"look {turn + 1}: worse by more than 2"] = float((change > 2).mean())
        for low, high in BANDS:
            inside = (before >= low) & (before < high)
            if inside.any():
                result[f"look {turn + 1}: neutral {low} to {high}"] = {
                    "shots": int(inside.sum()),
                    "change": float(change[inside].mean()),
                    "nearer": float((change[inside] < 0).mean()),
                }
    return result


def note_life(columns: dict[str, list[np.ndarray]], name: str, images: Tensor) -> None:
    """Add the chroma and the contrast of a batch of pictures (b, 3, h, w) to the columns."""
    for what, column in zip(("chroma", "contrast"), chroma_and_contrast(images).T, strict=True):
        columns.setdefault(f"{name}: {what}", []).append(column.numpy())


def flat(told: dict[str, Any]) -> dict[str, float]:
    """Return numbers of a nested dictionary under joined names."""
    numbers: dict[str, float] = {}
    for name, value in told.items():
        if isinstance(value, dict):
            numbers |= {f"{name}: {key}": number for key, number in flat(value).items()}
        else:
            numbers[name] = float(value)
    return numbers


if __name__ == "__main__":
    main(parsed(Settings))
