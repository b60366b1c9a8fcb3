"""Losses: ranking and regression of attributes and opinion scores, ranking of distortions."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def margin_ranking_loss(
    scores: Float[Tensor, "b a"],
    labels: Float[Tensor, "b a"],
    margin: float = 0.1,
    confidence: bool = False,
) -> Float[Tensor, ""]:
    """Compute the attribute ranking loss over all pairs of a batch (ATTIQA Eq. 3-4).

    For a pair (i, j) and an attribute, `max(0, -1_a(i, j) (f_i - f_j) + margin)` where the
    indicator `1_a` is +1 if the label of i is the higher one and -1 if it is the lower one. Equal
    labels say nothing about an order (Eq. 3 would decide it by the order of the batch): those pairs
    are left out. The mean is over the pairs of an attribute, the sum over the attributes.

    Args:
        scores: Predictions of the heads.
        labels: Pseudo-labels of the teacher; only their order counts.
        margin: 0.1 in the paper.
        confidence: Weight a pair by the share of pairs whose labels lie no farther apart: a teacher
            errs most where it hardly sees a difference. The paper weights all alike.
    """
    scores, labels = scores.T, labels.T
    gaps = labels[:, :, None] - labels[:, None]  # (a, i, j)
    above = gaps > 0  # i is labelled higher than j
    weights = _quantiles(gaps) if confidence else above
    hinge = F.relu((scores + margin)[:, None] - scores[:, :, None])
    total = weights.sum((1, 2))
    return ((hinge * weights).sum((1, 2)) / torch.where(total > 0, total, 1)).sum()


def distribution(
    labels: Float[Tensor, " n"], parts: int = 32
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Return different values of labels, rising, and the share 0..1 of the labels up to each.

    Args:
        labels: At least one.
        parts: The distribution is known by the ends of so many parts of as many labels each; parts
            that end at the same label share a value, and the mean of their shares.
    """
    levels = torch.linspace(0, 1, parts + 1, dtype=labels.dtype, device=labels.device)
    ends = labels.quantile(levels, interpolation="nearest")  # labels: none all but equal
    values, place = ends.unique(return_inverse=True)
    shares = torch.zeros_like(values).scatter_reduce(0, place, levels, "mean", include_self=False)
    return values, shares


def empirical_cdf(
    scores: Float[Tensor, " b"], values: Float[Tensor, " k"], shares: Float[Tensor, " k"]
) -> Float[Tensor, " b"]:
    """Compute the empirical CDF at each score, linear between the values of `distribution`.

    Opinion scores crowd together: half of BIQ2021's lie within a fifth of the scale, where a
    squared error hardly tells one order from another. Their shares lie evenly, as ranks do.

    Args:
        scores: Predictions or labels. Beyond the outermost values the line goes on, below 0 and
            above 1, so that a wild prediction has a gradient, too.
        values: Rising strictly, two at least.
        shares: The function at each of them.
    """
    above = torch.searchsorted(values, scores.detach()).clamp(1, len(values) - 1)
    low, high = values[above - 1], values[above]
    return torch.lerp(shares[above - 1], shares[above], (scores - low) / (high - low))


def _quantiles(gaps: Float[Tensor, "a b b"]) -> Float[Tensor, "a b b"]:
    """Map each positive number to its empirical CDF over its matrix's positives; 0 elsewhere."""
    flat = gaps.clamp(min=0).flatten(1).contiguous()
    positive = (flat > 0).sum(1, keepdim=True)
    ordered = flat.sort(dim=1).values
    up_to = torch.searchsorted(ordered, flat, right=True) - (flat.shape[1] - positive)
    return (up_to / positive.clamp(min=1)).view_as(gaps)


def regression_loss(
    scores: Float[Tensor, "b a"], labels: Float[Tensor, "b a"]
) -> Float[Tensor, ""]:
    """Squared error instead of ranking (the paper's L2 ablation): mean over images, sum over a."""
    return (scores - labels).square().mean(0).sum()


def within_sets(
    loss: Callable[..., Tensor],
    scores: Float[Tensor, " b"],
    mos: Float[Tensor, " b"],
    sets: Int[Tensor, " b"],
    *further: Float[Tensor, " b"],
) -> Float[Tensor, ""]:
    """Return a loss that compares photographs, of those of each data set among themselves.

    People who rated one set saw no other: their scores cannot be compared across sets. The mean
    over the sets, by their photographs in the batch; zero where no set has two.

    Args:
        loss: Takes scores, opinions and what is further known of photographs of one set.
        scores: Predictions.
        mos: Mean opinion scores.
        sets: Number of the data set of each photograph.
        further: More that the loss takes of each photograph.
    """
    columns = (scores, mos, *further)
    if len(sets.unique()) == 1:
        return loss(*columns)
    total, count = scores.sum() * 0, 0
    for each in sets.unique():
        rows = torch.nonzero(sets == each).flatten()
        if len(rows) > 1:
            total = total + len(rows) * loss(*(column[rows] for column in columns))
            count += len(rows)
    return total / max(count, 1)


def plcc_loss(scores: Float[Tensor, " b"], mos: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return 1 - PLCC over the batch: it knows the order, not the scale."""
    return 1 - F.cosine_similarity(scores - scores.mean(), mos - mos.mean(), dim=0)


def norm_in_norm_loss(
    scores: Float[Tensor, " b"], mos: Float[Tensor, " b"], epsilon: float = 1e-8
) -> Float[Tensor, ""]:
    """Norm-in-norm loss with p = 1 and q = 2 (Li, Jiang and Jiang, ACM MM 2020, LinearityIQA).

    Scores and opinions are centred and divided by their length; the absolute differences are summed
    and divided by `2 sqrt(b)`, which they cannot exceed. It knows no scale: it draws the scores
    onto a line with the opinions, and the squared error beside it says which line.
    """
    first, second = (
        centred / (centred.norm() + epsilon)
        for centred in (scores - scores.mean(), mos - mos.mean())
    )
    return (first - second).abs().sum() / (2 * len(scores) ** 0.5)


def distortion_ranking_loss(
    better: Float[Tensor, " n"], worse: Float[Tensor, " n"], margin: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Average `max(0, margin - (better - worse))`: a distortion lowers the score by a margin.

    The hinge of RankIQA (Liu et al., ICCV 2017, Eq. 2). A negative margin says that the second is
    the better one, by so much. Zero for an empty batch.
    """
    hinge = F.relu(margin.abs() - torch.where(margin < 0, worse - better, better - worse))
    return hinge.sum() / max(len(hinge), 1)


def attribute_pairs_loss(
    less: Float[Tensor, "n a"],
    more: Float[Tensor, "n a"],
    columns: Int[Tensor, " n"],
    margin: float = 0.1,
) -> Float[Tensor, ""]:
    """Average Eq. 4 over pairs that differ in one attribute each, and known by how they were made.

    Args:
        less: Scores of the versions with less of the attribute.
        more: Scores of the versions with more of it.
        columns: The attribute of each pair.
        margin: Of Eq. 4.
    """
    gain = (more - less).gather(1, columns[:, None])
    return F.relu(margin - gain).sum() / max(len(columns), 1)
