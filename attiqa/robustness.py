"""How a score responds to the knobs of a rendering: can it be fooled by turning one of them?"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attiqa.distortions import LADDERS, Ladder, distort

ScoreFunction = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, " b"]]


@dataclass(frozen=True)
class LadderResponse:
    """What a ladder does to the scores of good photographs.

    Attributes:
        peak_near_identity: Share of photographs whose best level is at most one level from 0.
        pair_accuracy: Share of (photograph, distorted version) pairs that are ordered rightly.
        median_peak: Median of the best levels, in the ladder's unit.
        mean_scores: Mean score at each level.
    """

    peak_near_identity: float
    pair_accuracy: float
    median_peak: float
    mean_scores: tuple[float, ...]


@torch.no_grad()
def ladder_responses(
    score: ScoreFunction,
    photos: Iterable[Float[Tensor, "3 h w"]],
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
            ladder,
            np.stack(
                [
                    score(torch.cat([distort(photo[None], ladder, v) for v in ladder.levels]))
                    .cpu()
                    .numpy()
                    for photo in photos
                ]
            ),
        )
        for ladder in ladders
    }


def _summarise(ladder: Ladder, scores: Float[np.ndarray, "n levels"]) -> LadderResponse:
    identity = ladder.levels.index(0.0)
    peaks = scores.argmax(axis=1)
    distorted = np.delete(scores, identity, axis=1)
    return LadderResponse(
        peak_near_identity=float(np.mean(np.abs(peaks - identity) <= 1)),
        pair_accuracy=float(np.mean(distorted < scores[:, [identity]])),
        median_peak=float(np.median(np.array(ladder.levels)[peaks])),
        mean_scores=tuple(float(value) for value in scores.mean(axis=0)),
    )
