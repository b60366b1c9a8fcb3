"""How a score responds to the knobs of a rendering: can it be fooled by turning one of them?"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from attiqa.attributes import ATTRIBUTES
from attiqa.distortions.ladders import ATTRIBUTE_LADDERS, LADDERS, Ladder, distort

ScoreFunction = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, " b"]]
AttributeFunction = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b 5"]]

_SWEPT = {
    "exposure": tuple(step / 2 for step in range(-6, 7)),
    "saturation": (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
    "sharpening": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
    "focus": (-4.0, -2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0),
}

SWEEPS = tuple(
    replace(ladder, levels=_SWEPT[ladder.name])
    for ladder in (*LADDERS, ATTRIBUTE_LADDERS["sharpness"])
    if ladder.name in _SWEPT
)
"""Controls that have too much of a good thing, from none of it to far too much."""


@dataclass(frozen=True)
class LadderResponse:
    """What a ladder does to the scores of good photographs.

    Attributes:
        peak_near_identity: Share of photographs whose best level is at most one level from 0.
        interior_peak: Share of photographs whose best level is neither the first nor the last.
        srocc: Mean Spearman correlation of score and distance from 0 over photographs and sides;
            -1 where every stronger distortion scores lower.
        pair_accuracy: Share of (photograph, distorted version) pairs that are ordered rightly.
        median_peak: Median of the best levels, in the ladder's unit.
        mean_scores: Mean score at each level.
    """

    peak_near_identity: float
    interior_peak: float
    srocc: float
    pair_accuracy: float
    median_peak: float
    mean_scores: tuple[float, ...]


@torch.no_grad()
def ladder_responses(
    score: ScoreFunction,
    photos: Iterable[Float[Tensor, "3 _ _"]],
    ladders: tuple[Ladder, ...] = LADDERS,
) -> Mapping[str, LadderResponse]:
    """Score each photograph at every level of every ladder.

    Args:
        score: Higher is better.
        photos: Good photographs, display RGB in [0, 1]; those that a distortion can only harm.
        ladders: What is varied.
    """
    photos = list(photos)
    return {
        ladder.name: _summarise(
            ladder, np.stack([score(_climb(photo, ladder)).cpu().numpy() for photo in photos])
        )
        for ladder in ladders
    }


@torch.no_grad()
def attribute_agreement(
    attributes: AttributeFunction,
    photos: Iterable[Float[Tensor, "3 _ _"]],
    ladders: tuple[Ladder, ...] = (*LADDERS, *ATTRIBUTE_LADDERS.values()),
) -> Mapping[str, float]:
    """Correlate, along each ladder that moves an attribute, the level with the attribute's score.

    Args:
        attributes: Scores in the order of `ATTRIBUTES`.
        photos: Clean photographs, display RGB in [0, 1].
        ladders: Those that move no attribute are left out.

    Returns:
        Mean over the photographs of the Spearman correlation, signed so that 1 is perfect.
    """
    photos = list(photos)
    result = {}
    for ladder in ladders:
        if ladder.attribute is not None:
            column = ATTRIBUTES.index(ladder.attribute)
            scores = np.stack(
                [attributes(_climb(photo, ladder))[:, column].cpu().numpy() for photo in photos]
            )
            result[ladder.name] = ladder.sign * float(_srocc(scores, ladder.levels).mean())
    return result


def _climb(photo: Float[Tensor, "3 h w"], ladder: Ladder) -> Float[Tensor, "levels 3 h w"]:
    return torch.cat([distort(photo[None], ladder, level) for level in ladder.levels])


def _srocc(scores: Float[np.ndarray, "n levels"], levels: tuple[float, ...]) -> np.ndarray:
    """Return Spearman correlation of each row with the levels; 0 for a constant row."""
    ranks, order = rankdata(scores, axis=1), rankdata(levels)
    ranks, order = ranks - ranks.mean(1, keepdims=True), order - order.mean()
    norm = np.sqrt((ranks**2).sum(1) * (order**2).sum())
    return ranks @ order / np.where(norm > 0, norm, 1)


def _summarise(ladder: Ladder, scores: Float[np.ndarray, "n levels"]) -> LadderResponse:
    identity = ladder.levels.index(0.0)
    peaks = scores.argmax(axis=1)
    distorted = np.delete(scores, identity, axis=1)
    sroccs = [
        _srocc(scores[:, [ladder.levels.index(v) for v in (0.0, *side)]], (0.0, *map(abs, side)))
        for side in ladder.sides
    ]
    return LadderResponse(
        peak_near_identity=float(np.mean(np.abs(peaks - identity) <= 1)),
        interior_peak=float(np.mean((peaks > 0) & (peaks < len(ladder.levels) - 1))),
        srocc=float(np.mean(sroccs)),
        pair_accuracy=float(np.mean(distorted < scores[:, [identity]])),
        median_peak=float(np.median(np.array(ladder.levels)[peaks])),
        mean_scores=tuple(float(value) for value in scores.mean(axis=0)),
    )
