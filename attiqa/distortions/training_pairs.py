"""Random draws from the ladders of distortions, for training.

Each photograph brings its own random numbers, so that neither its place in the batch nor the number
of processes changes what is drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attiqa.distortions.ladders import ATTRIBUTE_LADDERS, LADDERS, distort

SHARPENING = next(ladder for ladder in LADDERS if ladder.name == "sharpening")
A_TOUCH = (0.15, 0.5)  # amounts of sharpening that a photograph gains by


class DistortedPairs(NamedTuple):
    """Two versions of photographs, both distorted on one side of one ladder, mild and strong.

    Steps are counted from the photograph; a version that is better than it has a negative count.
    """

    sources: Int[Tensor, " n"]
    mild: Float[Tensor, "n 3 h w"]
    strong: Float[Tensor, "n 3 h w"]
    mild_steps: Float[Tensor, " n"]
    strong_steps: Float[Tensor, " n"]


class AttributePairs(NamedTuple):
    """Two versions of photographs at two levels of a ladder that moves one attribute."""

    less: Float[Tensor, "n 3 h w"]
    more: Float[Tensor, "n 3 h w"]
    columns: Int[Tensor, " n"]
    """The attribute that `more` has more of."""


def distort_some(
    images: Float[Tensor, "b 3 h w"], share: float, random: Sequence[torch.Generator]
) -> Float[Tensor, "b 3 h w"]:
    """Apply one random level of one random ladder to a random share of the images."""
    result = images.clone()
    for index, numbers in enumerate(random):
        if torch.rand((), generator=numbers) < share:
            ladder = LADDERS[_draw(len(LADDERS), numbers)]
            level = ladder.levels[_draw(len(ladder.levels), numbers)]
            seed = _draw(2**31, numbers)
            result[index] = distort(images[index, None], ladder, level, seed)[0]
    return result


def distorted_pairs(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Distort images twice: a random side of a random ladder, a milder and a stronger level.

    Args:
        images: Display RGB in [0, 1].
        sources: Rows of the images to distort.
        random: Of each of the images.
    """
    views, steps = [], []
    for index in sources.tolist():
        numbers, image = random[index], images[index, None]
        ladder = LADDERS[_draw(len(LADDERS), numbers)]
        side = ladder.sides[_draw(len(ladder.sides), numbers)]
        mild, strong = sorted(torch.randperm(len(side), generator=numbers)[:2].tolist())
        seed = _draw(2**31, numbers)
        views += [distort(image, ladder, side[step], seed) for step in (mild, strong)]
        steps += [mild + 1, strong + 1]
    stacked = torch.cat(views) if views else images[:0]
    counted = torch.tensor(steps, dtype=images.dtype, device=images.device)
    return DistortedPairs(sources, stacked[::2], stacked[1::2], counted[::2], counted[1::2])


def sharpened_pairs(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Sharpen images a touch, one step better than they are, and too much.

    The quality of a sharpened photograph rises with the amount before it falls (Krasula et al.,
    "Quality assessment of sharpened images", IEEE TIP 2017).
    """
    views, steps = [], []
    side = SHARPENING.sides[0]
    for index in sources.tolist():
        numbers, image = random[index], images[index, None]
        low, high = A_TOUCH
        touch = low + (high - low) * torch.rand((), generator=numbers).item()
        strong = _draw(len(side), numbers)
        views += [distort(image, SHARPENING, amount) for amount in (touch, side[strong])]
        steps += [-1.0, strong + 1.0]
    stacked = torch.cat(views) if views else images[:0]
    counted = torch.tensor(steps, dtype=images.dtype, device=images.device)
    return DistortedPairs(sources, stacked[::2], stacked[1::2], counted[::2], counted[1::2])


def attribute_pairs(
    images: Float[Tensor, "n 3 h w"], attributes: Sequence[str], random: Sequence[torch.Generator]
) -> AttributePairs:
    """Draw for each image an attribute, one of the ladders that move it, and two of its levels.

    Raises:
        ValueError: No ladder moves one of the attributes.
    """
    unknown = [name for name in attributes if name not in ATTRIBUTE_LADDERS]
    if unknown and len(images):
        raise ValueError(f"{unknown}: no ladder moves these attributes; ladder_weight must be 0")
    views, columns = [], []
    for index, numbers in enumerate(random):
        column = _draw(len(attributes), numbers)
        ladders = [ladder for ladder in LADDERS if ladder.attribute == attributes[column]]
        ladders.append(ATTRIBUTE_LADDERS[attributes[column]])
        ladder = ladders[_draw(len(ladders), numbers)]
        chosen = torch.randperm(len(ladder.levels), generator=numbers)[:2]
        less, more = sorted((ladder.levels[i] for i in chosen), key=lambda x: x * ladder.sign)
        seed = _draw(2**31, numbers)
        views += [distort(images[index, None], ladder, level, seed) for level in (less, more)]
        columns.append(column)
    stacked = torch.cat(views) if views else images
    return AttributePairs(
        stacked[::2], stacked[1::2], torch.tensor(columns, dtype=torch.long, device=images.device)
    )


def _draw(count: int, random: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=random))
