"""Agreement of predicted scores with human opinion."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy import optimize, special, stats

Values = Float[np.ndarray, " n"]
Statistic = Callable[[Values, Values], float]


EVALUATIONS = 2000
"""Of the logistic fit at the most; scores that say nothing about the opinions need many."""

RESAMPLES_AT_ONCE = 50
"""Of a bootstrap; for 20,000 images they take 50 MB."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class PairAccuracy(NamedTuple):
    """Agreement on the order of pairs."""

    share: float
    """Of the counted pairs, in [0, 1]; nan where none could be counted."""
    pairs: int
    """Pairs with a human order."""


def correlations(scores: Values, mos: Values) -> dict[str, float | bool]:
    """Compute SROCC, PLCC and KROCC in [-1, 1] and the RMSE in units of the MOS.

    Ranks of equal values are averaged (SROCC); KROCC is tau-b. `plcc` and `rmse` are of the raw
    scores, `plcc_mapped` and `rmse_mapped` of the scores after `logistic_map`. Where that fit
    fails, the mapped values repeat the raw ones and `mapped` is False.

    Raises:
        ValueError: Fewer than two images, or one of the two is constant.
    """
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(mos) == 0:
        raise ValueError(
            f"correlations need two or more different values; got {len(scores)} scores"
        )
    fitted = logistic_map(scores, mos)
    mapped = scores if fitted is None else fitted
    return {
        "srocc": srocc(scores, mos),
        "plcc": plcc(scores, mos),
        "krocc": float(cast(Any, stats.kendalltau(scores, mos)).statistic),
        "rmse": rmse(scores, mos),
        "plcc_mapped": plcc(mapped, mos),
        "rmse_mapped": rmse(mapped, mos),
        "mapped": fitted is not None,
    }


def srocc(scores: Values, mos: Values) -> float:
    """Spearman's rank correlation; ranks of equal values are averaged; nan if one is constant."""
    return plcc(stats.rankdata(scores), stats.rankdata(mos))


def plcc(scores: Values, mos: Values) -> float:
    """Return Pearson's linear correlation; nan if one of the two is constant."""
    if np.ptp(scores) == 0 or np.ptp(mos) == 0:
        return float("nan")
    return float(np.clip(np.corrcoef(scores, mos)[0, 1], -1, 1))


def rmse(scores: Values, mos: Values) -> float:
    """Return the root mean squared difference."""
    return float(np.sqrt(np.mean((scores - mos) ** 2)))


def logistic_map(scores: Values, mos: Values) -> Values | None:
    """Map scores to the scale of the MOS by the four-parameter logistic that fits best.

    `b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|))` (VQEG, Final report on the validation of
    objective models of video quality assessment, 2000), by least squares from b1 = max MOS,
    b2 = min MOS, b3 = mean score and b4 = a quarter of the scores' deviation. The curve may fall as
    well as rise: the sign of a correlation is lost in it.

    Returns:
        The mapped scores; None where the fit failed: fewer than five images, no convergence, or a
        flat curve.
    """
    if len(scores) < 5:
        return None
    x = (scores - scores.mean()) / scores.std()

    def curve(b: Float[np.ndarray, "4"]) -> Values:
        return b[1] + (b[0] - b[1]) * special.expit((x - b[2]) * abs(b[3]))

    def slopes(b: Float[np.ndarray, "4"]) -> Float[np.ndarray, "n 4"]:
        share = special.expit((x - b[2]) * abs(b[3]))
        steep = (b[0] - b[1]) * share * (1 - share)
        by_place, by_width = -steep * abs(b[3]), steep * (x - b[2]) * np.sign(b[3])
        return np.stack([share, 1 - share, by_place, by_width], axis=1)

    start = [mos.max(), mos.min(), 0.0, 4.0]  # the last one is 1 / b4
    fit = optimize.least_squares(
        lambda b: curve(b) - mos,
        start,
        jac=slopes,  # pyright: ignore[reportArgumentType]  # scipy also takes a function
        x_scale="jac",
        max_nfev=EVALUATIONS,
    )
    mapped = curve(fit.x)
    flat = np.ptp(mapped) <= 1e-9 * np.ptp(mos)
    return mapped if fit.success and not flat else None


def bootstrap_interval(
    scores: Values,
    mos: Values,
    statistic: Statistic = srocc,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Bootstrap over the images (percentile): what another draw of test images might have shown.

    Draws for which the statistic is nan are left out (a correlation where one side is constant).
    The SROCC of all draws is computed without sorting them (`resampled_srocc`).

    Raises:
        ValueError: It is nan for all of them.
    """
    random, count = np.random.default_rng(seed), len(scores)
    parts = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        rows = min(RESAMPLES_AT_ONCE, resamples - start)
        draws = random.integers(count, size=(rows, count))
        if statistic is srocc:
            times = np.stack([np.bincount(draw, minlength=count) for draw in draws])
            parts.append(resampled_srocc(scores, mos, times))
        else:
            parts.append(np.array([statistic(scores[draw], mos[draw]) for draw in draws]))
    found = np.concatenate(parts)
    found = found[~np.isnan(found)]
    if not len(found):
        raise ValueError("a bootstrap needs two or more different scores and opinions")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def resampled_srocc(
    scores: Values, mos: Values, times: Int[np.ndarray, "r n"]
) -> Float[np.ndarray, " r"]:
    """Compute the SROCC of resamples of images from how often each image was drawn.

    The ranks in a resample follow from the sums of `times` in the order of all images, so that
    nothing is sorted again: linear in the number of images.

    Args:
        scores: Of all n images.
        mos: Of all n images.
        times: How often each was drawn into each of r resamples; every row has the same sum.

    Returns:
        One per resample; nan where the resample has one score or one opinion alone.
    """
    middle = (times.sum(1, keepdims=True) + 1) / 2
    first, second = (_resampled_ranks(values, times) - middle for values in (scores, mos))
    lengths = np.sqrt((times * first**2).sum(1) * (times * second**2).sum(1))
    products = (times * first * second).sum(1)
    return np.divide(products, lengths, out=np.full(len(times), np.nan), where=lengths > 0)


def _resampled_ranks(values: Values, times: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "r n"]:
    """Rank all images within each resample; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    totals = np.add.reduceat(times[:, np.argsort(group, kind="stable")], starts, axis=1)
    ranks = np.cumsum(totals, axis=1) - (totals - 1) / 2
    return ranks[:, group]


def pair_accuracy(
    scores: Values, mos: Values, groups: Shaped[np.ndarray, " n"] | None = None
) -> PairAccuracy:
    """Count the pairs of images that scores and MOS put into the same order.

    Pairs of equal MOS have no order and are not counted; where the scores are equal, the pair
    counts one half, as a guess would.

    Args:
        scores: Predictions.
        mos: Human opinion.
        groups: Only pairs within a group are counted (the prompt that images were generated from).
    """
    agreed, pairs = 0.0, 0
    for index in range(1, len(scores)):
        order = mos[:index] - mos[index]
        if groups is not None:
            order = order * (groups[:index] == groups[index])
        row = preference_accuracy(scores[:index] - scores[index], order)
        agreed += row.share * row.pairs if row.pairs else 0.0
        pairs += row.pairs
    return PairAccuracy(agreed / pairs if pairs else float("nan"), pairs)


def preference_accuracy(advantage: Values, preference: Values) -> PairAccuracy:
    """Compare given pairs with what people preferred.

    Args:
        advantage: Score of the first image of a pair less that of the second.
        preference: Positive where people prefer the first image, negative where the second; zero
            where they are undecided: such a pair is not counted.
    """
    decided = preference != 0
    signs = np.sign(advantage[decided]) * np.sign(preference[decided])
    pairs = int(decided.sum())
    return PairAccuracy(float((signs.mean() + 1) / 2) if pairs else float("nan"), pairs)


def spread(values: Float[np.ndarray, " n"]) -> dict[str, float | int]:
    """Describe the results of several splits: median, quartiles and their number."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {
        "median": float(median),
        "quartile_1": float(low),
        "quartile_3": float(high),
        "splits": len(values),
    }
