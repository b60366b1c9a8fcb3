"""Referees: quality metrics that no agent is paid by, and whether they can be trusted.

An agent that is paid by a quality model finds what pleases the model, better or not. Metrics that
it was not paid by tell the two apart; before one is believed, it has to order developments of one
shot as their distance to the truth does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.evaluation.broken_edits import haloed, overexposed, saturated
from agents.evaluation.fidelity import fidelity
from isp_env.color.rgb import luminance, srgb_decode
from isp_env.task.judged_scenes import JudgedScenes

Images = Float[Tensor, "b 3 h w"]
Opinion = Callable[[Images, Images, Images], Float[Tensor, " b"]]

USED_FROM = 0.8
"""A referee is used if it orders so many pairs of developments rightly."""

DEVELOPMENTS = "developments"
PAIRED = 5  # developments of a scene beside the neutral one, by theta from N(0, SPREAD)
SPREAD = 0.25
GAP = 2.0  # CIEDE2000: pairs whose distances to the truth differ by less are left out
BROKEN = ("saturation +100 %", "exposure +3 EV", "halo")
HALO_RADIUS = 0.02  # of the long side
HALO_AMOUNT = 3.0


@dataclass(frozen=True)
class Referee:
    """A named quality metric.

    Attributes:
        name: For tables and figures.
        opinion: (images, truth, neutral renderings), encoded sRGB (B, 3, H, W) in [0, 1] -> (B,);
            higher is better.
    """

    name: str
    opinion: Opinion

    def __call__(self, images: Images, truth: Images, neutral: Images) -> Float[Tensor, " b"]:
        """Judge pictures; a referee ignores what it does not need."""
        return self.opinion(images, truth, neutral)


@dataclass(frozen=True)
class Trial:
    """Which pairs a referee got right.

    Attributes:
        right: Share of each kind of pair: `DEVELOPMENTS`, "truth above neutral", and "neutral above
            ..." for each broken edit.
    """

    right: Mapping[str, float]

    @property
    def accuracy(self) -> float:
        """Share of the pairs of developments."""
        return self.right[DEVELOPMENTS]

    @property
    def used(self) -> bool:
        """Whether the referee may be believed."""
        return self.accuracy >= USED_FROM


def beside_neutral(name: str, score: Callable[[Images, Images], Float[Tensor, " b"]]) -> Referee:
    """Return a referee that sees the picture beside the neutral rendering, and no truth."""
    return Referee(name, lambda images, truth, neutral: score(images, neutral))


def full_references() -> tuple[Referee, ...]:
    """Return PSNR in dB, SSIM, and CIEDE2000 with its sign changed: how near the truth is."""
    signs = {"psnr": ("PSNR", 1.0), "ssim": ("SSIM", 1.0), "ciede2000": ("-CIEDE2000", -1.0)}
    return tuple(Referee(name, _fidelity(key, sign)) for key, (name, sign) in signs.items())


@torch.inference_mode()
def trial(
    referee: Referee, judged: JudgedScenes, rows: Int[np.ndarray, " n"], seed: int = 0
) -> Trial:
    """Ask a referee to order pictures of scenes whose truth is known.

    Args:
        referee: To be tried.
        judged: Held-out scenes with truths.
        rows: Scenes.
        seed: What is developed of a scene depends on (seed, row) alone.
    """
    right: dict[str, list[bool]] = {}
    for row in rows.tolist():
        for name, answers in _tried_on(referee, judged, row, seed).items():
            right.setdefault(name, []).extend(answers)
    return Trial({name: float(np.mean(answers)) for name, answers in right.items()})


def _tried_on(referee: Referee, judged: JudgedScenes, row: int, seed: int) -> dict[str, list[bool]]:
    """Tell which pairs of one scene are ordered rightly, by kind."""
    random = np.random.default_rng((seed, row))
    drawn = SPREAD * random.standard_normal((PAIRED, judged.knobs))
    theta = torch.from_numpy(np.vstack([np.zeros(judged.knobs), drawn]).astype(np.float32))
    images = judged.render(np.full(len(theta), row), theta.clamp(-1, 1).to(judged.device))
    neutral = images[:1]
    truth = judged.scenes.truths(np.array([row]), judged.device)
    pictures = torch.cat([images, truth, *broken_edits(neutral, truth).values()])
    count = len(pictures)
    said = referee(pictures, truth.expand(count, -1, -1, -1), neutral.expand(count, -1, -1, -1))
    distance = [fidelity(image, truth[0])["ciede2000"] for image in images]
    pairs = [
        bool(said[i] > said[j] if distance[i] < distance[j] else said[i] < said[j])
        for i in range(len(images))
        for j in range(i)
        if abs(distance[i] - distance[j]) > GAP
    ]
    found = {DEVELOPMENTS: pairs, "truth above neutral": [(said[len(images)] > said[0]).item()]}
    for number, name in enumerate(BROKEN, len(images) + 1):
        found[f"neutral above {name}"] = [(said[0] > said[number]).item()]
    return found


def broken_edits(neutral: Images, truth: Images) -> dict[str, Images]:
    """Break renderings on purpose, in the ways that optimisers do: the edits named in `BROKEN`.

    Saturation is Oklab chroma, halos are an unsharp mask of a large radius on luma. The exposure is
    3 EV above the truth's mean, not above neutral's: a dark shot may gain by 3 EV.
    """
    means = [luminance(srgb_decode(x).unbind(1)).mean((1, 2)) for x in (neutral, truth)]
    gain = 2**3 * means[1] / means[0].clamp(min=1e-4)
    edits = (
        saturated(neutral, 1.0),
        overexposed(neutral, gain[:, None, None, None]),
        haloed(neutral, HALO_AMOUNT, HALO_RADIUS),
    )
    return dict(zip(BROKEN, edits, strict=True))


def _fidelity(key: str, sign: float) -> Opinion:
    def opinion(images: Images, truth: Images, neutral: Images) -> Float[Tensor, " b"]:
        pairs = zip(images, truth, strict=True)
        return images.new_tensor([sign * fidelity(*pair)[key] for pair in pairs])

    return opinion
