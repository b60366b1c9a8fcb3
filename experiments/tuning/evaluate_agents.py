r"""Agents beside every control, on the same held-out scenes, before referees nobody was paid by.

    python experiments/tuning/train_agent.py ...   # once for each seed
    python experiments/tuning/evaluate_agents.py --scenes runs/scenes/held_out \
        --agents runs/seed0/agent.json runs/seed1/agent.json --raw CAMERAS

What searches find is kept in `--out`, a few scenes at a time: an interrupted run goes on. Writes
agents.json (everything, with paired 95 % bootstrap intervals over the scenes), agents.md (the
table) and agents.png (quality against the number of renders).
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import print as show
from rich.logging import RichHandler
from rich.progress import track

from agents.controllers.automatic import auto_adjust
from agents.controllers.base import Found, neutral
from agents.controllers.nearest_truth import fit_truth
from agents.controllers.policy import controller
from agents.controllers.prior import prior_control, prior_thetas
from agents.controllers.search import REFINING_RATE, cma_es, gradient_ascent, random_search, refined
from agents.evaluation.comparison import (
    Measured,
    batches,
    compare,
    joined,
    measure,
    measure_pictures,
)
from agents.evaluation.findings_cache import Contender, KeptFindings, rows_of
from agents.evaluation.referees import trial
from agents.policies import (
    Agent,
    agent_files,
    load_agent,
    load_prior,
    prior_identity,
    warn_of_another_judge,
)
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.settings import parsed
from experiments.tuning.agents_report import table, write_figure
from experiments.tuning.independent_referees import independent_referees
from experiments.tuning.libraw_renderings import libraw_renderings
from isp_env.errors import IspEnvError
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.compiled_pipeline import compiled
from isp_env.raw import read_raw
from isp_env.raw.find import find_inputs
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.preview_store import PreviewStore
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings

NEUTRAL, PRIOR, AGENT = "neutral", "prior", "agent"
TRUTH = "-CIEDE2000"
BANDS = ((0, 4), (4, 8), (8, 15), (15, 100))  # CIEDE2000
FIT_STEPS = 100  # of the fit of theta to the truth


@dataclass(frozen=True)
class Settings:
    """Compare agents with controls."""

    scenes: Path
    """Store of held-out scenes with truths (see `build_previews.py`)."""
    agents: list[Path] = field(default_factory=list)
    """Cards of agents, one for each seed."""
    prior: str = "prior"
    """The policy that anchors the reward, and a control: "prior", the embedded one; the path of its
    card; or "none"."""
    out: Path = Path("runs/evaluate_agents")
    """Folder for the results."""
    count: int = 200
    """So many of the scenes."""
    random: tuple[int, ...] = (10, 100, 500)
    """Renders of the random search; none leaves it out."""
    cma: tuple[int, ...] = (100, 500)
    """Renders of CMA-ES."""
    gradient: tuple[int, ...] = (50, 200)
    """Renders of the gradient ascent."""
    refined: tuple[int, ...] = (5,)
    """Renders of an agent and of gradient ascent from its choice; from neutral, too, as long."""
    costly: int = 200
    """The searches see so many of the scenes, the first ones."""
    libraw: bool = False
    """Compare with LibRaw's renderings, too; the photographs of simulated scenes are read again."""
    raw: list[str] = field(default_factory=list)
    """Real RAW files and folders of them: the score alone is compared, there is no truth."""
    judge: str = "embedded"
    """Quality model of the reward: what `attiqa.model.quality_model.load_model` takes."""
    referee: str = "attiqa-referee"
    """The second quality model."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    """Weights of the potential."""
    seed: int = 0
    """Of the searches."""
    compiled: bool = True
    """Render without gradients by compiled loops: it pays for the searches."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> None:
    """Find, measure, compare, report."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    files = [one.path for one in find_inputs(settings.raw)] if settings.raw else []
    store = PreviewStore.open(settings.scenes)
    scenes = store.previews()
    judge = load_model(settings.judge, settings.device)
    agents = [load_agent(path, DEFAULT_PIPELINE, settings.device) for path in settings.agents]
    for agent in agents:
        warn_of_another_judge(agent.card, judge.card.sha256)
    reward = QualityReward(judge.for_reward(), settings.reward)
    pipeline = compiled(DEFAULT_PIPELINE) if settings.compiled else DEFAULT_PIPELINE
    prior = load_prior(settings.prior, settings.device)
    anchors = None
    if prior is not None:
        anchors = prior_thetas(prior, scenes, DEFAULT_PIPELINE, device=settings.device)
    judged = JudgedScenes(scenes, reward, pipeline, settings.device, anchors)
    count = min(settings.count, len(scenes))
    referees = independent_referees(settings.referee, settings.device)
    identity = _identity(settings, store, str(judge.card.sha256))
    kept = KeptFindings(settings.out / "found", identity)
    found: dict[str, Found] = {}
    seconds: dict[str, float] = {}
    for contender in contenders(settings, prior, agents, count):
        named, seconds[contender.name] = kept.run(contender, judged)
        found |= named
    measured: dict[str, Measured] = {}
    for name, what in track(list(found.items()), "measuring"):
        parts = batches(len(what.theta))
        measured[name] = joined(
            [measure(judged, rows, rows_of(what, rows), referees) for rows in parts]
        )
    if settings.libraw:
        side = scenes.linear.shape[-2:]
        for name, pictures in libraw_renderings(store.names()[:count], side).items():
            measured[name] = joined(
                [
                    measure_pictures(judged, rows, torch.from_numpy(pictures[rows]), referees)
                    for rows in batches(count)
                ]
            )
    best = f"CMA-ES, {max(settings.cma, default=0)}"
    results = {
        "scenes": count,
        "best search": best,
        "trials": {
            one.name: asdict(tried) | {"accuracy": tried.accuracy, "used": tried.used}
            for one in track(referees, "trying the referees")
            for tried in [trial(one, judged, np.arange(count), settings.seed)]
        },
        "controls": {
            name: summarise(values, measured[NEUTRAL], measured.get(best, {}))
            for name, values in measured.items()
        },
        "agent": over_seeds(measured, [f"{AGENT} {n}" for n in range(len(agents))]),
        "against controls": {
            other: pairs(measured, other) for other in measured if not other.startswith(AGENT)
        },
        "files": on_files(files, settings, reward, prior, agents, max(scenes.linear.shape[-2:])),
        "seconds per scene": seconds,
        "settings": {k: v for k, v in asdict(settings).items() if not isinstance(v, Path | list)},
        "judge": f"{judge.card.name} {judge.card.sha256}",
        "data_sha256": store.sha256(),
        "versions": versions() | {"stable-baselines3": version("stable-baselines3")},
    }
    with atomic_path(settings.out / "agents.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    with atomic_path(settings.out / "agents.md") as temporary:
        temporary.write_text(table(results))
    write_figure(settings.out / "agents.png", results)
    show(table(results))


def contenders(
    settings: Settings, prior: Agent | None, agents: Sequence[Agent], count: int
) -> list[Contender]:
    """List every control, and how many of the scenes it sees."""
    costly = min(settings.costly, count)
    searches = (
        ("CMA-ES", settings.cma, partial(cma_es, seed=settings.seed)),
        ("gradient ascent", settings.gradient, gradient_ascent),
        ("random search", settings.random, partial(random_search, seed=settings.seed)),
    )
    return [
        *quick_contenders(settings, prior, agents, count),
        Contender("nearest to the truth", fit_truth(FIT_STEPS), costly, str(FIT_STEPS)),
        *(
            Contender(name, search(budgets), costly, "-".join(map(str, budgets)), search=True)
            for name, budgets, search in searches
            if budgets
        ),
    ]


def quick_contenders(
    settings: Settings, prior: Agent | None, agents: Sequence[Agent], count: int
) -> list[Contender]:
    """Return the controls that take a few renders of a scene at most."""
    versions = [_content(path) for path in settings.agents]
    players = [
        Contender(f"{AGENT} {number}", controller(agent), count, version)
        for number, (agent, version) in enumerate(zip(agents, versions, strict=True))
    ]
    priors = []
    if prior is not None:
        version = prior_identity(settings.prior)[:12]
        priors = [Contender(PRIOR, prior_control(prior), count, version)]
    return [
        Contender(NEUTRAL, neutral, count),
        Contender("auto-adjust", auto_adjust, count),
        *priors,
        *players,
        *refinements(settings.refined, [*priors, *players], count),
    ]


def refinements(
    budgets: Sequence[int], players: Sequence[Contender], count: int
) -> list[Contender]:
    """Return a few gradient steps, from each agent's choice and, for comparison, from neutral."""
    if not budgets:
        return []
    return [
        Contender(
            f"{start.name}, refined",
            refined(start.control, budgets),
            count,
            "-".join(map(str, [*filter(None, [start.version]), REFINING_RATE, *budgets])),
        )
        for start in (*players, Contender(NEUTRAL, neutral, count))
    ]


def on_files(
    paths: Sequence[Path],
    settings: Settings,
    reward: QualityReward,
    prior: Agent | None,
    agents: Sequence[Agent],
    side: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure agents and quick controls on real RAW files: file -> control -> measures.

    Files are named from their common folder on; those that cannot be read are left out, and the log
    says why.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    row = np.zeros(1, np.int64)
    paths = [path.resolve() for path in paths]
    folder = os.path.commonpath([path.parent for path in paths]) if paths else ""
    for path in track(paths, "files"):
        try:
            scene = PreviewSet.of([read_raw(path)], side)
        except (IspEnvError, OSError) as error:
            logging.error("%s", error)
            continue
        anchors = None
        if prior is not None:
            anchors = prior_thetas(prior, scene, DEFAULT_PIPELINE, device=settings.device)
        judged = JudgedScenes(scene, reward, DEFAULT_PIPELINE, settings.device, anchors)
        found[os.path.relpath(path, folder)] = {
            each.name: {
                name: float(values[0])
                for name, values in measure(judged, row, each.control(judged, row)).items()
            }
            for each in quick_contenders(settings, prior, agents, 1)
        }
    return found


def summarise(values: Measured, start: Measured, best: Measured) -> dict[str, Any]:
    """Means, and changes against neutral with intervals; the share of the best search's gain."""
    count = len(values["score"])
    changes = {
        name: asdict(compare(values[name], start[name][:count]))
        for name in values
        if name != "renders"
    }
    summary: dict[str, Any] = {
        "scenes": count,
        "by distance of neutral": by_distance(values, start),
        "mean": {name: _finite_mean(v) for name, v in values.items()},
        "change": changes,
    }
    if best:
        both = slice(min(count, len(best["score"])))
        gains = {
            name: [np.mean(one[name][both] - start[name][both]) for one in (values, best)]
            for name in ("score", "potential")
        }
        summary["share of the best search"] = {
            name: float(own / searched) for name, (own, searched) in gains.items() if searched > 0
        }
    return summary


def by_distance(values: Measured, start: Measured) -> dict[str, Any]:
    """Compute the change of CIEDE2000 to the truth, by the distance of the neutral rendering."""
    if TRUTH not in values:
        return {}
    after = -np.asarray(values[TRUTH])
    before = -np.asarray(start[TRUTH][: len(after)])
    change = after - before
    told: dict[str, Any] = {"worse by more than 2": float((change > 2).mean())}
    for low, high in BANDS:
        inside = (before >= low) & (before < high)
        if inside.any():
            told[f"{low} to {high}"] = {
                "scenes": int(inside.sum()),
                "change": float(change[inside].mean()),
                "nearer": float((change[inside] < 0).mean()),
            }
    return told


def _finite_mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def over_seeds(measured: Mapping[str, Measured], agents: Sequence[str]) -> dict[str, Any]:
    """Return the mean and standard deviation, over the seeds, of the agents' mean changes."""
    start = measured[NEUTRAL]
    every = [measured[name] for name in agents]
    names = [name for name in start if name != "renders"]
    gains = {n: [compare(values[n], start[n]).mean for values in every] for n in names}
    return {
        name: {
            "mean": float(np.mean(g)),
            "deviation": float(np.std(g, ddof=1)) if len(g) > 1 else None,
            "seeds": g,
        }
        for name, g in gains.items()
    }


def pairs(measured: Mapping[str, Measured], other: str) -> dict[str, Any]:
    """Compare each agent with another controller, and their mean, on the scenes that both saw."""
    theirs = measured[other]
    both = len(theirs["score"])
    ours = {name: values for name, values in measured.items() if name.startswith(AGENT)}
    for kind in ("", ", refined"):
        seeds = [v for name, v in ours.items() if name.endswith("refined") == bool(kind)]
        if len(seeds) > 1:  # of each scene, the mean of the seeds
            mean = {key: np.mean([one[key] for one in seeds], axis=0) for key in seeds[0]}
            ours[f"mean of {len(seeds)} seeds{kind}"] = mean
    return {
        name: {
            key: asdict(compare(values[key][:both], theirs[key][: len(values[key])]))
            for key in values
            if key != "renders"
        }
        for name, values in ours.items()
    }


def _content(agent: Path) -> str:
    """Hash the card and the weights."""
    content = b"".join(path.read_bytes() for path in agent_files(agent))
    return hashlib.sha256(content).hexdigest()[:12]


def _identity(settings: Settings, store: PreviewStore, judge: str) -> str:
    """Hash scenes, judge, reward and seed; what a control is, its version says."""
    anchored = "none" if settings.prior == "none" else prior_identity(settings.prior)
    said = [store.sha256(), judge, asdict(settings.reward), settings.seed, anchored]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main(parsed(Settings))
