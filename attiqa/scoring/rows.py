"""A row of a table of scores: what became of a file, and what its number means."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from attiqa.model.cards import Card

Row = dict[str, str | float | int | None]

Crops = Literal[1, 5]
"""Crops of each scale of the card's protocol: 5, the four corners and the centre, or that alone."""

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
        error: Empty where there is a score.
    """

    path: Path
    width: int | None = None
    height: int | None = None
    score: float | None = None
    attributes: tuple[float, ...] | None = None
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


def protocol_text(card: Card, crops: Crops = 5) -> str:
    """Say how photographs were looked at; of all five crops nothing is said, as it is the rule."""
    other = {} if crops == 5 else {"crops": crops}
    return json.dumps(asdict(card.protocol) | other)


def table_row(file: FileScore, card: Card, crops: Crops = 5) -> Row:
    """Say what became of a file and what its number means."""
    assert card.scale is not None  # load_model sees to it
    attributes = file.attributes or (None,) * len(card.attributes)
    return {
        "path": table_text(str(file.path)),
        "score": file.score,
        **dict(zip(card.attributes, attributes, strict=True)),
        "scale_low": card.scale.low,
        "scale_high": card.scale.high,
        "direction": "higher is better",
        "training": str(card.training.get("data", "not stated")),
        "model": card.name,
        "weights_sha256": card.sha256,
        "protocol": protocol_text(card, crops),
        "width": file.width,
        "height": file.height,
        "error": table_text(file.error),
    }
