"""Train an agent to tune the ISP on simulated scenes.

Repeats agents/weights/ (two CPU cores, about 20 minutes):

    python experiments/train_agent.py --photos BIQ2021 --export agents/weights/ppo

The photographs are the well-rated ones of BIQ2021's training part; the scenes are simulated shots
of them. The policy first climbs the potential along its gradient through the differentiable ISP,
then PPO trains it on the task. An interrupted run continues from its last checkpoint. On a CPU, set
MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000: it is then faster.
"""

import json
import logging
import platform
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tyro
from rich.logging import RichHandler
from rich.progress import track

from agents.evaluation import evaluate
from agents.policies import Agent, save_agent
from agents.training import PPOSettings, train_ppo
from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.folder import cache_photos, content_hash
from attiqa.scoring import load_model
from isp_env.environment import IspTuningVectorEnv, TaskSettings
from isp_env.files import atomic_path
from isp_env.previews import PreviewSet
from isp_env.rewards import QualityReward, RewardSettings
from isp_env.training_scenes import simulated_previews

PHOTO_SIDE = 512  # BIQ2021's size; the few photographs of another shape are cropped to a square


@dataclass(frozen=True)
class Settings:
    """Train an agent with PPO; the defaults are those of the embedded agent."""

    photos: Path
    """Folder of BIQ2021: Images/ and "Train (Images and MOS).csv"."""
    out: Path = Path("runs/train_agent")
    """Scenes, checkpoint, TensorBoard and results."""
    export: Path | None = None
    """Where to write the agent besides: path without suffix."""
    judge: str = "embedded"
    """Quality model of the reward: "embedded" or a path."""
    min_mos: float = 0.6
    """Photographs rated lower are no truth to strive for."""
    scenes: int = 1200
    """Simulated scenes to train on, each from a photograph of its own while they last."""
    held_out: int = 100
    """Scenes for the evaluation, from photographs that no training scene shows."""
    side: int = 160
    """Pixels of the previews."""
    environments: int = 32
    """Scenes stepped at once."""
    task: TaskSettings = field(default_factory=lambda: TaskSettings(horizon=1, absolute=True))
    """Rules of the episodes."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    """Weights of the potential."""
    ppo: PPOSettings = field(default_factory=PPOSettings)
    """Settings of the algorithm."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> None:
    """Train, evaluate, export."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    training, held_out, photo_hash = scenes(settings)
    judge = load_model(settings.judge, device=settings.device)
    reward = QualityReward(judge.predict, settings.reward)
    env = IspTuningVectorEnv(
        training, reward, settings.environments, settings=settings.task, device=settings.device
    )
    agent = train_ppo(env, settings.ppo, settings.out, settings.device)
    metrics = evaluate(agent, held_out, reward, settings.device)
    paths = {"photos", "out", "export"}
    record = {
        "settings": {k: v for k, v in asdict(settings).items() if k not in paths},
        "data": f"simulated shots of BIQ2021's training part, MOS >= {settings.min_mos}; held-out "
        "scenes show photographs that the agent never saw, though the judge may have",
        "data_sha256": photo_hash,
        "scenes": len(training),
        "versions": {name: version(name) for name in ("attiqa", "torch", "stable-baselines3")}
        | {"python": platform.python_version()},
    }
    card = replace(
        agent.card,
        judge=settings.judge,
        training=json.loads(json.dumps(agent.card.training | record, default=str)),
        metrics={"held_out": metrics},
    )
    agent = Agent(agent.policy, card)
    save_agent(agent, settings.out / "ppo")
    if settings.export:
        save_agent(agent, settings.export)
    with atomic_path(settings.out / "results.json") as temporary:
        temporary.write_text(json.dumps(asdict(card), indent=2) + "\n")
    logging.info("held-out scenes: %s", json.dumps(metrics, indent=2))


def scenes(settings: Settings) -> tuple[PreviewSet, PreviewSet, str]:
    """Training and held-out scenes, made once and kept; and a hash of the photographs."""
    rated = read_biq2021(settings.photos)
    good = [p for p, mos in zip(rated.paths, rated.mos, strict=True) if mos >= settings.min_mos]
    order = np.random.default_rng(settings.ppo.seed).permutation(len(good))
    paths = [good[i] for i in order]
    held_out, training = paths[: settings.held_out], paths[settings.held_out :]
    training = [training[i % len(training)] for i in range(settings.scenes)]
    sets = []
    for name, files, seed in (("training", training, 1), ("held_out", held_out, 2)):
        folder = settings.out / f"scenes_{name}_{len(files)}_{settings.side}"
        if not (folder / "truth.npy").exists():  # written last
            photos = cache_photos(files, PHOTO_SIDE, settings.out / "photos")
            shots = track(photos, "simulating scenes", total=len(files))
            simulated_previews(shots, settings.side, seed).save(folder)
        sets.append(PreviewSet.load(folder))
    return sets[0], sets[1], content_hash(paths)


if __name__ == "__main__":
    main(tyro.cli(Settings))
