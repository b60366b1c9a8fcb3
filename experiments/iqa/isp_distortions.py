"""Wrong developments of good photographs, for a reward model that is to judge an ISP.

A photograph is taken back to scene-linear light and developed again after a mishap of the shot and
with random settings of the knobs. How wrong the result is, is measured against the photograph.
"""

from collections.abc import Sequence

import kornia
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from agents.evaluation.broken_edits import haloed, overexposed, saturated
from attiqa.distortions.training_pairs import DistortedPairs, distorted_pairs, sharpened_pairs
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.stages.tone import inverse_neutral_tone

STEP = 6.0  # mean CIELAB difference from the photograph that counts as one step of a ladder
KNOBS = (
    *("temperature", "tint", "denoise", "exposure", "highlights", "shadows", "whites", "blacks"),
    *("contrast", "gamma", "saturation", "vibrance", "sharpen"),
)
PIPELINE = DEFAULT_PIPELINE.only(KNOBS)
ERRORS = 4 + len(KNOBS)  # of the shot and of the knobs
MOST_STEPS = 6.0  # differences beyond are bad alike


def ladders_and_isp(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Make pairs of all sources: half climb the ladders of `attiqa`, half are developed wrongly."""
    half = len(sources) // 2
    return _joined(
        distorted_pairs(images, sources[:half], random),
        developed_pairs(images, sources[half:], random),
    )


def ladders_isp_and_sharpening(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Return the same, and all sources sharpened as well: a touch, and too much."""
    return _joined(
        ladders_and_isp(images, sources, random), sharpened_pairs(images, sources, random)
    )


def developed_distorted_and_overdone(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """A quarter as `ladders_and_isp`; a quarter distorted, and half overdone, after a development.

    For a judge of renderings whose start is no photograph already, as a neutral rendering after a
    mishap of the shot: it has to know the worse of two wrong pictures.
    """
    quarter, half = len(sources) // 4, len(sources) // 2
    return _joined(
        ladders_and_isp(images, sources[:quarter], random),
        _distorted_besides(images, sources[quarter:half], random),
        _overdone_besides(images, sources[half:], random),
    )


def _distorted_besides(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Make pairs. Mild: developed wrongly. Strong: the same, distorted by a step of a ladder."""
    wrong = developed_pairs(images, sources, random)
    rows = torch.arange(len(sources))
    worse = distorted_pairs(wrong.mild, rows, [random[index] for index in sources.tolist()])
    steps = wrong.mild_steps + worse.strong_steps
    return DistortedPairs(sources, wrong.mild, worse.strong, wrong.mild_steps, steps)


def _overdone_besides(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Make pairs. Mild: developed wrongly. Strong: the same, overdone as optimisers do."""
    wrong = developed_pairs(images, sources, random)
    draws = [torch.rand(3, generator=random[index]).tolist() for index in sources.tolist()]
    edits = [_overdone(one[None], *draw) for one, draw in zip(wrong.mild, draws, strict=True)]
    strong = torch.cat([images[:0], *edits])
    steps = wrong.mild_steps + wrong.mild_steps.new_tensor([1 + 2 * draw[1] for draw in draws])
    return DistortedPairs(sources, wrong.mild, strong, wrong.mild_steps, steps)


def _overdone(image: Float[Tensor, "1 3 h w"], kind: float, amount: float, radius: float) -> Tensor:
    """One of the edits of `agents.evaluation.broken_edits`; all numbers are drawn from [0, 1]."""
    if kind < 1 / 3:
        return saturated(image, 0.4 + 1.2 * amount)
    if kind < 2 / 3:
        return overexposed(image, 2 ** (1 + 3 * amount))
    return haloed(image, 1 + 4 * amount, 0.006 + 0.034 * radius)


def _joined(*kinds: DistortedPairs) -> DistortedPairs:
    return DistortedPairs(*(torch.cat(parts) for parts in zip(*kinds, strict=True)))


@torch.no_grad()
def developed_pairs(
    images: Float[Tensor, "b 3 h w"],
    sources: Int[Tensor, " n"],
    random: Sequence[torch.Generator],
) -> DistortedPairs:
    """Develop photographs wrongly twice: one error, at a part of its strength and at all of it."""
    photos = images[sources]
    numbers = [random[index] for index in sources.tolist()]
    draws = [torch.cat([_random_error(r), torch.rand(1, 1, generator=r)], 1) for r in numbers]
    error, part = torch.cat([torch.zeros(0, ERRORS + 1), *draws]).to(images).split([ERRORS, 1], 1)
    part = 0.15 + 0.6 * part
    views = [_develop(photos, error * part), _develop(photos, error)]
    steps = [(_difference(view, photos) / STEP).clamp(max=MOST_STEPS) for view in views]
    swap = steps[0] > steps[1]  # clipping may hide what the stronger error adds
    chosen = swap[:, None, None, None]
    return DistortedPairs(
        sources,
        torch.where(chosen, views[1], views[0]),
        torch.where(chosen, views[0], views[1]),
        torch.where(swap, steps[1], steps[0]),
        torch.where(swap, steps[0], steps[1]),
    )


def _random_error(random: torch.Generator) -> Float[Tensor, "1 e"]:
    """Error of the shot (exposure, red, blue, veil), mostly few, then theta, mostly sparse."""
    shot = torch.randn(1, 4, generator=random) * torch.tensor([1.0, 0.25, 0.25, 0.08])
    shot = shot * (torch.rand(1, 4, generator=random) < torch.tensor([0.5, 0.3, 0.3, 0.3]))
    theta = 2 * torch.rand(1, ERRORS - 4, generator=random) - 1
    theta = theta * (torch.rand(1, ERRORS - 4, generator=random) < 0.3)
    return torch.cat([shot, theta], dim=1)


def _develop(photos: Float[Tensor, "n 3 h w"], error: Float[Tensor, "n e"]) -> Tensor:
    """Develop with an error; none gives the photograph, lightly sharpened."""
    exposure, red, blue, veil = error[:, :4, None, None, None].unbind(1)
    linear = inverse_neutral_tone(photos)
    linear = linear * (1 - veil.abs()) + veil.abs()
    gains = torch.exp2(exposure + torch.cat([red, torch.zeros_like(red), blue], dim=1))
    return PIPELINE((linear * gains).clamp(max=1), error[:, 4:].contiguous())


def _difference(views: Float[Tensor, "n 3 h w"], photos: Float[Tensor, "n 3 h w"]) -> Tensor:
    """Return the mean CIELAB distance of the pictures reduced to 48 pixels."""
    first, second = (
        kornia.color.rgb_to_lab(functional.adaptive_avg_pool2d(x, 48)) for x in (views, photos)
    )
    return (first - second).square().sum(1).add(1e-6).sqrt().mean((1, 2))
