r"""Train an agent to tune the ISP on simulated scenes, from the supervised prior.

A hundred thousand steps of PPO, some 40 minutes of one CPU core:

    python experiments/tuning/train_agent.py --scenes.truths.photos PHOTOS \
        --scenes.truths.biq2021 BIQ2021 --compiled

The scenes are simulated shots of clean photographs, kept in `--stores`. Scenes of your own, from
RAW files or FiveK, are two stores that `build_previews.py` makes:

    python experiments/tuning/train_agent.py --training STORE --held-out OTHER_STORE

RAW files without truths take part beside the simulated scenes, from a store of squares:

    python experiments/isp/build_previews.py --out STORE --side 112 raw --paths PHOTOS
    python experiments/tuning/train_agent.py --scenes.size 112 112 --real STORE ...

The policy begins as the prior (`tuning/train_prior.py`), whose development of each scene also
anchors the reward; then the algorithm (`algorithm:ppo`, `algorithm:sac` or `algorithm:td3`) trains
it on the task. `--prior none` begins from nothing, with the reward anchored to neutral. A run that
was interrupted or killed goes on from its last checkpoint. On a CPU, set
MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000: it is then faster.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.logging import RichHandler

from agents.controllers.base import neutral
from agents.controllers.policy import controller
from agents.controllers.prior import prior_thetas
from agents.evaluation.comparison import batches, compare, joined, measure
from agents.evaluation.referees import full_references
from agents.learning.algorithms import PPOSettings, SACSettings, TD3Settings
from agents.learning.training import Pace, train
from agents.policies import Agent, load_prior, prior_identity, save_agent
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.settings import parsed, without_paths
from experiments.simulated_scenes import (
    SceneSettings,
    held_out_scenes,
    training_scenes,
)
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.compiled_pipeline import compiled
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.preview_store import PreviewStore, PreviewStoreError
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings

Algorithm = (
    Annotated[PPOSettings, tyro.conf.subcommand("ppo")]
    | Annotated[SACSettings, tyro.conf.subcommand("sac")]
    | Annotated[TD3Settings, tyro.conf.subcommand("td3")]
)


@dataclass(frozen=True)
class Settings:
    """Train an agent."""

    scenes: SceneSettings = field(default_factory=SceneSettings)
    """What is trained on: simulated shots of clean photographs."""
    algorithm: Algorithm = field(default_factory=PPOSettings)
    """How."""
    training: Path | None = None
    """Instead of `scenes`: a store that `build_previews.py` made, of RAW files or FiveK."""
    held_out: Path | None = None
    """And a store to evaluate on, of other photographs."""
    real: Path | None = None
    """A store of RAW files without truths to train on besides, of the same size."""
    real_share: float = 0.1
    """Share of the episodes that they have; they are repeated for it."""
    out: Path = Path("runs/train_agent")
    """Checkpoints, TensorBoard and results."""
    stores: Path = Path("runs/scenes")
    """Where the scenes are kept."""
    export: Path | None = None
    """Where to write the agent besides: path without suffix."""
    prior: str = "prior"
    """The policy to begin with, which anchors the reward: "prior", the embedded one; the path of
    its .json card; or "none"."""
    judge: str = "embedded"
    """Quality model of the reward: what `attiqa.model.quality_model.load_model` takes."""
    environments: int = 32
    """Scenes stepped at once."""
    task: TaskSettings = field(default_factory=lambda: TaskSettings(horizon=1, absolute=True))
    """Rules of the episodes."""
    reward: RewardSettings = field(default_factory=lambda: RewardSettings(truth_weight=0.2))
    """Weights of the potential."""
    pace: Pace = field(default_factory=Pace)
    """Steps between checkpoints and between evaluations."""
    watched: int = 40
    """Held-out scenes that are looked at while training."""
    compiled: bool = False
    """Render by compiled loops after the ascent: it pays for long trainings on a CPU."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> None:
    """Train, evaluate, export."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    start = time.perf_counter()
    judge = load_model(settings.judge, device=settings.device)
    training, held_out, data = scenes_of(settings)
    reward = QualityReward(judge.for_reward(), settings.reward)
    prior = load_prior(settings.prior, settings.device)
    scenes, trained_on = [training.previews(), held_out.previews()], [training.sha256()]
    if settings.real is not None:
        real = PreviewStore.open(settings.real)
        scenes[0] = with_real_ones(scenes[0], real.previews(), settings.real_share)
        data += (
            f"; {settings.real_share:.0%} of the episodes on RAW files, store {real.folder.name}"
        )
        trained_on += [real.sha256(), str(settings.real_share)]
    anchors = [
        None
        if prior is None
        else prior_thetas(prior, each, DEFAULT_PIPELINE, device=settings.device)
        for each in scenes
    ]
    env = IspTuningVectorEnv(
        scenes[0],
        reward,
        settings.environments,
        compiled(DEFAULT_PIPELINE) if settings.compiled else DEFAULT_PIPELINE,
        settings.task,
        AutoresetMode.SAME_STEP,
        settings.device,
        anchors[0],
    )
    unseen = QualityReward(reward.judge, replace(settings.reward, truth_weight=0.0))
    judged = JudgedScenes(scenes[1], unseen, env.pipeline, settings.device, anchors[1])

    def watch(agent: Agent) -> dict[str, float]:
        compared = against_neutral(agent, judged, min(settings.watched, len(held_out.scenes)))
        return {name: values["mean"] for name, values in compared.items()}

    named = "none" if prior is None else prior_identity(settings.prior)
    origin = f"scenes {' '.join(trained_on)}, judge {judge.card.sha256}, prior {named}"
    agent = train(
        env, settings.algorithm, settings.out, settings.device, watch, settings.pace, origin, prior
    )
    metrics = against_neutral(agent, judged, len(held_out.scenes))
    record = {
        "settings": without_paths(asdict(settings)),
        "data": data,
        "training_scenes": len(training.scenes),
        "training_sha256": trained_on,
        "held_out_sha256": held_out.sha256(),
        "minutes": (time.perf_counter() - start) / 60,
        "versions": versions() | {"stable-baselines3": version("stable-baselines3")},
    }
    card = replace(
        agent.card,
        judge=f"{judge.card.name} {judge.card.sha256[:16]}",
        prior="" if prior is None else f"{settings.prior} {named[:16]}",
        training=json.loads(json.dumps(agent.card.training | record, default=str)),
        metrics={"held_out": {"scenes": len(held_out.scenes), "change": metrics}},
    )
    agent = Agent(agent.policy, card)
    save_agent(agent, settings.out / "agent")
    if settings.export:
        save_agent(agent, settings.export)
    with atomic_path(settings.out / "results.json") as temporary:
        temporary.write_text(json.dumps(asdict(card), indent=2) + "\n")
    logging.info("held-out scenes: %s", json.dumps(metrics, indent=2))


def scenes_of(settings: Settings) -> tuple[PreviewStore, PreviewStore, str]:
    """Return the scenes to train on, those to evaluate on, and what they are, for the agent's card.

    Raises:
        PreviewStoreError: One of two stores is not given, or both hold a scene of the same name.
    """
    if settings.training is not None or settings.held_out is not None:
        if settings.training is None or settings.held_out is None:
            raise PreviewStoreError("--training and --held-out go together: give both or neither")
        stores = PreviewStore.open(settings.training), PreviewStore.open(settings.held_out)
        if both := stores[0].scenes.keys() & stores[1].scenes.keys():
            raise PreviewStoreError(
                f"{settings.held_out}: {len(both)} scenes are those of {settings.training}, "
                f"as {min(both)}; an agent is evaluated on others"
            )
        return *stores, f"stores {settings.training.name} and, held out, {settings.held_out.name}"
    return (
        training_scenes(settings.scenes, settings.stores),
        held_out_scenes(settings.scenes, settings.stores),
        "simulated shots of clean photographs; held-out scenes show photographs that neither the "
        "agent, its prior nor its judge was trained on",
    )


def with_real_ones(scenes: PreviewSet, real: PreviewSet, share: float) -> PreviewSet:
    """Join scenes and RAW files', repeated until they have a share (0 to 1) of all."""
    count = max(1, round(share / (1 - share) * len(scenes)))
    return scenes.joined_with(real.some(np.resize(np.arange(len(real)), count)))


def against_neutral(agent: Agent, judged: JudgedScenes, count: int) -> dict[str, Any]:
    """Measure the agent's changes on the first `count` scenes, with 95 % intervals and wins."""
    referees = full_references()
    measured = {
        name: joined(
            [measure(judged, rows, control(judged, rows), referees) for rows in batches(count)]
        )
        for name, control in (("agent", controller(agent)), ("neutral", neutral))
    }
    return {
        name: asdict(compare(np.asarray(values), measured["neutral"][name]))
        for name, values in measured["agent"].items()
    }


if __name__ == "__main__":
    main(parsed(Settings))
