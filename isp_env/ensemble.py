"""Several quality models as one judge: what pleases one of them alone earns little."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isp_env.rewards import Judge, Judgement, judgement


@dataclass(frozen=True)
class Member:
    """A judge, with the mean and the standard deviation of its scores on photographs."""

    judge: Judge
    mean: float
    deviation: float

    @classmethod
    def calibrated(cls, judge: Judge, photos: Iterable[Float[Tensor, "b 3 h w"]]) -> "Member":
        """Measure mean and deviation on batches of display RGB.

        Raises:
            ValueError: The judge gives all photographs the same score.
        """
        with torch.inference_mode():
            scores = torch.cat([judgement(judge, batch).score for batch in photos])
        deviation = scores.std(correction=0).item()
        if not deviation > 0:
            raise ValueError(f"the scores of {len(scores)} photographs do not differ")
        return cls(judge, scores.mean().item(), deviation)


@dataclass(frozen=True)
class EnsembleJudge:
    """Mean of the members' z-scores, less `confidence` times their standard deviation.

    Attributes and features are those of the first member. One unit of the score is a standard
    deviation of the scores of photographs: a `RewardSettings.scale` of 1 fits.

    Attributes:
        members: Quality models that agree on what good pictures are, and err in different ways.
        confidence: 0 gives the mean, more a lower confidence bound.
    """

    members: tuple[Member, ...]
    confidence: float = 0.0

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Judgement:
        """Judge display RGB; differentiable where the members are."""
        said = [judgement(member.judge, images) for member in self.members]
        scores = torch.stack(
            [
                (each.score - member.mean) / member.deviation
                for each, member in zip(said, self.members, strict=True)
            ]
        )
        bound = scores.mean(0) - self.confidence * scores.std(0, correction=0)
        return said[0]._replace(score=bound)
