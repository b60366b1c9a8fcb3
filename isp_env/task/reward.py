"""What the agent is paid for: a quality score, with penalties that hold an optimiser back.

A learned quality model is not a person, and an optimiser finds where they differ. The potential is
therefore a lower confidence bound of the score over several views of the picture, less a charge for
clipping and for distance from an anchor: the development of a supervised prior, in theta and in
colour. Language models are tuned to preferences in this way (Ziegler et al. 2019,
arXiv:1909.08593), by a penalty for leaving the model that supervision gave; without a prior the
anchor is the neutral rendering. Where the truth of a training scene is known, distance from it may
be charged, too: the score is then not pleased at the cost of the truth. Every weight is a setting;
zero switches it off.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import kornia
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from isp_env.color.difference import cie94, dullness

View = Literal["whole", "flip", "small", "crop"]
Judged = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor | None]


class Judgement(NamedTuple):
    """What a quality model says of pictures; one row per picture, higher is better."""

    score: Float[Tensor, " b"]
    attributes: Float[Tensor, "b k"]
    features: Float[Tensor, "b f"] | None = None  # what the model saw, for those who can use it


@runtime_checkable
class Judge(Protocol):
    """A quality model: display RGB (B, 3, H, W) in [0, 1] -> the fields of a `Judgement`, in order.

    Any tuple of these will do, without features, too; this package knows no particular model.
    """

    def __call__(self, images: Tensor, /) -> Judged:
        """Return scores, attributes and perhaps features of a batch."""
        ...


@runtime_checkable
class ShotJudge(Protocol):
    """A quality model that knows the shot: it sees a picture beside the anchor's of the same shot.

    The anchor is a prior's development, or the neutral rendering where there is no prior.
    """

    def see(self, images: Tensor, /) -> Float[Tensor, "b n"]:
        """Encode display RGB (B, 3, H, W) in [0, 1] for any comparison."""
        ...

    def compare(self, seen: Tensor, anchor: Tensor, /) -> Judged:
        """Score pictures (attributes, perhaps features) beside the anchors' pictures."""
        ...


@dataclass(frozen=True)
class PlainJudge:
    """A function of pictures as a quality model that gives scores and nothing else.

    Attributes:
        score: Display RGB (B, 3, H, W) in [0, 1] -> (B,), the higher the better.
    """

    score: Callable[[Tensor], Any]

    def __call__(self, images: Float[Tensor, "b 3 h w"], /) -> Judged:
        """Score pictures.

        Raises:
            ValueError: The function does not give a number for each picture.
        """
        found, count = self.score(images), len(images)
        score = torch.as_tensor(found) if not isinstance(found, tuple | list) else None
        if score is None or tuple(score.shape) != (count,) or not score.is_floating_point():
            got = type(found).__name__ if score is None else f"{score.dtype} {tuple(score.shape)}"
            raise ValueError(
                f"the reward must give a score for each picture: of a batch of {count} expected a "
                f"floating-point tensor of shape ({count},), got {got}"
            )
        return score.to(images), images.new_empty(count, 0)


@dataclass(frozen=True)
class RewardSettings:
    """Weights of the potential.

    Attributes:
        scale: Potential per unit of the judge's score; a unit of the embedded model's is 1 of
            CIEDE2000.
        views: What the judge looks at; "small" is 3/4 of the size, "crop" the central 7/8.
        confidence: The bound is mean - confidence * standard deviation over the views.
        attribute_weight: Potential per unit of the mean attribute.
        attribute_cap: An attribute above this earns nothing more.
        clipping_weight: Potential per share of samples clipped beyond the neutral rendering's.
        chroma_weight: Potential per 10 units of mean a*b* difference from the anchor's picture
            above the limit.
        chroma_limit: CIELAB a*b* units of that difference that are free.
        theta_weight: Potential per unit of mean squared difference of theta from the anchor's.
        truth_weight: Potential per unit of mean colour difference (CIE94) from the truth and 0.3 of
            `color.difference.dullness`, in scenes whose truth is known.
    """

    scale: float = 0.2
    views: tuple[View, ...] = ("whole",)
    confidence: float = 0.5
    attribute_weight: float = 0.0
    attribute_cap: float = 1.0
    clipping_weight: float = 2.0
    chroma_weight: float = 0.5
    chroma_limit: float = 4.0
    theta_weight: float = 2.0
    truth_weight: float = 0.0

    def leash_free(self) -> "RewardSettings":
        """Return the same without penalties: what an unguarded optimiser does to the judge."""
        return replace(
            self, clipping_weight=0.0, chroma_weight=0.0, theta_weight=0.0, truth_weight=0.0
        )


LEASH = ("clipping", "chroma", "theta", "truth")
SMALL = 32  # pixels of what colours are compared on
DULLNESS = 0.3  # of what is charged for distance from the truth


class Potential(NamedTuple):
    """The potential of a picture and what it is made of; every field has one row per picture."""

    value: Float[Tensor, " b"]
    score: Float[Tensor, " b"]  # the judge's, mean over the views
    attributes: Float[Tensor, "b k"]
    features: Float[Tensor, "b f"]  # the judge's, of the first view; f = 0 where it gives none
    clipping: Float[Tensor, " b"]  # share of clipped samples beyond the neutral rendering's
    chroma: Float[Tensor, " b"]  # mean a*b* difference from the anchor's picture
    leash: Float[Tensor, "b 4"]  # potential lost by each of `LEASH`

    @property
    def observed(self) -> Float[Tensor, " b"]:
        """The value without the charge for distance from the truth, of which no photograph tells.

        A policy that saw that charge while it learned would miss it afterwards.
        """
        return self.value + self.leash[:, LEASH.index("truth")]


class Reference(NamedTuple):
    """What the potential needs to know of a shot; one row per picture."""

    clipped: Float[Tensor, " b"]  # share of clipped samples of the neutral rendering
    seen: Float[Tensor, "b n"]  # what a `ShotJudge` sees of the anchor's picture; else n = 0
    theta: Float[Tensor, "b d"]  # the anchor's
    colors: Float[Tensor, "b 2 32 32"]  # CIELAB a*b* of the anchor's picture
    truth: Float[Tensor, "b 3 s s"]  # display RGB, s = 32, NaN where not known; s = 0: of no scene


@dataclass(frozen=True)
class QualityReward:
    """phi(picture) = scale * LCB(score) + attributes - leash; rewards are its differences.

    Rewards r_t = phi(s_t+1) - phi(s_t) telescope: the return of an episode is phi(final) -
    phi(neutral), so that nothing but the final picture counts (Ng et al. 1999).
    """

    judge: Judge | ShotJudge
    settings: RewardSettings = RewardSettings()

    @classmethod
    def plain(cls, score: Callable[[Tensor], Any], scale: float = 1.0) -> "QualityReward":
        """Make a reward of a function alone: the potential is its score, without any penalty.

        Args:
            score: Display RGB (B, 3, H, W) in [0, 1] -> (B,), the higher the better.
            scale: Potential per unit of the score. Observations show a potential as tanh(x / 4):
                let the scores of good and bad pictures differ by about 1.
        """
        settings = RewardSettings(scale=scale, confidence=0.0).leash_free()
        return cls(PlainJudge(score), settings)

    def reference(
        self,
        neutral: Float[Tensor, "b 3 h w"],
        anchor: Float[Tensor, "b 3 h w"],
        theta: Float[Tensor, "b d"],
        truth: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Reference:
        """Look at neutral renderings, at the pictures of the anchor's `theta`, and at the truth."""
        judge = self.judge
        seen = judge.see(anchor) if isinstance(judge, ShotJudge) else neutral[:, 0, 0, :0]
        small = neutral[:, :, :0, :0] if truth is None else _small(truth)
        return Reference(clipped_share(neutral), seen, theta, opponents(anchor), small)

    def __call__(
        self,
        images: Float[Tensor, "b 3 h w"],
        shot: Reference,
        theta: Float[Tensor, "b d"],
    ) -> Potential:
        """Return the potential of display RGB `images`, rendered with `theta`, of known shots."""
        s = self.settings
        judged = [self._judgement(look(images, view), shot) for view in s.views]
        scores = torch.stack([each.score for each in judged])
        attributes = torch.stack([each.attributes for each in judged]).mean(0)
        features = judged[0].features
        features = images.new_empty(len(images), 0) if features is None else features
        value = s.scale * (scores.mean(0) - s.confidence * scores.std(0, correction=0))
        if attributes.shape[1]:
            value = value + s.attribute_weight * attributes.clamp(max=s.attribute_cap).mean(1)
        clipping = (clipped_share(images) - shot.clipped).clamp(min=0)
        chroma = distance(opponents(images), shot.colors)
        leash = torch.stack(
            [
                s.clipping_weight * clipping,
                s.chroma_weight * (chroma - s.chroma_limit).clamp(min=0) / 10,
                s.theta_weight * (theta - shot.theta).square().mean(1),
                s.truth_weight * self._from_truth(images, shot),
            ],
            dim=1,
        )
        return Potential(
            value - leash.sum(1), scores.mean(0), attributes, features, clipping, chroma, leash
        )

    def _from_truth(self, images: Float[Tensor, "b 3 h w"], shot: Reference) -> Float[Tensor, " b"]:
        """Measure the distance from the truth; 0 where it is not known."""
        if not shot.truth.numel():
            return images.new_zeros(len(images))
        known = torch.isfinite(shot.truth).flatten(1).all(1)
        small, truth = _small(images), shot.truth.nan_to_num(0.5)
        far = cie94(small, truth).mean((1, 2)) + DULLNESS * dullness(small, truth)
        return torch.where(known, far, 0.0)

    def _judgement(self, images: Float[Tensor, "b 3 h w"], shot: Reference) -> Judgement:
        """Ask the judge."""
        judge = self.judge
        if isinstance(judge, ShotJudge):
            score, attributes, *features = judge.compare(judge.see(images), shot.seen)
        else:
            score, attributes, *features = judge(images)
        return Judgement(score, attributes, *features)


def look(images: Float[Tensor, "b 3 h w"], view: View) -> Tensor:
    """Return one view of the pictures."""
    height, width = images.shape[-2:]
    match view:
        case "whole":
            return images
        case "flip":
            return images.flip(-1)
        case "small":
            size = (height * 3 // 4, width * 3 // 4)
            return functional.interpolate(images, size, mode="bilinear", antialias=True)
        case "crop":
            top, left = height // 16, width // 16
            return images[..., top : height - top, left : width - left]


def opponents(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 32 32"]:
    """Return CIELAB a*b* of pictures reduced to 32 pixels."""
    return kornia.color.rgb_to_lab(_small(images))[:, 1:]


def _small(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 32 32"]:
    return functional.adaptive_avg_pool2d(images, SMALL)


def distance(
    first: Float[Tensor, "b 2 h w"], second: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, " b"]:
    """Return the mean distance in the a*b* plane."""
    return ((first - second).square().sum(1) + 1e-6).sqrt().mean((1, 2))


def clipped_share(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Share of samples at the ends of the scale, softly: a ramp over the last 2 % at each end."""
    beyond = (images - 0.98).clamp(min=0) + (0.02 - images).clamp(min=0)
    return beyond.mean((1, 2, 3)) / 0.02
