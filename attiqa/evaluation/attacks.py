"""Adversarial pictures: small changes of every sample that move a score along its gradient.

All of them stay within `radius` of the photograph in each sample (the maximum norm):

- FGSM: one step of the whole radius (Goodfellow et al., ICLR 2015);
- I-FGSM: many steps of 1/255 (Kurakin et al., Adversarial examples in the physical world, 2017);
- PGD: the same from a random start, with larger steps (Madry et al., ICLR 2018).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b 3 h w"]
Score = Callable[[Images], Float[Tensor, " b"]]

LEVELS = 255
"""Steps of 8 bits."""


@dataclass(frozen=True)
class Attack:
    """How a picture is attacked.

    Attributes:
        radius: Largest change of a sample, of the range [0, 1]; whole 8-bit levels.
        steps: Steps along the sign of the gradient.
        step: Change of each sample by a step.
        random_start: Begin somewhere within the radius instead of at the photograph.
    """

    radius: float
    steps: int
    step: float
    random_start: bool = False


def fgsm(radius: float) -> Attack:
    """Return the attack of one step."""
    return Attack(radius, 1, radius)


def iterative_fgsm(radius: float) -> Attack:
    """Return the attack of steps of 1/255; their number is that of Kurakin et al., section 2.2."""
    levels = radius * LEVELS
    return Attack(radius, math.floor(min(levels + 4, 1.25 * levels)), 1 / LEVELS)


def pgd(radius: float, steps: int = 10) -> Attack:
    """Return the attack from a random start; its steps reach 2.5 times as far as the radius."""
    return Attack(radius, steps, 2.5 * radius / steps, random_start=True)


def attacked(
    score: Score, photos: Images, attack: Attack, direction: int = 1, seed: int = 0
) -> Images:
    """Attack photographs; the result has whole 8-bit levels, as a file would.

    Args:
        score: Differentiable; each photograph's score depends on that photograph alone.
        photos: Display RGB in [0, 1], whole 8-bit levels.
        attack: How.
        direction: 1 raises the score, -1 lowers it.
        seed: Of the random start.
    """
    radius, changed = attack.radius, photos
    if attack.random_start:
        generator = torch.Generator(photos.device).manual_seed(seed)
        noise = torch.rand(photos.shape, generator=generator, device=photos.device)
        changed = (photos + radius * (2 * noise.to(photos) - 1)).clamp(0, 1)
    for _ in range(attack.steps):
        changed = changed.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(changed).sum(), changed)
        moved = changed.detach() + direction * attack.step * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, photos - radius), photos + radius)
        changed = moved.clamp(0, 1)
    # photographs have whole levels: a rounded change stays within a radius of whole levels
    return ((changed * LEVELS).round() / LEVELS).clamp(0, 1)
