"""How good controllers are on the same scenes: measured picture by picture, compared in pairs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import bootstrap
from torch import Tensor

from agents.controllers.base import Found
from agents.evaluation.referees import Referee
from agents.evaluation.side_effects import halo, mean_chroma
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import Potential

BATCH = 20  # scenes looked at together
RESAMPLES = 2000

Measured = Mapping[str, Float[np.ndarray, " _"]]
"""Name of a measure -> one value for each scene."""


@dataclass(frozen=True)
class Comparison:
    """A measure on the same scenes under two controllers.

    Attributes:
        mean: Of the differences, first minus second.
        low: End of their mean's 95 % interval (percentile bootstrap over the scenes).
        high: The other end.
        wins: Share of the scenes on which the first is greater; equals count half.
    """

    mean: float
    low: float
    high: float
    wins: float


def batches(count: int) -> Iterable[Int[np.ndarray, " n"]]:
    """Return rows 0..count - 1, a few at a time."""
    return np.split(np.arange(count), range(BATCH, count, BATCH))


@torch.inference_mode()
def measure(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    found: Found,
    referees: Sequence[Referee] = (),
) -> Measured:
    """Look at what a controller chose for the scenes `rows`.

    Returns:
        `score`, `potential`, `renders`; `clipping` (share of samples beyond neutral's), `chroma`
        and `halo` (see `agents.evaluation.side_effects`); and, where the truth is known, the
        opinion of each referee under its name.
    """
    theta = torch.from_numpy(found.theta).to(judged.device)
    neutral, _ = judged.neutral(rows)
    images, potential = judged.judge(rows, theta)
    renders = np.asarray(found.renders, np.float64)
    return _measure(judged, rows, images, neutral, potential, renders, referees)


@torch.inference_mode()
def measure_pictures(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    images: Float[Tensor, "n 3 h w"],
    referees: Sequence[Referee] = (),
) -> Measured:
    """Look at pictures that another program made of the scenes `rows`.

    Args:
        judged: The scenes and the judge.
        rows: Scenes.
        images: Display RGB in [0, 1] of the previews' size.
        referees: As for `measure`.

    Returns:
        As `measure`; the potential is that of the anchor's theta, and no render was made here.
    """
    neutral, _ = judged.neutral(rows)
    images = images.to(neutral)
    potential = judged.judge_images(rows, images)
    return _measure(judged, rows, images, neutral, potential, np.zeros(len(rows)), referees)


def _measure(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    images: Float[Tensor, "n 3 h w"],
    neutral: Float[Tensor, "n 3 h w"],
    potential: Potential,
    renders: Float[np.ndarray, " n"],
    referees: Sequence[Referee],
) -> Measured:
    values: dict[str, np.ndarray] = {
        "score": potential.score.cpu().numpy(),
        "potential": potential.value.cpu().numpy(),
        "renders": renders,
        "clipping": potential.clipping.cpu().numpy(),
        "chroma": mean_chroma(images).cpu().numpy(),
        "halo": halo(images, neutral).cpu().numpy(),
    }
    if judged.scenes.truth is None:
        return values
    truth = judged.scenes.truths(rows, judged.device)
    return values | {each.name: each(images, truth, neutral).cpu().numpy() for each in referees}


def joined(parts: Sequence[Measured]) -> Measured:
    """Return measures of some scenes after those of others."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], seed: int = 0
) -> Comparison:
    """Compare one measure of the same scenes in pairs.

    Scenes of which it says nothing finite are left out; where there are no others, nobody wins.
    """
    told = np.isfinite(first) & np.isfinite(second)
    difference = np.asarray(first[told], np.float64) - np.asarray(second[told], np.float64)
    if not len(difference):
        return Comparison(0.0, 0.0, 0.0, 0.5)
    wins = float(np.mean((difference > 0) + 0.5 * (difference == 0)))
    mean = float(difference.mean())
    if np.ptp(difference) == 0:
        return Comparison(mean, mean, mean, wins)
    interval = bootstrap(
        (difference,),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Comparison(mean, float(interval.low), float(interval.high), wins)
