"""What the answers of a study say: from votes to win rates, strengths and agreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from attiqa.evaluation.metrics import Interval
from attiqa.evaluation.preferences import (
    Draws,
    bradley_terry,
    bradley_terry_intervals,
    clustered_interval,
    draw_both,
    krippendorff_alpha,
    mean_win_probabilities,
    participant_accuracy,
    unbeaten_groups,
    wilson_interval,
)
from experiments.study.key import Key, Participant

COLUMNS = ("participant", "trial", "scene", "first", "second", "preference", "choice", "ms")


@dataclass(frozen=True)
class Checked:
    """How a participant has answered attention checks and repeated pairs."""

    passed: int
    checks: int
    repeated_alike: int
    repeats: int


def votes_of(participants: Sequence[Participant], key: Key) -> pd.DataFrame:
    """Tabulate the votes on pairs; of a repeated pair, the first answer is the vote.

    Returns:
        One row a vote: participant, trial, scene, the two systems in the key's order, preference (1
        for the first, 0 for the second, 0.5 for neither), choice of a side, milliseconds.
    """
    rows = []
    for participant in participants:
        seen = set[int]()
        for answer in participant.answers:
            if answer.trial in key.checks or answer.trial in seen:
                continue
            seen.add(answer.trial)
            first, second = in_order(answer.trial, key)
            preference = {first: 1.0, second: 0.0}.get(answer.chosen or "", 0.5)
            pictures = key.pictures[first], key.pictures[second]
            systems = [picture.system for picture in pictures]
            row = (participant.name, answer.trial, pictures[0].scene, *systems, preference)
            rows.append((*row, answer.choice, answer.ms))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def in_order(trial: int, key: Key) -> tuple[str, str]:
    """Return the files of a pair, that of the system which the key names first."""
    first, second = sorted(
        key.pairs[trial], key=lambda file: key.systems.index(key.pictures[file].system)
    )
    return first, second


def checked(participant: Participant, key: Key) -> Checked:
    """Count passed checks and repeated pairs that were answered alike."""
    passed = checks = alike = repeats = 0
    before: dict[int, str | None] = {}
    for answer in participant.answers:
        if answer.trial in key.checks:
            checks += 1
            passed += answer.chosen is not None and not key.pictures[answer.chosen].degraded
        elif answer.trial in before:
            repeats += 1
            alike += answer.chosen == before[answer.trial]
        before[answer.trial] = answer.chosen
    return Checked(passed, checks, alike, repeats)


def preferences_of(votes: pd.DataFrame, key: Key) -> pd.DataFrame:
    """Average the votes on each pair.

    Returns:
        One row a pair: trial, scene, the two systems in the key's order and their files, share of
        the votes for the first, number of votes.
    """
    rows = []
    for trial, found in votes.groupby("trial", sort=True):
        files = in_order(int(str(trial)), key)
        scene, first, second = (found[name].iloc[0] for name in ("scene", "first", "second"))
        rows.append((trial, scene, first, second, *files, found["preference"].mean(), len(found)))
    names = ("trial", "scene", "first", "second", "first_file", "second_file", "share", "votes")
    return pd.DataFrame(rows, columns=list(names))


def measure(votes: pd.DataFrame, key: Key, resamples: int, seed: int) -> dict[str, Any]:
    """Compute everything that the votes say about the systems, for JSON.

    Args:
        votes: From `votes_of`; one or more.
        key: Of the study.
        resamples: Of the bootstrap over participants and scenes.
        seed: Of the same.
    """
    people, scenes = (sorted(votes[name].unique()) for name in ("participant", "scene"))
    draws = draw_both(len(people), len(scenes), resamples, seed)
    tables = _tables(votes, key.systems, people, scenes)
    choices, milliseconds = votes["choice"].to_numpy(), votes["ms"].to_numpy(np.float64)
    return {
        "votes": len(votes),
        "pairs": votes["trial"].nunique(),
        "win_rates": _win_rates(votes, tables, key.systems, draws),
        "bradley_terry": _strengths(tables, key.systems, draws) if len(key.systems) > 2 else None,
        "agreement": agreement(votes),
        "left": share(int((choices == "left").sum()), int((choices != "none").sum())),
        "median_seconds": float(np.median(milliseconds)) / 1000,
    }


def agreement(votes: pd.DataFrame) -> dict[str, Any]:
    """Measure how far participants agree with each other.

    Alpha counts every pair in both directions, since it does not matter which system is called the
    first: chance is that of a coin, whether or not one system wins most of its pairs.
    """
    choices = votes.pivot(index="participant", columns="trial", values="preference").to_numpy()
    counts = np.stack([(choices == value).sum(0) for value in (1.0, 0.0, 0.5)], axis=1)
    both = np.concatenate([counts, counts[:, [1, 0, 2]]])
    found = participant_accuracy(np.asarray(choices, np.float64))
    return {
        "krippendorff_alpha": _known(krippendorff_alpha(both)),
        "participant_accuracy": _known(found.share),
        "votes": found.pairs,
    }


def share(count: float, total: int) -> dict[str, Any]:
    """Return a share with Wilson's interval."""
    interval = list(wilson_interval(count, total)) if total else None
    return {"share": count / total if total else None, "count": total, "wilson": interval}


def _tables(
    votes: pd.DataFrame, systems: Sequence[str], people: Sequence[str], scenes: Sequence[str]
) -> Float[np.ndarray, "k k p s"]:
    """Count how often a system is preferred to another by each participant in each scene."""
    index = [pd.Index(names).get_indexer for names in (systems, systems, people, scenes)]
    columns = ("first", "second", "participant", "scene")
    i, j, p, s = (find(votes[name].to_numpy()) for find, name in zip(index, columns, strict=True))
    tables = np.zeros((len(systems), len(systems), len(people), len(scenes)))
    preference = votes["preference"].to_numpy(np.float64)
    np.add.at(tables, (i, j, p, s), preference)
    np.add.at(tables, (j, i, p, s), 1 - preference)
    return tables


def _win_rates(
    votes: pd.DataFrame,
    tables: Float[np.ndarray, "k k p s"],
    systems: Sequence[str],
    draws: Draws,
) -> list[dict[str, Any]]:
    found = []
    names = ("first", "second", "trial", "preference")
    first, second, trials, preferences = (votes[name].to_numpy() for name in names)
    for i, j in combinations(range(len(systems)), 2):
        wins, met = tables[i, j], tables[i, j] + tables[j, i]
        won, count = float(wins.sum()), round(met.sum())
        if not count:
            continue
        here = (first == systems[i]) & (second == systems[j])
        found.append(
            {
                "first": systems[i],
                "second": systems[j],
                "share": won / count,
                "votes": count,
                "ties": int((preferences[here] == 0.5).sum()),
                "pairs": len(np.unique(trials[here])),
                "wilson": list(wilson_interval(won, count)),
                "clustered": list(clustered_interval(wins, met, draws)),
            }
        )
    return found


def _strengths(
    tables: Float[np.ndarray, "k k p s"], systems: Sequence[str], draws: Draws
) -> dict[str, Any]:
    """Fit a Bradley-Terry model; where it has none, say between which groups votes are missing."""
    wins = tables.sum((2, 3))
    groups = unbeaten_groups(wins)
    if len(groups) > 1:
        return {"groups": [[systems[i] for i in group] for group in groups]}
    strengths = bradley_terry(wins)
    intervals = bradley_terry_intervals(tables, draws)
    rows = zip(systems, strengths, intervals, mean_win_probabilities(strengths), strict=True)
    return {
        "systems": [
            {
                "system": system,
                "strength": float(strength),
                "interval": _listed(interval),
                "mean_win_probability": float(chance),
            }
            for system, strength, interval, chance in sorted(rows, key=lambda row: -row[1])
        ]
    }


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _known(number: float) -> float | None:
    return None if np.isnan(number) else number
