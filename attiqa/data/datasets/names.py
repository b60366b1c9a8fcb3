"""Names of the data sets, known before any of their readers is imported."""

import difflib

from attiqa.errors import DatasetLayoutError

PLAIN = "plain"
"""Photographs of one's own with a scores.csv."""

NAMES = (
    "koniq",
    "clive",
    "spaq",
    "flive",
    "ava",
    "uhdiqa",
    "agiqa3k",
    "kadid",
    "tid2013",
    "biq2021",
    "biq2021-train",
    PLAIN,
)


def check_name(name: str, scale: tuple[float, float] | None = None) -> None:
    """Refuse a name that no reader has.

    Args:
        name: Of a data set.
        scale: Lowest and highest possible score, which "plain" needs.

    Raises:
        DatasetLayoutError: There is no such data set, or "plain" comes without a scale.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DatasetLayoutError(
            f"dataset: expected one of {', '.join(NAMES)}; found {name!r}{hint}"
        )
    if name == PLAIN and scale is None:
        raise DatasetLayoutError(
            "scale: scores of your own need their lowest and highest possible one"
        )
