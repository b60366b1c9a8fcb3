"""Sizes of photographs that a model takes."""

from collections.abc import Sequence

from attiqa.errors import ImageFormatError

MIN_SIDE = 32
"""Smaller photographs are refused: enlarged to the protocol's size they show the filter alone."""

MAX_ASPECT = 20
"""Longer ones are refused: five crops see next to nothing of them."""


def check_size(shape: Sequence[int], name: str = "the photograph") -> None:
    """Raise an `ImageFormatError` for a photograph that is too small or too long."""
    height, width = shape
    short, long = sorted(shape)
    if short < MIN_SIDE:
        raise ImageFormatError(
            f"{name}: {width} x {height} pixels; expected at least {MIN_SIDE} x {MIN_SIDE}"
        )
    if long > MAX_ASPECT * short:
        raise ImageFormatError(
            f"{name}: {width} x {height} pixels; expected a ratio of at most {MAX_ASPECT}"
        )
