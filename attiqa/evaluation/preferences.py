"""Statistics of a study of pairs: win rates, Bradley-Terry strengths, agreement with models.

Votes of the same participant, and votes on pictures of the same scene, are not independent: besides
Wilson's interval, which takes every vote for a draw of its own, there is a bootstrap that draws
participants and scenes anew (the pigeonhole bootstrap: Owen, Annals of Applied Statistics 1, 2007).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.sparse.csgraph import connected_components

from attiqa.data.preference_pairs import Preferences
from attiqa.data.rated_photos import Split
from attiqa.evaluation.metrics import Interval, PairAccuracy, preference_accuracy

CONVERGED = 1e-10
"""Largest step of a logarithmic strength after which the iteration ends."""
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Draws:
    """How often each participant and each scene is in a resample.

    Attributes:
        participants: Counts; each row sums to the number of participants.
        scenes: Counts, drawn independently of those.
    """

    participants: Int[np.ndarray, "r p"]
    scenes: Int[np.ndarray, "r s"]

    def sums(self, votes: Float[np.ndarray, "p s"]) -> Float[np.ndarray, " r"]:
        """Sum a table of votes over each resample."""
        return ((self.participants @ votes) * self.scenes).sum(1)


def draw_both(participants: int, scenes: int, resamples: int = 1000, seed: int = 0) -> Draws:
    """Draw participants and scenes with replacement."""
    random = np.random.default_rng(seed)

    def counts(n: int) -> Int[np.ndarray, "r n"]:
        return random.multinomial(n, np.full(n, 1 / n), size=resamples)

    return Draws(counts(participants), counts(scenes))


def wilson_interval(wins: float | int, votes: int, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share (Wilson 1927; Newcombe 1998, method 3).

    Args:
        wins: A tie counts one half.
        votes: All; (0, 1) is returned where there are none.
        level: Of confidence.
    """
    if votes == 0:
        return Interval(0.0, 1.0)
    z = float(stats.norm.ppf((1 + level) / 2))
    share = wins / votes
    middle = share + z**2 / (2 * votes)
    half = z * np.sqrt(share * (1 - share) / votes + z**2 / (4 * votes**2))
    low, high = (middle - half) / (1 + z**2 / votes), (middle + half) / (1 + z**2 / votes)
    return Interval(float(np.clip(low, 0, share)), float(np.clip(high, share, 1)))


def clustered_interval(
    wins: Float[np.ndarray, "p s"],
    votes: Float[np.ndarray, "p s"],
    draws: Draws,
    level: float = 0.95,
) -> Interval:
    """Bootstrap the share of wins over participants and scenes (percentile).

    Args:
        wins: Of each participant in each scene; a tie counts one half.
        votes: Likewise; 0 where the participant has not seen the scene.
        draws: From `draw_both`; resamples without a vote are left out.
        level: Of confidence.

    Raises:
        ValueError: No resample has a vote.
    """
    counted = draws.sums(votes)
    if not counted.any():
        raise ValueError("a bootstrap needs votes")
    shares = draws.sums(wins)[counted > 0] / counted[counted > 0]
    return _percentiles(shares, level)


def unbeaten_groups(wins: Float[np.ndarray, "k k"]) -> list[list[int]]:
    """Divide systems into groups within which everyone is beaten, if only by way of others.

    Bradley-Terry strengths are finite where all systems are one group (Ford 1957; Hunter 2004,
    assumption 1): however the systems are divided in two, each part has won against the other.
    """
    count, labels = connected_components(wins > 0, directed=True, connection="strong")
    return [np.flatnonzero(labels == group).tolist() for group in range(count)]


def bradley_terry(wins: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Fit log-strengths: P(i preferred to j) = exp(b_i) / (exp(b_i) + exp(b_j)), mean b = 0.

    Maximum likelihood by minorisation (Hunter, Annals of Statistics 32, 2004, eq. 3).

    Args:
        wins: How often the system of the row is preferred to that of the column; a tie counts one
            half for each. The diagonal is not read.

    Raises:
        ValueError: Systems fall into several `unbeaten_groups`: no finite strengths fit best.
    """
    groups = unbeaten_groups(wins)
    if len(groups) > 1:
        raise ValueError(f"expected systems that all have won and lost; found the groups {groups}")
    return _strengths(wins[None])[0]


def bradley_terry_intervals(
    wins: Float[np.ndarray, "k k p s"], draws: Draws, level: float = 0.95
) -> list[Interval | None]:
    """Bootstrap the log-strengths over participants and scenes (percentile).

    Args:
        wins: As for `bradley_terry`, of each participant in each scene.
        draws: From `draw_both`.
        level: Of confidence.

    Returns:
        An interval of each system. None for all where so many resamples have no finite strengths
        that the percentiles are not known.
    """
    systems, resamples = len(wins), len(draws.scenes)
    tables = np.zeros((resamples, systems, systems))
    for i, j in zip(*np.nonzero(wins.any((2, 3))), strict=True):
        tables[:, i, j] = draws.sums(wins[i, j])
    finite = np.array([len(unbeaten_groups(table)) == 1 for table in tables])
    if (~finite).mean() > (1 - level) / 2:
        return [None] * systems
    return [_percentiles(column, level) for column in _strengths(tables[finite]).T]


def krippendorff_alpha(counts: Int[np.ndarray, "units categories"]) -> float:
    """Return Krippendorff's alpha of nominal data: 1 for agreement, 0 for chance.

    Participants who have not seen a unit are not counted in it (Krippendorff, Content Analysis,
    third edition, section 12.3). Units with fewer than two votes are left out.

    Args:
        counts: How many participants have put a unit into a category.

    Returns:
        nan where all votes that can be compared are of one category, or there are none.
    """
    counts = counts[counts.sum(1) >= 2]
    votes, totals = counts.sum(1), counts.sum(0)
    n = int(votes.sum())
    expected = n**2 - (totals**2).sum()
    if expected == 0:
        return float("nan")
    observed = ((votes**2 - (counts**2).sum(1)) / (votes - 1)).sum()
    return float(1 - (n - 1) * observed / expected)


def participant_accuracy(
    choices: Float[np.ndarray, "p u"],
) -> PairAccuracy:
    """Count votes that agree with the majority of the other participants: what a person achieves.

    A model's accuracy on the same pairs may be compared with it. Votes where the others are
    undecided or absent are not counted; a tie counts one half.

    Args:
        choices: 1 for the first of a pair, 0 for the second, 0.5 for neither; nan where not seen.
    """
    sign = np.sign(choices - 0.5)  # nan stays nan
    others = np.sign(np.nansum(sign, axis=0) - np.nan_to_num(sign))
    counted = ~np.isnan(sign) & (others != 0)
    agreed = (sign[counted] * others[counted] + 1) / 2
    return PairAccuracy(float(agreed.mean()) if len(agreed) else float("nan"), len(agreed))


def mean_win_probabilities(strengths: Sequence[float] | np.ndarray) -> Float[np.ndarray, " k"]:
    """Return how often each system is expected to be preferred to another one drawn at random."""
    b = np.asarray(strengths, np.float64)
    chances = 1 / (1 + np.exp(b[None] - b[:, None]))
    return (chances.sum(1) - 0.5) / (len(b) - 1)


def _strengths(wins: Float[np.ndarray, "r k k"]) -> Float[np.ndarray, "r k"]:
    """Fit tables whose systems are each one group."""
    k = wins.shape[1]
    wins = wins * (1 - np.eye(k))
    won, met = wins.sum(2), wins + wins.swapaxes(1, 2)
    b = np.zeros(won.shape)
    for _ in range(MOST_STEPS):
        p = np.exp(b)
        new = np.log(won / (met / (p[:, :, None] + p[:, None])).sum(2))
        new -= new.mean(1, keepdims=True)
        step, b = np.abs(new - b).max(), new
        if step < CONVERGED:
            break
    return b


def _percentiles(values: Float[np.ndarray, " n"], level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def measure_preferences(
    predict: Callable[[Sequence[Path]], Float[np.ndarray, " n"]],
    paths: Sequence[Path],
    preferences: Preferences,
    split: Split,
) -> Mapping[str, float]:
    """Count the pairs in the test and validation parts in which a model prefers what most do.

    Args:
        predict: Scores photographs; only those of the two parts are asked for.
        paths: The photographs.
        preferences: Between them.
        split: Rows of the pairs.

    Returns:
        `PART/preference_accuracy` and the number of pairs that people are decided about,
        `PART/preferences`.
    """
    found = {}
    for part in ("test", "validation"):
        pairs = preferences.take(getattr(split, part))
        if not len(pairs):
            continue
        rows, places = np.unique([pairs.first, pairs.second], return_inverse=True)
        first, second = predict([paths[row] for row in rows])[places.reshape(2, -1)]
        agreed = preference_accuracy(first - second, pairs.shares - 0.5)
        found |= {
            f"{part}/preference_accuracy": agreed.share,
            f"{part}/preferences": float(agreed.pairs),
        }
    return found
