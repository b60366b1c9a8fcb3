"""Random draws from the ladders of distortions, for training."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attiqa.distortions import LADDERS, distort


class DistortedPairs(NamedTuple):
    """Two versions of photographs, both distorted on one side of one ladder, mild and strong."""

    sources: Int[Tensor, " n"]
    mild: Float[Tensor, "n 3 h w"]
    strong: Float[Tensor, "n 3 h w"]
    mild_steps: Float[Tensor, " n"]
    strong_steps: Float[Tensor, " n"]


def distort_some(
    images: Float[Tensor, "b 3 h w"], share: float, random: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Apply one random level of one random ladder to a random share of the images."""
    result = images.clone()
    for index in torch.nonzero(torch.rand(len(images), generator=random) < share).flatten():
        ladder = LADDERS[_draw(len(LADDERS), random)]
        level = ladder.levels[_draw(len(ladder.levels), random)]
        seed = _draw(2**31, random)
        result[index] = distort(images[index, None], ladder, level, seed)[0]
    return result


def distorted_pairs(
    images: Float[Tensor, "b 3 h w"], sources: Int[Tensor, " n"], random: torch.Generator
) -> DistortedPairs:
    """Distort images twice: a random side of a random ladder, a milder and a stronger level."""
    views, steps = [], []
    for index in sources:
        ladder = LADDERS[_draw(len(LADDERS), random)]
        side = ladder.sides[_draw(len(ladder.sides), random)]
        mild, strong = sorted(torch.randperm(len(side), generator=random)[:2].tolist())
        seed, image = _draw(2**31, random), images[index, None]
        views += [distort(image, ladder, side[step], seed) for step in (mild, strong)]
        steps += [mild + 1, strong + 1]
    stacked = torch.cat(views) if views else images[:0]
    counted = torch.tensor(steps, dtype=images.dtype, device=images.device)
    return DistortedPairs(sources, stacked[::2], stacked[1::2], counted[::2], counted[1::2])


def _draw(count: int, random: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=random))
