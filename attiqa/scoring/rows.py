"""A row of a table of scores: what became of a file, and what its number means."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from attiqa.model.cards import Card

Row = dict[str, str | float | int | None]

Crops = Literal[1, 5]
"""Crops of each scale of the card's protocol: 5, the four corners and the centre, or that alone."""

INTERVAL = ("score_sd", "score_low", "score_high")
"""Columns of the uncertainty: spread of the crops' scores, and the ends of the interval."""


class PhotoScore(NamedTuple):
    """What a model says of one photograph: means over its crops."""

    score: float
    """On the scale of the card, not clamped."""
    attributes: tuple[float, ...]
    """In the order of the card's."""
    spread: float
    """Standard deviation of the crops' scores (divided by their number)."""


_ESCAPED = r"u(d[89a-f][0-9a-f]{2}|005c)"
"""After a backslash: half a surrogate pair, which no encoding has, or the backslash itself."""


@dataclass(frozen=True)
class FileScore:
    """What became of one file: a score, or the reason why there is none.

    Attributes:
        path: As it was given.
        width: Pixels of the upright photograph; None where it could not be read.
        height: The same.
        score: On the scale of the model's card, not clamped.
        attributes: In the order of the card's.
        spread: Standard deviation of the crops' scores.
        error: Empty where there is a score.
    """

    path: Path
    width: int | None = None
    height: int | None = None
    score: float | None = None
    attributes: tuple[float, ...] | None = None
    spread: float | None = None
    error: str = ""


def table_text(text: str) -> str:
    r"""Write what no encoding has as JSON would; `named_file` is the way back.

    >>> table_text(os.fsdecode(b"photos/\xff.png"))
    'photos/\\udcff.png'
    """
    unambiguous = re.sub(rf"\\(?={_ESCAPED})", r"\\u005c", text)
    return unambiguous.encode(errors="backslashreplace").decode()


def named_file(text: str) -> str:
    """Read the path that a table names."""
    return re.sub(rf"\\{_ESCAPED}", lambda found: chr(int(found[1], 16)), text)


def protocol_text(card: Card, crops: Crops = 5, intervals: bool = False) -> str:
    """Say how photographs were looked at; of all five crops nothing is said, as it is the rule.

    Args:
        card: The model's.
        crops: Of each scale.
        intervals: Say what share of opinions the intervals are to hold, too.

    Raises:
        CheckpointError: There are to be intervals, and the card has none.
    """
    other: dict[str, float] = {} if crops == 5 else {"crops": crops}
    if intervals:
        other["interval"] = card.calibrated()[0].level
    return json.dumps(asdict(card.protocol) | other)


def table_row(file: FileScore, card: Card, crops: Crops = 5, intervals: bool = False) -> Row:
    """Say what became of a file and what its number means.

    Args:
        file: The file.
        card: The model's.
        crops: Of each scale.
        intervals: Add the columns `INTERVAL`.

    Raises:
        CheckpointError: There are to be intervals, and the card has none.
    """
    assert card.scale is not None  # load_model sees to it
    attributes = file.attributes or (None,) * len(card.attributes)
    return {
        "path": table_text(str(file.path)),
        "score": file.score,
        **(_interval(file, card) if intervals else {}),
        **dict(zip(card.attributes, attributes, strict=True)),
        "scale_low": card.scale.low,
        "scale_high": card.scale.high,
        "direction": "higher is better",
        "training": str(card.training.get("data", "not stated")),
        "model": card.name,
        "weights_sha256": card.sha256,
        "protocol": protocol_text(card, crops, intervals),
        "width": file.width,
        "height": file.height,
        "error": table_text(file.error),
    }


def _interval(file: FileScore, card: Card) -> Row:
    if file.score is None or file.spread is None:
        return dict.fromkeys(INTERVAL)
    uncertainty, scale = card.calibrated()
    ends = uncertainty.interval(file.score, file.spread, scale.low, scale.high)
    return dict(zip(INTERVAL, (file.spread, *ends), strict=True))
