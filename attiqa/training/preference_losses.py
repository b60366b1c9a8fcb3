"""Losses of preferences: how often one photograph is judged better than another.

Opinions about a photograph are taken for normally distributed (Thurstone, A law of comparative
judgment, Psychological Review 1927): the difference of two has the sum of their variances. A
predicted score is the mean of opinions of one deviation, the `unit`, for all photographs (Case V).
"""

import math
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.special import log_ndtr, ndtr

from attiqa.training.settings import PreferenceLoss


def preference_probability(
    difference: Float[Tensor, " p"], variance: Float[Tensor, " p"]
) -> Float[Tensor, " p"]:
    """Compute how often the first of two opinions is the higher one: `Phi(d / sqrt(v))`.

    Args:
        difference: Of the means.
        variance: Sum of the two variances; where it is 0, the sign of the difference decides.
    """
    certain = variance == 0
    spread = torch.where(certain, 1, variance).sqrt()
    return torch.where(certain, (difference.sign() + 1) / 2, ndtr(difference / spread))


def fidelity_loss(
    scores: Float[Tensor, " b"],
    mos: Float[Tensor, " b"],
    deviations: Float[Tensor, " b"],
    unit: float,
) -> Float[Tensor, ""]:
    """Average the fidelity loss over all pairs of a batch; zero where there is none.

    As in UNIQUE (Zhang, Ma, Zhai and Yang, Uncertainty-aware blind image quality assessment in the
    laboratory and wild, IEEE TIP 2021, Eq. 1 to 5) the target of a pair is the probability that one
    photograph is better, from means and deviations of opinions. It depends on no scale, so that
    data sets can be mixed. UNIQUE predicts a deviation for each photograph; here it is the unit.

    Args:
        scores: Predictions.
        mos: Mean opinion scores, on any scale.
        deviations: Of the opinions, on that scale.
        unit: Deviation of opinions on the scale of the predictions.
    """
    first, second = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
    variance = deviations[first].square() + deviations[second].square()
    shares = preference_probability(mos[first] - mos[second], variance)
    return preference_loss(scores[first] - scores[second], shares, unit, "fidelity")


def preference_loss(
    advantage: Float[Tensor, " p"],
    shares: Float[Tensor, " p"],
    unit: float,
    kind: PreferenceLoss = "thurstone",
) -> Float[Tensor, ""]:
    """Average what predicted preferences cost over pairs; zero where there is none.

    | kind | predicted share p of those who prefer the first | cost beside the true share q |
    |---|---|---|
    | `thurstone` | `Phi(advantage / (sqrt(2) unit))` | cross-entropy |
    | `bradley-terry` | `1 / (1 + exp(-pi advantage / (sqrt(6) unit)))` | cross-entropy |
    | `fidelity` | as `thurstone` | `1 - sqrt(p q) - sqrt((1 - p) (1 - q))` |

    Bradley and Terry's model (Biometrika 1952) is that of opinions with a Gumbel distribution, here
    of deviation `unit`. The fidelity loss (Tsai et al., FRank, SIGIR 2007) is at most 1: a pair
    that the network is wrong about beyond hope has little gradient.

    Args:
        advantage: Score of the first photograph less that of the second.
        shares: Of the people who prefer the first, in [0, 1].
        unit: Deviation of opinions on the scale of the scores.
        kind: Model and cost.

    Raises:
        ValueError: There is no such kind.
    """
    z = advantage / (math.sqrt(2) * unit)
    if kind == "thurstone":
        costs = -shares * log_ndtr(z) - (1 - shares) * log_ndtr(-z)
    elif kind == "bradley-terry":
        logits = math.pi * advantage / (math.sqrt(6) * unit)
        costs = F.binary_cross_entropy_with_logits(logits, shares, reduction="none")
    elif kind == "fidelity":
        costs = 1 - _root(ndtr(z) * shares) - _root(ndtr(-z) * (1 - shares))
    else:
        kinds = ", ".join(get_args(PreferenceLoss))
        raise ValueError(f"preference_loss: expected one of {kinds}; found {kind!r}")
    return costs.sum() / max(len(costs), 1)


def _root(values: Shaped[Tensor, " p"]) -> Shaped[Tensor, " p"]:
    """Take the square root; its gradient at 0 is 0."""
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1).sqrt(), 0)
