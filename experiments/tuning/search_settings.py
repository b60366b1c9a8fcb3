"""Choose an algorithm's settings by a random search that is kept: trained, compared, written down.

    python experiments/tuning/search_settings.py --scenes runs/scenes/training --algorithm ppo

Trial 0 has the settings that are the defaults now; each of the others draws its own from the ranges
of `drawn`. All begin as the prior, train on the same scenes, and are compared by the mean gain in
potential on other ones, of photographs that none of them sees; the held-out scenes, by which agents
are judged in the end, have no say. A trial is a folder: an interrupted search goes on, `--first`
lets several processes share one, and every call reports all the trials that have been finished.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from rich import print as show
from rich.logging import RichHandler

from agents.controllers.base import Controller, Found, neutral
from agents.controllers.policy import controller
from agents.controllers.prior import prior_thetas
from agents.evaluation.comparison import batches, compare
from agents.learning.algorithms import (
    AgentSettings,
    PPOSettings,
    ReplaySettings,
    SACSettings,
    TD3Settings,
)
from agents.learning.training import train
from agents.policies import AgentError, load_prior
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.settings import parsed
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.preview_store import PreviewStore
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings

ALGORITHMS: Mapping[str, type[AgentSettings]] = {
    "ppo": PPOSettings,
    "sac": SACSettings,
    "td3": TD3Settings,
}


@dataclass(frozen=True)
class Settings:
    """Search for the settings of an algorithm."""

    scenes: Path
    """Store of simulated scenes."""
    algorithm: Literal["ppo", "sac", "td3"] = "ppo"
    """Whose settings."""
    trials: int = 12
    """Settings to try, from `first` on."""
    first: int = 0
    """Number of the first."""
    count: int = 500
    """So many of the scenes, the first ones, are used."""
    validation: float = 0.2
    """Share of their photographs that are kept for the comparison."""
    out: Path = Path("runs/search_settings")
    """Folder for trials, search.json and search.md, one folder in it for each algorithm."""
    judge: str = "embedded"
    """Quality model of the reward: what `attiqa.model.quality_model.load_model` takes."""
    prior: str = "prior"
    """The policy to begin with: "prior", the path of its card, or "none"."""
    environments: int = 32
    """Scenes stepped at once."""
    task: TaskSettings = field(default_factory=lambda: TaskSettings(horizon=1, absolute=True))
    """Rules of the episodes."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    """Weights of the potential."""
    seed: int = 0
    """Of the settings that are drawn, and of all trainings."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> None:
    """Train what has not been trained, then report."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    store = PreviewStore.open(settings.scenes)
    training, kept = divided(store.names()[: settings.count], settings.validation)
    judge = load_model(settings.judge, device=settings.device)
    reward = QualityReward(judge.for_reward(), settings.reward)
    scenes = store.previews()
    prior = load_prior(settings.prior, settings.device)

    def anchors(scenes: PreviewSet) -> np.ndarray | None:
        if prior is None:
            return None
        return prior_thetas(prior, scenes, DEFAULT_PIPELINE, device=settings.device)

    compared = scenes.some(kept)
    judged = JudgedScenes(compared, reward, device=settings.device, anchors=anchors(compared))
    folder = settings.out / settings.algorithm
    origin = f"{len(training)} scenes of {settings.scenes.name}, judge {judge.card.sha256}"
    for number in range(settings.first, settings.first + settings.trials):
        chosen = settings_of(settings.algorithm, number, settings.seed)
        path = folder / str(number) / "trial.json"
        if path.exists():
            continue
        start = time.perf_counter()
        own = scenes.some(training)
        env = IspTuningVectorEnv(
            own,
            reward,
            settings.environments,
            settings=settings.task,
            autoreset_mode=AutoresetMode.SAME_STEP,
            device=settings.device,
            anchors=anchors(own),
        )
        agent = train(env, chosen, path.parent, settings.device, origin=origin, prior=prior)
        trial = {
            "number": number,
            "origin": origin,
            "device": settings.device,
            "minutes": (time.perf_counter() - start) / 60,
            "gain": gains(controller(agent), judged),
            "settings": asdict(chosen),
        }
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(trial, indent=1) + "\n")
    report(folder, settings, origin, len(kept))


def divided(
    names: tuple[str, ...], share: float
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Rows of the scenes to train on and of those to compare by; each photo on one side."""
    photos = [name.rsplit(", shot ", 1)[0] for name in names]
    each = sorted(set(photos))
    aside = np.random.default_rng(0).permutation(len(each))[: round(share * len(each))]
    kept = {each[number] for number in aside}
    compared = np.array([photo in kept for photo in photos])
    return np.flatnonzero(~compared), np.flatnonzero(compared)


def settings_of(algorithm: str, number: int, seed: int) -> AgentSettings:
    """The settings of a trial: the first has the defaults."""
    default = ALGORITHMS[algorithm](seed=seed)
    return default if number == 0 else drawn(default, np.random.default_rng((seed, number)))


def drawn(default: AgentSettings, random: np.random.Generator) -> AgentSettings:
    """Another learning rate, and what the algorithm has besides."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    def one_of(*choices: Any) -> Any:
        return choices[random.integers(len(choices))]

    match default:
        case PPOSettings():
            own = {
                "learning_rate": log_uniform(3e-5, 1e-3),
                "policy": replace(default.policy, log_std=random.uniform(-3.5, -1.5)),
                "epochs": one_of(4, 8, 16),
                "clip": one_of(0.1, 0.2, 0.3),
                "target_kl": log_uniform(0.01, 0.1),
                "gae_lambda": one_of(0.9, 0.95, 1.0),
            }
        case ReplaySettings():
            own = {
                "learning_rate": log_uniform(3e-5, 1e-3),
                "updates": one_of(4, 8, 16),
                "batch_size": one_of(64, 128, 256),
                "tau": one_of(0.005, 0.02),
            }
    if isinstance(default, SACSettings):
        own["initial_entropy"] = log_uniform(0.002, 0.1)
    if isinstance(default, TD3Settings):
        own["noise"] = random.uniform(0.03, 0.3)
    return replace(default, **own)


def gains(control: Controller, judged: JudgedScenes) -> dict[str, dict[str, float]]:
    """Return what a control gains over neutral, in potential and in score, with 95 % intervals."""
    parts = batches(len(judged.scenes))
    found, start = ([one(judged, rows) for rows in parts] for one in (control, neutral))

    def values(parts: list[Found], key: str) -> np.ndarray:
        return np.concatenate([getattr(part, key) for part in parts])

    return {
        name: asdict(compare(values(found, key), values(start, key)))
        for name, key in (("potential", "value"), ("score", "score"))
    }


def report(folder: Path, settings: Settings, origin: str, compared: int) -> None:
    """Write all finished trials, the best first, and show them.

    Raises:
        AgentError: Some of them were trained with other scenes or another judge.
    """
    trials = [json.loads(path.read_text()) for path in folder.glob("*/trial.json")]
    if any(trial["origin"] != origin for trial in trials):
        raise AgentError(f"{folder}: trials of other scenes or another judge; name another --out")
    trials.sort(key=lambda trial: -trial["gain"]["potential"]["mean"])
    result = {
        "algorithm": settings.algorithm,
        "trained on": origin,
        "compared on": f"{compared} scenes of other photographs",
        "trials": trials,
        "versions": versions(),
    }
    with atomic_path(folder / "search.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    text = table(trials)
    with atomic_path(folder / "search.md") as temporary:
        temporary.write_text(text)
    show(text)


def table(trials: list[dict[str, Any]]) -> str:
    """Trials and what they gained, as Markdown; only the settings that differ between them."""
    flat = [_flat(trial["settings"]) for trial in trials]
    names = [name for name in flat[0] if len({str(one[name]) for one in flat}) > 1]
    lines = [
        "| trial | gain in potential | in score | " + " | ".join(names) + " |",
        "| --- " * (3 + len(names)) + "|",
    ]
    for trial, one in zip(trials, flat, strict=True):
        potential, score = (trial["gain"][name] for name in ("potential", "score"))
        values = [f"{v:.2g}" if isinstance(v, float) else str(v) for v in map(one.get, names)]
        gain = f"{potential['mean']:+.3f} ({potential['low']:+.3f} to {potential['high']:+.3f})"
        cells = [str(trial["number"]), gain, f"{score['mean']:+.3f}", *values]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        within = isinstance(value, Mapping)
        found |= _flat(value, f"{prefix}{name}.") if within else {f"{prefix}{name}": value}
    return found


if __name__ == "__main__":
    main(parsed(Settings))
