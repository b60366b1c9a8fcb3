"""Pairs of pictures with captions on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from isp_env.files import atomic_path

SIDE = 288  # pixels of a picture
MARGIN, LINE = 10, 18
TITLE = 72  # characters
BACKGROUND, INK = (24, 24, 24), (225, 225, 225)


@dataclass(frozen=True)
class Pair:
    """Two renderings of one scene, at most `SIDE` pixels long, with a title and captions."""

    before: Image.Image
    after: Image.Image
    title: str
    captions: tuple[str, str]


def write_contact_sheet(pairs: Sequence[Pair], path: Path, pairs_per_row: int = 2) -> None:
    """Write a PNG with the pairs side by side."""
    columns = min(pairs_per_row, len(pairs))
    rows = [pairs[i : i + columns] for i in range(0, len(pairs), columns)]
    pictures = [[[pair.before, pair.after] for pair in row] for row in rows]
    heights = [max(x.height for pair in row for x in pair) for row in pictures]
    pair_width = 2 * SIDE + 2 * MARGIN
    size = (columns * pair_width + MARGIN, sum(heights) + len(rows) * (2 * LINE + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    top = MARGIN
    for row, images, height in zip(rows, pictures, heights, strict=True):
        for column, (pair, halves) in enumerate(zip(row, images, strict=True)):
            left = MARGIN + column * pair_width
            draw.text((left, top), shortened(pair.title), INK, font)
            for half, (picture, caption) in enumerate(zip(halves, pair.captions, strict=True)):
                x = left + half * (SIDE + MARGIN // 2)
                sheet.paste(picture, (x, top + LINE))
                draw.text((x, top + LINE + picture.height + 2), caption, INK, font)
        top += height + 2 * LINE + MARGIN
    with atomic_path(path) as temporary:
        sheet.save(temporary, optimize=True)


def thumbnail(path: Path) -> Image.Image:
    """Read a picture as small as it stands on the sheet.

    Raises:
        OSError: It is damaged or not there.
    """
    with Image.open(path) as picture:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return picture.convert("RGB")


def shortened(title: str) -> str:
    """Return a title that has its place above a pair; long names differ at their ends."""
    return title if len(title) <= TITLE else f"{title[: TITLE // 2 - 1]}…{title[-TITLE // 2 :]}"
