r"""Does more reward mean better photographs, or only more reward?

Climbs the potential of held-out simulated scenes along its gradient through the ISP, the strongest
optimiser there is: with penalties for distance from the prior's development, for distance from
neutral, and without any; an agent that trains long enough follows. What the reward says on the way
is compared with referees that it does not know:

    python experiments/tuning/evaluate_reward_hacking.py --scenes runs/scenes/held_out

The scenes are a store of previews with truths, as `train_agent.py` keeps them. First of all the
referees are tried on developments whose order is known; those that fail are marked as not used. All
ascents begin at neutral, but for one that begins at the prior's development. Writes
reward_hacking.json and reward_hacking.png. `--history` adds the curves of a training run: a line of
JSON for each checkpoint with its `step` and measures by the names used here, as changes against
neutral.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from agents.controllers.prior import prior_thetas
from agents.controllers.search import climb
from agents.evaluation.referees import Referee, trial
from agents.evaluation.side_effects import halo, mean_chroma
from agents.policies import load_agent
from attiqa.files import write_atomically
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.settings import parsed
from experiments.tuning.independent_referees import independent_referees
from experiments.tuning.reward_hacking_figure import write_figure
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_store import PreviewStore
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings, clipped_share

PRIOR, ANCHORED = "penalties from the prior", "the same, begun at the prior"
NEUTRAL, FREE = "penalties from neutral", "no penalties"
CHUNK = 8  # pictures measured at once

Images = Float[Tensor, "b 3 h w"]
Measure = Callable[[Images, Images, Images], Float[Tensor, " b"]]
"""(pictures, their neutral renderings, their truths) -> numbers."""

console = Console()


@dataclass(frozen=True)
class Settings:
    """Look for reward hacking."""

    scenes: Path
    """Store of previews with truths."""
    count: int = 100
    """So many of its scenes, from the first on."""
    steps: int = 100
    """Gradient steps of the ascent."""
    looks: tuple[int, ...] = (0, 2, 5, 10, 20, 35, 50, 75, 100)
    """Steps after which all is measured; neutral and the last step always are."""
    judge: str = "embedded"
    """Quality model of the reward: a name or a path."""
    referee: str = "attiqa-referee"
    """The second quality model: a name or a path."""
    prior: str = "prior"
    """The policy that anchors the penalties: "prior", the embedded one, or the path of its card."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    """The potential; without penalties, the weights of all but the score are zero."""
    weights: tuple[float, ...] = ()
    """Other weights of theta to climb with besides: how the embedded one was chosen."""
    history: Path | None = None
    """JSONL of a training run."""
    out: Path = Path("runs/reward_hacking")
    """Folder for the results."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> None:
    """Try the referees, climb on each leash and without, report."""
    store = PreviewStore.open(settings.scenes)
    scenes = store.previews()
    model = load_model(settings.judge, settings.device)
    prior = load_agent(settings.prior, DEFAULT_PIPELINE, settings.device)
    rows = np.arange(min(settings.count, len(scenes)))
    scenes = scenes.some(rows)
    anchors = prior_thetas(prior, scenes, DEFAULT_PIPELINE, device=settings.device)

    def judged_by(reward: RewardSettings, anchored: bool = True) -> JudgedScenes:
        judge = QualityReward(model.for_reward(), reward)
        theta = anchors if anchored else None
        return JudgedScenes(scenes, judge, device=settings.device, anchors=theta)

    arms = {
        PRIOR: judged_by(settings.reward),
        ANCHORED: judged_by(settings.reward),
        NEUTRAL: judged_by(settings.reward, anchored=False),
        FREE: judged_by(unleashed(settings.reward)),
    }
    for weight in settings.weights:
        arms[f"theta weight {weight:g}"] = judged_by(replace(settings.reward, theta_weight=weight))
    neutral, _ = arms[PRIOR].neutral(rows)
    truth = scenes.truths(rows, settings.device)
    referees = independent_referees(settings.referee, settings.device)
    trials = {referee.name: on_trial(referee, arms[PRIOR], rows) for referee in referees}
    measures = measures_of(referees)
    curves: dict[str, Any] = {
        name: follow(
            judged,
            torch.from_numpy(anchors if name == ANCHORED else 0 * anchors).to(settings.device),
            measures,
            neutral,
            truth,
            settings,
            name,
        )
        for name, judged in arms.items()
    }
    results = {
        "judge": model.card.name,
        "scenes": len(rows),
        "trials": trials,
        "curves": curves,
        "history": read_history(settings.history) if settings.history else [],
        "settings": {k: v for k, v in asdict(settings).items() if not isinstance(v, Path)},
        "data_sha256": store.sha256(),
        "versions": versions(),
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2) + "\n"
    write_atomically(settings.out / "reward_hacking.json", text.encode())
    write_figure(settings.out / "reward_hacking.png", results)
    show(results)


def unleashed(reward: RewardSettings) -> RewardSettings:
    """Return the same views and scale, and nothing that holds an optimiser back."""
    return replace(reward.leash_free(), confidence=0.0, attribute_weight=0.0)


def on_trial(referee: Referee, judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> dict[str, Any]:
    """Try a referee on all scenes."""
    start = time.perf_counter()
    found = trial(referee, judged, rows)
    return {
        "right": dict(found.right),
        "accuracy": found.accuracy,
        "used": found.used,
        "scenes per second": len(rows) / (time.perf_counter() - start),
    }


def measures_of(referees: Sequence[Referee]) -> dict[str, Measure]:
    """Measure what the score may overdo, and the referees' opinion."""
    side_effects: dict[str, Measure] = {
        "clipping": lambda images, neutral, truth: clipped_share(images),
        "chroma": lambda images, neutral, truth: mean_chroma(images),
        "halo": lambda images, neutral, truth: halo(images, neutral),
    }
    return side_effects | {referee.name: _measure(referee) for referee in referees}


def follow(
    judged: JudgedScenes,
    start: Float[Tensor, "n d"],
    measures: dict[str, Measure],
    neutral: Images,
    truth: Images,
    settings: Settings,
    name: str,
) -> dict[str, Any]:
    """Climb, and measure on the way.

    Returns:
        `step`, and for each measure `change`: means against neutral with their 95 % bands `low` and
        `high`, one for each of the steps; `scenes`: how many had a finite value.
    """
    looks = sorted({0, settings.steps, *(n for n in settings.looks if n < settings.steps)})
    rows = np.arange(len(start))
    seen: dict[str, list[np.ndarray]] = {measure: [] for measure in ("score", *measures)}

    def measured(images: Images, score: Tensor) -> dict[str, np.ndarray]:
        values = measure_all(measures, images, neutral, truth)
        return {"score": score.cpu().double().numpy()} | values

    first = measured(neutral, judged.neutral(rows)[1].score)
    path = climb(partial(judged.gradient, rows), start, settings.steps + 1)
    for step, (theta, _) in enumerate(track(path, name, settings.steps + 1, console=console)):
        if step in looks:
            images, potential = judged.judge(rows, theta)
            for measure, values in measured(images, potential.score).items():
                seen[measure].append(values)
    curves: dict[str, Any] = {
        measure: summary(np.stack([first[measure], *v])) for measure, v in seen.items()
    }
    return {"step": looks} | curves


@torch.no_grad()
def measure_all(
    measures: dict[str, Measure], images: Images, neutral: Images, truth: Images
) -> dict[str, Float[np.ndarray, " n"]]:
    """Measure a few pictures at a time."""
    parts = list(zip(*(x.split(CHUNK) for x in (images, neutral, truth)), strict=True))
    return {
        name: torch.cat([measure(*part) for part in parts]).cpu().double().numpy()
        for name, measure in measures.items()
    }


def summary(values: Float[np.ndarray, "looks n"]) -> dict[str, Any]:
    """Average the change over the scenes against neutral, the first row, with 95 % bands."""
    kept = values[:, np.isfinite(values).all(0)]
    change = kept[1:] - kept[0]
    mean, scenes = change.mean(1), change.shape[1]
    band = 1.96 * change.std(1, ddof=1) / np.sqrt(scenes)
    return {
        "neutral": float(kept[0].mean()),
        "change": mean.tolist(),
        "low": (mean - band).tolist(),
        "high": (mean + band).tolist(),
        "scenes": scenes,
    }


def read_history(path: Path) -> list[dict[str, float]]:
    """Return checkpoints of a training run, one line of JSON each."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def show(results: dict[str, Any]) -> None:
    """Print the trials, and where the ascents end."""
    curves = results["curves"]
    table = Table("measure", *curves, "right pairs", "scenes/s")
    for name in list(curves[FREE])[1:]:
        ends = [curve[name] for curve in curves.values()]
        cells = [f"{x['change'][-1]:+.3f} ± {x['high'][-1] - x['change'][-1]:.3f}" for x in ends]
        tried = results["trials"].get(name)
        if tried:
            used = "" if tried["used"] else ", not used"
            cells += [f"{tried['accuracy']:.0%}{used}", f"{tried['scenes per second']:.1f}"]
        table.add_row(name, *cells)
    console.print(table)


def _measure(referee: Referee) -> Measure:
    return lambda images, neutral, truth: referee(images, truth, neutral)


if __name__ == "__main__":
    main(parsed(Settings))
