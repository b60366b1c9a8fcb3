"""Referees: opinions of pictures that nobody was paid for, and whether they can be trusted.

An agent that is paid by a quality model finds what pleases the model, better or not. Referees that
it was not paid by tell the two apart; before one is believed, it has to tell a good photograph from
a worse one and from deliberately broken ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from kornia.filters import gaussian_blur2d
from torch import Tensor

from isp_env.color import compress_gamut, luminance, scale_chroma, srgb_decode, srgb_encode
from isp_env.fidelity import fidelity

Images = Float[Tensor, "b 3 h w"]
Opinion = Callable[[Images, Images], Float[Tensor, " b"]]

USED_FROM = 0.7
"""A referee is used if so many of its pairs are right."""

BROKEN = ("saturation +100 %", "exposure +3 EV", "halo")
HALO_SIGMA = 0.02  # of the long side
HALO_AMOUNT = 3.0


@dataclass(frozen=True)
class Referee:
    """Somebody with an opinion.

    Attributes:
        name: For tables and figures.
        opinion: (images, truth), encoded sRGB (B, 3, H, W) in [0, 1] -> (B,); higher is better.
    """

    name: str
    opinion: Opinion

    def __call__(self, images: Images, truth: Images) -> Float[Tensor, " b"]:
        """Judge pictures; a referee that needs no truth ignores it."""
        return self.opinion(images, truth)


@dataclass(frozen=True)
class Trial:
    """Which pairs a referee got right.

    Attributes:
        right: Share of scenes for each kind of pair: "truth above neutral", and "neutral above ..."
            for each broken edit.
    """

    right: Mapping[str, float]

    @property
    def accuracy(self) -> float:
        """Mean over the kinds."""
        return sum(self.right.values()) / len(self.right)

    @property
    def used(self) -> bool:
        """Whether the referee may be believed."""
        return self.accuracy >= USED_FROM


def blind(name: str, score: Callable[[Images], Float[Tensor, " b"]]) -> Referee:
    """A referee that knows no truth; `score` is higher for better pictures."""
    return Referee(name, lambda images, truth: score(images))


def full_references() -> tuple[Referee, ...]:
    """PSNR in dB, SSIM, and CIEDE2000 with its sign changed: how near the truth is."""
    signs = {"psnr": ("PSNR", 1.0), "ssim": ("SSIM", 1.0), "ciede2000": ("-CIEDE2000", -1.0)}
    return tuple(Referee(name, _fidelity(key, sign)) for key, (name, sign) in signs.items())


def trial(referee: Referee, truth: Images, neutral: Images, broken: Mapping[str, Images]) -> Trial:
    """Ask whether a referee ranks the truth above neutral above what was broken on purpose.

    Args:
        referee: To be tried.
        truth: Good photographs of some scenes, encoded sRGB in [0, 1].
        neutral: Neutral renderings of the same scenes after mishaps of the shot.
        broken: Worse edits of these, by name: see `broken_edits`.
    """
    middle = referee(neutral, truth)
    right = {"truth above neutral": _share(referee(truth, truth) > middle)}
    for name, images in broken.items():
        right[f"neutral above {name}"] = _share(middle > referee(images, truth))
    return Trial(right)


def broken_edits(neutral: Images, truth: Images) -> dict[str, Images]:
    """Break renderings on purpose, in the ways that optimisers do: the edits named in `BROKEN`.

    Saturation is Oklab chroma, halos are an unsharp mask of a large radius on luma. The exposure is
    3 EV above the truth's mean, not above neutral's: a dark shot may gain by 3 EV.
    """
    linear, target = srgb_decode(neutral), srgb_decode(truth)
    means = [_luminance(x).mean((1, 2, 3), keepdim=True) for x in (linear, target)]
    vivid = scale_chroma(linear.unbind(1), linear.new_tensor(1.0), linear.new_tensor(0.0))
    bright = linear * (2**3 * means[1] / means[0].clamp(min=1e-4))
    sigma = HALO_SIGMA * max(neutral.shape[-2:])
    size = 2 * round(3 * sigma) + 1
    luma = _luminance(neutral)
    smooth = gaussian_blur2d(luma, (size, size), (sigma, sigma))
    edits = (
        srgb_encode(torch.stack(compress_gamut(vivid), dim=1)),
        srgb_encode(bright.clamp(0, 1)),
        neutral + HALO_AMOUNT * (luma - smooth),
    )
    return {name: edit.clamp(0, 1) for name, edit in zip(BROKEN, edits, strict=True)}


def _luminance(images: Images) -> Float[Tensor, "b 1 h w"]:
    return luminance(images.unbind(1))[:, None]


def _fidelity(key: str, sign: float) -> Opinion:
    def opinion(images: Images, truth: Images) -> Float[Tensor, " b"]:
        pairs = zip(images, truth, strict=True)
        return images.new_tensor([sign * fidelity(*pair)[key] for pair in pairs])

    return opinion


def _share(right: Bool[Tensor, " b"]) -> float:
    return right.double().mean().item()
