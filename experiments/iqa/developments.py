"""Developments of simulated shots with their distances to the truth: what the reward learns from.

Of each shot the reference that the model knows, which is a prior's development or the neutral
rendering, the truth, and developments between and beyond: settings of the knobs, pictures on the
way from neutral to the truth, edits that optimisers overdo, and settings that the model itself
likes better than others, so that it learns where it errs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from kornia.filters import gaussian_blur2d
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from torch.nn import functional

from agents.evaluation.broken_edits import haloed, overexposed, saturated
from isp_env.color.rgb import srgb_decode, srgb_encode
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.random_shots import Shots, ShotSettings, random_shots
from isp_env.scenes.truths import random_crops, random_size

Slope = Callable[[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]], Float[Tensor, " b"]]
"""(developments, references) -> predicted distance of each, differentiable."""
Prior = Callable[[Shots], Float[Tensor, "b d"]]


@dataclass(frozen=True)
class DevelopmentSettings:
    """What is drawn.

    Attributes:
        shots: Shots of a batch.
        long_side: Their pixels.
        settings: Developments of a shot by random settings of the knobs, about neutral or about
            the prior's.
        neutral_every: In every so many batches, the reference is the neutral rendering.
        between: Developments of a shot on the way from neutral to the truth, or a little beyond.
        edits: Edits of neutral, of the truth or of another development.
        spreads: Standard deviations of theta, each as often.
        ascended_every: In every so many batches, the settings of the knobs are moved to where the
            model finds them best; 0 for never.
        ascent: Length of that move in theta, at most.
        detail_weight: Weight of the difference in fine detail (mean of RGB, in percent; the full
            resolution less the half) beside CIEDE2000 at half the resolution.
    """

    shots: int = 16
    long_side: int = 128
    settings: int = 3
    neutral_every: int = 4
    between: int = 1
    edits: int = 1
    spreads: tuple[float, ...] = (0.1, 0.25, 0.45)
    ascended_every: int = 3
    ascent: float = 0.6
    detail_weight: float = 0.5


class Developments(NamedTuple):
    """Pictures of k developments of s shots; the first is the reference, the last the truth."""

    images: Float[Tensor, "s k 3 h w"]
    distance: Float[Tensor, "s k"]  # to the truth, in units of CIEDE2000


def simulated_developments(
    photos: list[UInt8[np.ndarray, "_ _ 3"]],
    shots: ShotSettings,
    settings: DevelopmentSettings,
    seed: int,
    number: int,
    predict: Slope | None = None,
    prior: Prior | None = None,
) -> Developments:
    """Make batch `number`; it depends on (seed, number), on `predict` and `prior` if given."""
    random = np.random.default_rng((seed, number))
    rows = random.choice(len(photos), settings.shots, replace=len(photos) < settings.shots)
    size = random_size(random, settings.long_side)
    truth = random_crops([photos[row] for row in rows], size, random)
    numbers = torch.Generator().manual_seed(int(random.integers(2**62)))
    shot = random_shots(truth, numbers, shots)
    zeros = torch.zeros(len(truth), len(DEFAULT_PIPELINE.parameters))
    neutral = reference = _render(shot, zeros)
    images, centres = [neutral], [zeros]
    if prior is not None:
        centres.append(prior(shot))
        images.append(_render(shot, centres[1]))
        if number % settings.neutral_every:
            images.reverse()
            reference = images[0]
    ascended = settings.ascended_every and number % settings.ascended_every == 0
    for index in range(settings.settings):
        theta = random_theta(len(truth), settings.spreads, numbers)
        theta = (theta + centres[index % len(centres)]).clamp(-1, 1)
        if predict is not None and ascended and index == settings.settings - 1:
            theta = _ascended(shot, theta, reference, settings.ascent, predict, numbers)
        images.append(_render(shot, theta))
    for _ in range(settings.between):
        part = 0.1 + 1.1 * torch.rand(len(truth), 1, 1, 1, generator=numbers)
        images.append((neutral + part * (truth - neutral)).clamp(0, 1))
    for _ in range(settings.edits):
        start = random.choice(3, len(truth), p=(0.3, 0.4, 0.3))
        sources = [(neutral, truth, images[1])[one][row] for row, one in enumerate(start)]
        images.append(torch.stack([random_edit(one, random, numbers) for one in sources]))
    images.append(truth)
    joined = torch.stack(images, dim=1)
    return Developments(joined, distances(joined, truth, settings.detail_weight))


def random_theta(
    count: int, spreads: tuple[float, ...], random: torch.Generator
) -> Float[Tensor, "b d"]:
    """Draw settings of the knobs: near neutral or far from it, all knobs or a few."""
    knobs = len(DEFAULT_PIPELINE.parameters)
    spread = torch.tensor(spreads)[torch.randint(len(spreads), (count,), generator=random)]
    few = torch.rand(count, 1, generator=random) < 0.4
    moved = torch.rand(count, knobs, generator=random) < torch.where(few, 0.25, 1.0)
    theta = torch.randn(count, knobs, generator=random) * torch.where(few[:, 0], 2.0, 1.0)[:, None]
    return (theta * spread[:, None] * moved).clamp(-1, 1)


@torch.no_grad()
def _render(shot: Shots, theta: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 h w"]:
    return DEFAULT_PIPELINE(shot.linear, theta, shot.noise)


def _ascended(
    shot: Shots,
    theta: Float[Tensor, "b d"],
    reference: Float[Tensor, "b 3 h w"],
    most: float,
    predict: Slope,
    random: torch.Generator,
) -> Float[Tensor, "b d"]:
    """Move theta down the predicted distance, by a random length."""
    knobs = theta.clone().requires_grad_()
    distance = predict(DEFAULT_PIPELINE(shot.linear, knobs, shot.noise), reference)
    (slope,) = torch.autograd.grad(distance.sum(), knobs)
    length = most * torch.rand(len(theta), 1, generator=random)
    return (theta - length * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(-1, 1)


def random_edit(
    image: Float[Tensor, "3 h w"], random: np.random.Generator, numbers: torch.Generator
) -> Float[Tensor, "3 h w"]:
    """Apply one edit of a random kind and strength, for the worse mostly."""
    one = image[None]
    kind = random.integers(len(EDITS))
    return EDITS[kind](one, float(random.uniform(0.1, 1)), float(random.choice((-1, 1))), numbers)[
        0
    ].clamp(0, 1)


def _cast(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    gains = torch.exp2(0.6 * amount * torch.randn(1, 3, 1, 1, generator=numbers))
    return srgb_encode((srgb_decode(image) * gains / gains.mean()).clamp(0, 1))


def _exposed(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    return overexposed(image, 2.0 ** (2 * sign * amount))


def _veiled(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    return srgb_encode(srgb_decode(image) * (1 - 0.2 * amount) + 0.2 * amount)


def _gamma(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    return image.clamp(min=1e-4) ** (2.0 ** (sign * amount))


def _chroma(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    return saturated(image, amount if sign > 0 else -0.9 * amount)


def _halo(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    return haloed(image, 0.5 + 2.5 * amount, 0.006 + 0.02 * amount)


def _noise(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    return image + 0.12 * amount * torch.randn(image.shape, generator=numbers)


def _smooth(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    sigma = 0.5 + 2 * amount
    return gaussian_blur2d(image, (13, 13), (sigma, sigma))


def _crushed(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    black = 0.25 * amount
    return (image - black) / (1 - black)


def _contrast(image: Tensor, amount: float, sign: float, numbers: torch.Generator) -> Tensor:
    mean = image.mean((1, 2, 3), keepdim=True)
    return mean + (image - mean) * 2.0 ** (sign * amount)


EDITS = (
    *(_cast, _exposed, _veiled, _gamma, _chroma),
    *(_halo, _noise, _smooth, _crushed, _contrast),
)


@torch.no_grad()
def distances(
    images: Float[Tensor, "s k 3 h w"], truth: Float[Tensor, "s 3 h w"], detail_weight: float
) -> Float[Tensor, "s k"]:
    """Measure the distance of pictures from the truth in CIEDE2000 (CIE 142-2001)."""
    count = images.shape[1]
    flat, expected = images.flatten(0, 1), truth.repeat_interleave(count, 0)
    coarse = [functional.avg_pool2d(x, 2) for x in (flat, expected)]
    labs = [rgb2lab(x.permute(0, 2, 3, 1).numpy()) for x in coarse]
    color = deltaE_ciede2000(labs[1], labs[0]).mean((1, 2))
    fine = [x.mean(1) for x in (flat, expected)]
    fine = [x - _blocks(x) for x in fine]
    detail = 100 * (fine[0] - fine[1]).abs().mean((1, 2))
    total = torch.from_numpy(color).float() + detail_weight * detail
    return total.unflatten(0, (-1, count))


def _blocks(x: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Return means over 2 x 2 pixels at full resolution."""
    means = functional.avg_pool2d(x[:, None], 2)
    return means.repeat_interleave(2, -2).repeat_interleave(2, -1)[:, 0]
