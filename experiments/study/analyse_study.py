"""Analyse the answers of a user study.

    python experiments/study/analyse_study.py STUDY ANSWERS --out REPORT --models embedded

STUDY is the folder that `experiments/study/make_study.py` wrote, with its key beside it, or the key
itself; ANSWERS are files that participants have saved, or folders of them. Writes

    report.html, report.json   win rates with 95 % intervals, Bradley-Terry strengths, agreement
    preferences.csv            of each pair, the share preferring the first: attiqa evaluate pairs
    votes.csv                  every vote, for other programs
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from attiqa.cli.settings.checks import require_model
from attiqa.files import write_atomically
from attiqa.provenance.versions import versions
from experiments.settings import parsed
from experiments.study import StudyError, status_of
from experiments.study.findings import checked, measure, preferences_of, share, votes_of
from experiments.study.key import Key, Participant, read_answers, read_key
from experiments.study.report import percent, report_page

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Analyse the answers of a user study."""

    study: Positional[Path]
    """Folder of the study, or its key."""
    answers: Positional[tuple[Path, ...]]
    """Answer files, or folders whose .json files are answers."""
    models: tuple[str, ...] = ()
    """Quality models whose accuracy on the pairs is measured: what `load_model` takes."""
    failed_checks: int = 1
    """Participants who fail more attention checks than this are excluded, and so are those who have
    answered none of them."""
    resamples: int = 2000
    """Of the bootstrap over participants and scenes."""
    seed: int = 0
    """Of the bootstrap."""
    out: Path = Path("runs/study_report")
    """Folder for the results."""


@dataclass(frozen=True)
class Gathered:
    """Participants who count, and what was left out.

    Attributes:
        counted: In the order of their files.
        excluded: Name and reason of participants whose files are sound.
        refused: Name and reason of files that are not.
    """

    counted: tuple[Participant, ...]
    excluded: tuple[dict[str, str], ...]
    refused: tuple[dict[str, str], ...]


def main(settings: Settings) -> int:
    """Analyse; return the exit status."""
    return status_of(lambda: analyse(settings))


def analyse(settings: Settings) -> None:
    """Read, measure, write and print."""
    for model in settings.models:
        require_model(model)
    if settings.resamples < 100 or settings.failed_checks < 0:
        raise StudyError("expected --resamples of 100 or more and --failed-checks of 0 or more")
    key = read_key(settings.study)
    gathered = gather(answer_files(settings.answers), key, settings.failed_checks)
    votes = votes_of(gathered.counted, key)
    if votes.empty:
        raise StudyError(
            f"no votes to count: {len(gathered.refused)} files refused, "
            f"{len(gathered.excluded)} participants excluded"
        )
    preferences = preferences_of(votes, key)
    results: dict[str, Any] = {
        "study": key.study,
        "systems": list(key.systems),
        "participants": participants(gathered, key),
        **measure(votes, key, settings.resamples, settings.seed),
        "consistency": consistency(gathered.counted, key),
        "models": model_results(settings, preferences, key),
        "settings": json.loads(json.dumps(asdict(settings), default=str)),
        "versions": versions(),
    }
    write(settings.out, results, votes, preferences, key)
    Console().print(summary(results), str(settings.out / "report.html"), sep="\n")


def answer_files(paths: Sequence[Path]) -> list[Path]:
    """List the files that are named, and those in the folders that are named.

    Raises:
        StudyError: A folder has none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise StudyError(f"{path}: no .json files; expected answers that the page has saved")
        found += inside
    return list(dict.fromkeys(found))


def gather(files: Sequence[Path], key: Key, failed_checks: int) -> Gathered:
    """Read files one by one: a bad one is refused, with a warning, and the others count."""
    counted: dict[str, Participant] = {}
    excluded: list[dict[str, str]] = []
    refused: list[dict[str, str]] = []
    seen: dict[str, Path] = {}
    for file in files:
        try:
            participant = read_answers(file, key)
            if first := seen.get(participant.name):
                raise StudyError(
                    f"{file}: {first} has answers of participant {participant.name} already; "
                    "keep one of the two"
                )
        except StudyError as error:
            log.warning("%s", error)
            refused.append({"file": str(file), "reason": str(error)})
            continue
        seen[participant.name] = file
        if reason := inattentive(participant, key, failed_checks):
            excluded.append({"participant": participant.name, "reason": reason})
        else:
            counted[participant.name] = participant
    return Gathered(tuple(counted.values()), tuple(excluded), tuple(refused))


def inattentive(participant: Participant, key: Key, failed_checks: int) -> str | None:
    """Return why a participant does not count; None where there is no reason."""
    found = checked(participant, key)
    if key.checks and not found.checks:
        return "answered no attention check"
    failed = found.checks - found.passed
    if failed > failed_checks:
        return f"failed {failed} of {found.checks} attention checks"
    return None


def participants(gathered: Gathered, key: Key) -> dict[str, Any]:
    """Describe who took part, for JSON."""
    rows = []
    for participant in sorted(gathered.counted, key=lambda one: (len(one.name), one.name)):
        milliseconds = [answer.ms for answer in participant.answers]
        rows.append(
            {
                "participant": participant.name,
                "answers": len(participant.answers),
                "complete": participant.complete,
                **asdict(checked(participant, key)),
                "median_seconds": float(np.median(milliseconds)) / 1000,
            }
        )
    return {
        "counted": rows,
        "excluded": list(gathered.excluded),
        "refused": list(gathered.refused),
    }


def consistency(counted: Sequence[Participant], key: Key) -> dict[str, Any]:
    """Return the share of repeated pairs that were answered alike."""
    found = [checked(participant, key) for participant in counted]
    alike, repeats = sum(one.repeated_alike for one in found), sum(one.repeats for one in found)
    return share(alike, repeats)


def model_results(settings: Settings, preferences: pd.DataFrame, key: Key) -> list[dict[str, Any]]:
    """Measure the accuracy of the models, if any are asked for."""
    if not settings.models:
        return []
    from experiments.study.model_accuracy import model_accuracy  # imports PyTorch

    pictures = key.folder / "pictures"
    return [
        model_accuracy(model, preferences, pictures, settings.resamples, settings.seed)
        for model in settings.models
    ]


def write(
    folder: Path, results: dict[str, Any], votes: pd.DataFrame, preferences: pd.DataFrame, key: Key
) -> None:
    """Write tables, numbers and report."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Path(os.path.relpath(key.folder / "pictures", folder.resolve()))
    table = pd.DataFrame(
        {
            "first": [str(pictures / file) for file in preferences["first_file"]],
            "second": [str(pictures / file) for file in preferences["second_file"]],
            "preference": preferences["share"],
        }
    )
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    page = report_page(results, preferences, key.folder / "pictures")
    write_atomically(folder / "preferences.csv", table.to_csv(index=False).encode())
    write_atomically(folder / "votes.csv", votes.to_csv(index=False).encode())
    write_atomically(folder / "report.json", text.encode())
    write_atomically(folder / "report.html", page.encode())


def summary(results: dict[str, Any]) -> Table:
    """Show the win rates."""
    people = results["participants"]
    table = Table("preferred", "over", "win rate", "95 %, participants and scenes", "votes")
    table.caption = (
        f"{len(people['counted'])} participants; {len(people['excluded'])} excluded, "
        f"{len(people['refused'])} files refused"
    )
    for row in results["win_rates"]:
        interval = " to ".join(map(percent, row["clustered"]))
        table.add_row(
            row["first"], row["second"], percent(row["share"]), interval, str(row["votes"])
        )
    return table


if __name__ == "__main__":
    sys.exit(main(parsed(Settings)))
