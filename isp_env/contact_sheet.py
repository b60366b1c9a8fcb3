"""Pairs of pictures with captions on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from isp_env.files import atomic_path

MARGIN, CAPTION = 8, 22
BACKGROUND, INK = (24, 24, 24), (225, 225, 225)


@dataclass(frozen=True)
class Pair:
    """Two renderings of one scene, encoded sRGB in [0, 1], and what to write under each."""

    before: Float[Tensor, "3 h w"]
    after: Float[Tensor, "3 h w"]
    captions: tuple[str, str]


def write_contact_sheet(
    pairs: Sequence[Pair], path: Path, pairs_per_row: int = 2, side: int = 288
) -> None:
    """Write a PNG with the pairs side by side, each picture fitted into `side` x `side` pixels."""
    columns = min(pairs_per_row, len(pairs))
    rows = -(-len(pairs) // columns)
    cell = side + MARGIN
    width = columns * (2 * cell + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, rows * (cell + CAPTION) + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, columns)
        for half, image in enumerate((pair.before, pair.after)):
            left = MARGIN + column * (2 * cell + MARGIN) + half * cell
            top = MARGIN + row * (cell + CAPTION)
            picture = _picture(image, side)
            x, y = left + (side - picture.width) // 2, top + (side - picture.height) // 2
            sheet.paste(picture, (x, y))
            draw.text((left, top + side + 3), pair.captions[half], INK, font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, optimize=True)


def _picture(image: Float[Tensor, "3 h w"], side: int) -> Image.Image:
    pixels = (image.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
