"""What a step of the tuning task costs beside its reward model, and what batching scenes gains.

    python experiments/tuning/benchmark_environment.py

Measures, in rounds, one thing after the other, so that a slow moment of the machine meets all:

- the share of a step that is not the quality model's own forward pass: rendering, views, leash,
  observation and bookkeeping. Neutral renderings are remembered, as they are after the first epoch;
- steps per second of one batch of scenes beside as many single environments in
  Stable-Baselines3's `DummyVecEnv`;
- pictures per second of rendering, looking and judging, for sizes of the batch and of the previews:
  where `isp_env.task.judged_scenes.CHUNKS` comes from.

Takes some minutes on two cores. Run it on a machine that does nothing else.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from skimage import data
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.learning.sb3_vec_env import IspTuningVecEnv
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.settings import parsed
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.compiled_pipeline import compiled
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.simulated_raw import simulated_previews
from isp_env.task.environment import (
    AutoresetMode,
    IspTuningEnv,
    IspTuningVectorEnv,
    TaskSettings,
)
from isp_env.task.judged_scenes import CHUNKS, JudgedScenes
from isp_env.task.reward import Judged, QualityReward, ShotJudge

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")  # of scikit-image
console = Console()


@dataclass(frozen=True)
class Settings:
    """Measure the speed of the tuning task."""

    out: Path = Path("runs/benchmark_environment.json")
    """The figures."""
    judge: str = "embedded"
    """Quality model of the reward: what `attiqa.model.quality_model.load_model` takes."""
    environments: int = 32
    """Scenes stepped at once."""
    side: int = 160
    """Pixels of the previews' long side."""
    scenes: int = 64
    """Simulated scenes, a multiple of the environments: each single one has its share of them."""
    horizon: int = 1
    """Renders of an episode; with 1, actions are theta itself."""
    compiled: bool = True
    """Previews are rendered by compiled loops (`isp_env.isp.fused.compiled_pipeline`)."""
    steps: int = 3
    """Steps of all environments in each measurement."""
    rounds: int = 5
    """Measurements of each kind; medians are reported."""
    sweep_chunks: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Scenes rendered and judged at once."""
    sweep_sides: tuple[int, ...] = (96, 160, 224)
    """Pixels of the previews' long side."""
    threads: int | None = None
    """Of PyTorch; its own choice if not given."""
    seed: int = 0
    """Of scenes and actions."""


class Stopwatch:
    """A judge that counts the seconds that another one takes."""

    def __init__(self, judge: ShotJudge) -> None:
        self.judge, self.seconds = judge, 0.0

    def see(self, images: torch.Tensor) -> torch.Tensor:
        """See."""
        return self._timed(self.judge.see, images)

    def compare(self, seen: torch.Tensor, neutral: torch.Tensor) -> Judged:
        """Compare."""
        return self._timed(self.judge.compare, seen, neutral)

    def _timed(self, ask: Callable[..., Any], *what: torch.Tensor) -> Any:
        start = time.perf_counter()
        said = ask(*what)
        self.seconds += time.perf_counter() - start
        return said


def main(settings: Settings) -> None:
    """Measure, print and write."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    judge = load_model(settings.judge)
    scenes = {side: simulated(settings, side) for side in {settings.side, *settings.sweep_sides}}
    result = {
        "step": measure_steps(settings, scenes[settings.side], judge),
        "sweep": sweep(settings, scenes, judge),
        "settings": asdict(settings) | {"out": settings.out.name},
        "chunk": CHUNKS["cpu"],
        "threads": torch.get_num_threads(),
        "versions": versions()
        | {name: version(name) for name in ("gymnasium", "stable-baselines3")},
    }
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(settings.out) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def simulated(settings: Settings, side: int) -> PreviewSet:
    """Return simulated shots of scikit-image's photographs, as previews with `side` pixels."""
    photos = [getattr(data, name)()[:300, :400] for name in PHOTOS]
    shots = (photos[number % len(photos)] for number in range(settings.scenes))
    return simulated_previews(shots, side, settings.seed)


def measure_steps(settings: Settings, scenes: PreviewSet, judge: ShotJudge) -> dict[str, Any]:
    """Share of a step beside the judge, and steps per second of a batch and of single scenes."""
    rules = TaskSettings(horizon=settings.horizon, absolute=settings.horizon == 1)
    watch, count = Stopwatch(judge), settings.environments
    reward = QualityReward(watch)
    pipeline = pipeline_of(settings)
    task = IspTuningVectorEnv(scenes, reward, count, pipeline, rules, AutoresetMode.SAME_STEP)
    batch = IspTuningVecEnv(task)
    shares_of_scenes = [scenes.some(np.arange(row, len(scenes), count)) for row in range(count)]
    single = DummyVecEnv(
        [partial(IspTuningEnv, own, reward, pipeline, rules) for own in shares_of_scenes]
    )
    rng = np.random.default_rng(settings.seed)
    shares, batched, alone = [], [], []
    for first in range(0, len(scenes), count):  # every neutral rendering is seen once
        batch.env.reset(options={"scene": np.arange(first, first + count) % len(scenes)})
        single.env_method("reset", options={"scene": first // count})
    batch.reset()
    single.reset()
    for _ in range(settings.rounds):
        watch.seconds = 0.0
        seconds = run(batch, rng, settings.steps)
        shares.append(1 - watch.seconds / seconds)
        batched.append(count * settings.steps / seconds)
        alone.append(count * settings.steps / run(single, rng, settings.steps))
    ratios = [many / one for many, one in zip(batched, alone, strict=True)]
    rounds = {
        "share_beside_judge": shares,
        "batched_steps_per_second": batched,
        "single_steps_per_second": alone,
        "batched_over_single": ratios,
    }
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    return {"medians": medians, "rounds": rounds}


def pipeline_of(settings: Settings) -> IspPipeline:
    """Return the ISP, compiled or not."""
    return compiled(DEFAULT_PIPELINE) if settings.compiled else DEFAULT_PIPELINE


def run(env: VecEnv, rng: np.random.Generator, steps: int) -> float:
    """Return the seconds of `steps` steps with random actions near neutral."""
    shape = (steps, env.num_envs, *(env.action_space.shape or ()))
    actions = 0.3 * rng.uniform(-1, 1, shape).astype(np.float32)
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return time.perf_counter() - start


def sweep(
    settings: Settings, scenes: dict[int, PreviewSet], judge: ShotJudge
) -> list[dict[str, Any]]:
    """Return pictures per second of all that a step does to pictures, by chunk and side."""
    rng, rows = np.random.default_rng(settings.seed), np.arange(settings.environments)
    rows = rows % settings.scenes
    cells = []
    for side in settings.sweep_sides:
        judged = JudgedScenes(scenes[side], QualityReward(judge), pipeline_of(settings))
        theta = torch.from_numpy(0.3 * rng.uniform(-1, 1, (len(rows), judged.knobs))).float()
        reference = judged.references(rows)
        tasks = {
            chunk: partial(replace(judged, chunk=chunk).see, rows, theta, reference)
            for chunk in settings.sweep_chunks
        }
        seconds: dict[int, list[float]] = {chunk: [] for chunk in tasks}
        for _ in range(settings.rounds):
            for chunk, task in tasks.items():
                start = time.perf_counter()
                task()
                seconds[chunk].append(time.perf_counter() - start)
        cells += [
            {"side": side, "chunk": chunk, "pictures_per_second": len(rows) / statistics.median(s)}
            for chunk, s in seconds.items()
        ]
    return cells


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    table = Table("figure", "median", "rounds", title="A step of the tuning task")
    for name, median in result["step"]["medians"].items():
        rounds = " ".join(f"{value:.3g}" for value in result["step"]["rounds"][name])
        table.add_row(name.replace("_", " "), f"{median:.3g}", rounds)
    console.print(table)
    sides = sorted({cell["side"] for cell in result["sweep"]})
    table = Table("chunk", *(f"{side} px" for side in sides), title="Pictures per second")
    for chunk in sorted({cell["chunk"] for cell in result["sweep"]}):
        row = {c["side"]: c["pictures_per_second"] for c in result["sweep"] if c["chunk"] == chunk}
        table.add_row(str(chunk), *(f"{row[side]:.0f}" for side in sides))
    console.print(table)


if __name__ == "__main__":
    main(parsed(Settings))
