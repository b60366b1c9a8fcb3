"""Choose an algorithm's settings by a search that is kept: trained, compared, written down.

    python experiments/tuning/search_settings.py --scenes runs/scenes/training --algorithm ppo

The first trial has the settings that are the defaults now; Optuna draws the others from `SPACES`.
All begin as the prior, train on the same scenes, and are compared by the mean gain in potential on
other ones, of photographs that none of them sees; the held-out scenes, by which agents are judged
in the end, have no say. The study is a file that Optuna and its dashboard read; an interrupted
search goes on with the trial that it was at.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from jaxtyping import Int
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from rich import print as show
from rich.logging import RichHandler

from agents.controllers.base import Controller, neutral
from agents.controllers.policy import controller
from agents.controllers.prior import prior_thetas
from agents.evaluation.comparison import Comparison, batches, compare
from agents.learning.algorithms import AgentSettings, PPOSettings, SACSettings, TD3Settings
from agents.learning.training import train
from agents.policies import AgentError, load_prior
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.settings import parsed
from isp_env.files import alone_in, atomic_path
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
RATE = {"learning_rate": FloatDistribution(3e-5, 1e-3, log=True)}
REPLAY = RATE | {
    "updates": IntDistribution(4, 16),
    "batch_size": CategoricalDistribution((64, 128, 256)),
    "tau": FloatDistribution(0.005, 0.02, log=True),
}
SPACES: Mapping[str, Mapping[str, BaseDistribution]] = {
    "ppo": RATE
    | {
        "policy.log_std": FloatDistribution(-3.5, -1.5),
        "epochs": IntDistribution(4, 16),
        "clip": FloatDistribution(0.1, 0.3),
        "target_kl": FloatDistribution(0.01, 0.1, log=True),
        "gae_lambda": FloatDistribution(0.9, 1.0),
    },
    "sac": REPLAY | {"initial_entropy": FloatDistribution(0.002, 0.1, log=True)},
    "td3": REPLAY | {"noise": FloatDistribution(0.03, 0.3)},
}
"""Of each algorithm, the settings that are searched: dotted names, and where they are drawn."""


@dataclass(frozen=True)
class Settings:
    """Search for the settings of an algorithm."""

    scenes: Path
    """Store of simulated scenes."""
    algorithm: Literal["ppo", "sac", "td3"] = "ppo"
    """Whose settings."""
    trials: int = 12
    """Settings to try, those of earlier calls included."""
    count: int = 500
    """So many of the scenes, the first ones, are used."""
    validation: float = 0.2
    """Share of their photographs that are kept for the comparison."""
    out: Path = Path("runs/search_settings")
    """Folder for the study, the trained agents and search.md, one folder for each algorithm."""
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

    learnt, compared = scenes.some(training), scenes.some(kept)
    judged = JudgedScenes(compared, reward, device=settings.device, anchors=anchors(compared))
    folder = settings.out / settings.algorithm
    origin = f"{len(training)} scenes of {settings.scenes.name}, judge {judge.card.sha256}"
    default = ALGORITHMS[settings.algorithm](seed=settings.seed)

    def gained(trial: optuna.Trial) -> Comparison:
        env = IspTuningVectorEnv(
            learnt,
            reward,
            settings.environments,
            settings=settings.task,
            autoreset_mode=AutoresetMode.SAME_STEP,
            device=settings.device,
            anchors=anchors(learnt),
        )
        chosen = changed(default, trial.params)
        place = folder / str(trial.user_attrs.get("first", trial.number))
        agent = train(env, chosen, place, settings.device, origin=origin, prior=prior)
        return gain(controller(agent), judged)

    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, AgentError(f"{folder}: another search is at work in this folder")):
        study = begin(folder, default, settings, origin)
        while len(finished(study)) < settings.trials:
            trial = study.ask(dict(SPACES[settings.algorithm]))
            found = gained(trial)
            trial.set_user_attr("interval", [found.low, found.high])
            trial.set_user_attr("versions", versions())
            study.tell(trial, found.mean)
    text = table(finished(study), tuple(SPACES[settings.algorithm]))
    with atomic_path(folder / "search.md") as temporary:
        temporary.write_text(text)
    show(text)


def begin(folder: Path, default: AgentSettings, settings: Settings, origin: str) -> optuna.Study:
    """Open the study of a folder; a trial that was interrupted waits to be gone on with.

    Raises:
        AgentError: Its trials were trained with other scenes or another judge.
    """
    study = optuna.create_study(
        study_name=settings.algorithm,
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        direction="maximize",
        load_if_exists=True,
    )
    if study.user_attrs.get("origin", origin) != origin:
        raise AgentError(f"{folder}: trials of other scenes or another judge; name another --out")
    study.set_user_attr("origin", origin)
    # seeded alike at each start, it would draw again what it drew
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.trials))
    if not study.trials:
        names = SPACES[settings.algorithm]
        study.enqueue_trial({name: attrgetter(name)(default) for name in names})
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        first = trial.user_attrs.get("first", trial.number)
        study.enqueue_trial(trial.params, user_attrs={"first": first})
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a value, the best first."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    return sorted(done, key=lambda trial: trial.value or 0.0, reverse=True)


def changed(default: AgentSettings, values: Mapping[str, Any]) -> AgentSettings:
    """Return settings with other values, by dotted names."""
    for name, value in values.items():
        outer, _, inner = name.rpartition(".")
        own = (
            {outer: replace(getattr(default, outer), **{inner: value})} if outer else {name: value}
        )
        default = replace(default, **own)
    return default


def divided(
    names: tuple[str, ...], share: float
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Return rows of the scenes to train on and of those to compare by; each photo on one side."""
    photos = [name.rsplit(", shot ", 1)[0] for name in names]
    each = sorted(set(photos))
    aside = np.random.default_rng(0).permutation(len(each))[: round(share * len(each))]
    kept = {each[number] for number in aside}
    compared = np.array([photo in kept for photo in photos])
    return np.flatnonzero(~compared), np.flatnonzero(compared)


def gain(control: Controller, judged: JudgedScenes) -> Comparison:
    """Compare a control with neutral in potential, with the 95 % interval."""
    parts = batches(len(judged.scenes))
    found, start = (
        np.concatenate([one(judged, rows).value for rows in parts]) for one in (control, neutral)
    )
    return compare(found, start)


def table(trials: Sequence[FrozenTrial], names: Sequence[str]) -> str:
    """Return trials and what they gained, the best first, as Markdown."""
    lines = ["| trial | gain in potential | " + " | ".join(names) + " |"]
    lines.append("| --- " * (2 + len(names)) + "|")
    for trial in trials:
        low, high = trial.user_attrs["interval"]
        values = [f"{trial.params[name]:.3g}" for name in names]
        gained = f"{trial.value:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(f"| {trial.number} | {gained} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(parsed(Settings))
