"""Referees: opinions of pictures that nobody was paid for, and whether they can be trusted.

An agent that is paid by a quality model finds what pleases the model, better or not. Referees that
it was not paid by tell the two apart; before one is believed, it has to tell a good photograph from
a worse one and from deliberately broken ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from isp_env.color import luminance, srgb_decode
from isp_env.fidelity import fidelity
from isp_env.overdone import haloed, overexposed, saturated

Images = Float[Tensor, "b 3 h w"]
Opinion = Callable[[Images, Images], Float[Tensor, " b"]]

USED_FROM = 0.7
"""A referee is used if so many of its pairs are right."""

BROKEN = ("saturation +100 %", "exposure +3 EV", "halo")
HALO_RADIUS = 0.02  # of the long side
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
    means = [luminance(srgb_decode(x).unbind(1)).mean((1, 2)) for x in (neutral, truth)]
    gain = 2**3 * means[1] / means[0].clamp(min=1e-4)
    edits = (
        saturated(neutral, 1.0),
        overexposed(neutral, gain[:, None, None, None]),
        haloed(neutral, HALO_AMOUNT, HALO_RADIUS),
    )
    return dict(zip(BROKEN, edits, strict=True))


def _fidelity(key: str, sign: float) -> Opinion:
    def opinion(images: Images, truth: Images) -> Float[Tensor, " b"]:
        pairs = zip(images, truth, strict=True)
        return images.new_tensor([sign * fidelity(*pair)[key] for pair in pairs])

    return opinion


def _share(right: Bool[Tensor, " b"]) -> float:
    return right.double().mean().item()
