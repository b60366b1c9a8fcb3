"""The key of a study: which system made which picture; and answers that are read with it."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.study import StudyError
from experiments.study.design import Design, Picture

KEY_FORMAT = "attiqa-study-key-1"
ANSWERS_FORMAT = "attiqa-study-answers-1"
CHOICES = ("left", "right", "none")
MOST_BYTES = 10_000_000
"""Of an answer file; others are not read."""


@dataclass(frozen=True)
class Key:
    """What only the experimenter knows.

    Attributes:
        study: Identifies page and answers.
        systems: Their names; a preference is that of the earlier of two.
        pictures: What each file shows.
        pairs: Files of each trial of two systems.
        checks: Files of each attention check.
        repeats: Pairs that each participant sees twice.
        folder: Of the page.
    """

    study: str
    systems: tuple[str, ...]
    pictures: Mapping[str, Picture]
    pairs: Mapping[int, tuple[str, str]]
    checks: Mapping[int, tuple[str, str]]
    repeats: int
    folder: Path


@dataclass(frozen=True)
class Answer:
    """One choice.

    Attributes:
        trial: Number of the pair or check.
        left: File on the left.
        right: File on the right.
        choice: "left", "right" or "none".
        ms: Milliseconds from the pictures to the answer.
    """

    trial: int
    left: str
    right: str
    choice: str
    ms: float

    @property
    def chosen(self) -> str | None:
        """File that is preferred; None for none."""
        return {"left": self.left, "right": self.right}.get(self.choice)


@dataclass(frozen=True)
class Participant:
    """Answers of one participant in the order in which they were given."""

    name: str
    answers: tuple[Answer, ...]
    trials: int
    file: Path

    @property
    def complete(self) -> bool:
        """Whether all trials are answered."""
        return len(self.answers) == self.trials


def key_of(
    design: Design, study: str, systems: Sequence[str], folder: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Gather a key, for JSON.

    Args:
        design: Of the study.
        study: Identifies it.
        systems: Names in the order of the folders.
        folder: Name of the page's folder, beside the key.
        settings: Of the command.
    """
    return {
        "format": KEY_FORMAT,
        "study": study,
        "folder": folder,
        "systems": list(systems),
        "pictures": {file: asdict(picture) for file, picture in design.pictures.items()},
        "pairs": design.pairs,
        "checks": design.checks,
        "seed": design.seed,
        "settings": dict(settings),
    }


def read_key(path: Path) -> Key:
    """Read a key, or the one that lies beside a study's folder.

    Raises:
        StudyError: It is missing or none.
    """
    if path.is_dir():
        folder = path.resolve()
        path = folder.with_name(f"{folder.name}-key.json")
    found = _read_json(path, "the key of a study, STUDY-key.json beside the folder STUDY")
    if found.get("format") != KEY_FORMAT:
        raise StudyError(f"{path}: no key of a study (format {found.get('format')!r})")
    try:
        return Key(
            study=found["study"],
            systems=tuple(found["systems"]),
            pictures={file: Picture(**picture) for file, picture in found["pictures"].items()},
            pairs={int(number): (a, b) for number, (a, b) in found["pairs"].items()},
            checks={int(number): (a, b) for number, (a, b) in found["checks"].items()},
            repeats=found["settings"]["repeats"],
            folder=path.resolve().parent / found["folder"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path}: a damaged key: {error!r}") from error


def read_answers(path: Path, key: Key) -> Participant:
    """Read the file that a participant has saved.

    Raises:
        StudyError: It is damaged, of another study, or does not fit the key.
    """
    found = _read_json(path, "answers that the page has saved")
    if found.get("format") != ANSWERS_FORMAT:
        raise StudyError(f"{path}: no answers of a study (format {found.get('format')!r})")
    if found.get("study") != key.study:
        raise StudyError(f"{path}: answers of study {found.get('study')!r}, not of {key.study!r}")
    name, rows, trials = (found.get(field) for field in ("participant", "answers", "trials"))
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise StudyError(f"{path}: expected a participant of letters and digits, found {name!r}")
    if not isinstance(rows, list) or not isinstance(trials, int) or len(rows) > trials:
        raise StudyError(f"{path}: expected a list of at most {trials!r} answers")
    answers = tuple(_answer(row, key, f"{path}: answer {n}") for n, row in enumerate(rows, 1))
    shown = Counter(answer.trial for answer in answers)
    for trial, count in shown.items():
        if count > (1 if trial in key.checks else 2):
            raise StudyError(f"{path}: trial {trial} is answered {count} times")
    if sum(count == 2 for count in shown.values()) > key.repeats:
        raise StudyError(f"{path}: more than {key.repeats} pairs are answered twice")
    return Participant(name, answers, trials, path)


def _answer(row: Any, key: Key, where: str) -> Answer:
    try:
        answer = Answer(**row)
    except TypeError as error:
        raise StudyError(f"{where}: expected trial, left, right, choice and ms") from error
    if not isinstance(answer.trial, int) or answer.trial not in {**key.pairs, **key.checks}:
        raise StudyError(f"{where}: the study has no trial {answer.trial!r}")
    files = key.pairs.get(answer.trial) or key.checks[answer.trial]
    if [answer.left, answer.right] not in (list(files), list(reversed(files))):
        raise StudyError(
            f"{where}: trial {answer.trial} shows {' and '.join(files)}, not {answer.left!r} and "
            f"{answer.right!r}"
        )
    if answer.choice not in CHOICES:
        raise StudyError(f"{where}: expected a choice of {', '.join(CHOICES)}, {answer.choice!r}")
    number = isinstance(answer.ms, int | float) and not isinstance(answer.ms, bool)
    if not number or not math.isfinite(answer.ms) or answer.ms < 0:
        raise StudyError(f"{where}: expected milliseconds, found {answer.ms!r}")
    return answer


def _read_json(path: Path, expected: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES and "answers" in expected:
            raise StudyError(f"{path}: {path.stat().st_size} bytes are no answers")
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}; expected {expected}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, or no JSON
        raise StudyError(f"{path}: no JSON ({error}); expected {expected}") from error
    if not isinstance(found, dict):
        raise StudyError(f"{path}: a JSON {type(found).__name__}; expected {expected}")
    return found
