"""Names of the data sets, known before any of their readers is imported."""

from attiqa.errors import DatasetLayoutError, did_you_mean

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
        raise DatasetLayoutError(
            f"dataset: expected one of {', '.join(NAMES)}; found {name!r}"
            + did_you_mean(name, NAMES)
        )
    if name == PLAIN and scale is None:
        raise DatasetLayoutError(
            "scale: scores of your own need their lowest and highest possible one, such as "
            "--scale 1 5"
        )
    if name == PLAIN and scale is not None and not scale[0] < scale[1]:
        raise DatasetLayoutError(
            f"scale: expected the lowest possible score, then the highest; found {scale}"
        )
