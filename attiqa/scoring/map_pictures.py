"""Quality maps of files as pictures: the photograph, and beside it the map over it with its scale.

A map lies in the given folder under the path that its photograph has below the folder that all
share, with `.map.png` behind the name. The weights are named in the file: a map of the same weights
that is newer than its photograph is not made again.
"""

import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from rich.progress import track

from attiqa.data.photos.decoding import read_photo
from attiqa.errors import AttiqaError, ImageFileError, ImageFormatError
from attiqa.files import companion, write_atomically
from attiqa.model.cards import Card, Scale
from attiqa.model.quality_map import QualityMap, WindowGrid, quality_map
from attiqa.model.sizes import check_size
from attiqa.scoring.rows import table_text
from attiqa.scoring.scorers import Scorer

logger = logging.getLogger(__name__)

NARROWEST = 0.1
"""Share of the scale that the colours span at least: small differences must look small."""

COLORS = "viridis"
WEIGHTS = "weights_sha256"
"""Under this name a picture says what it was made by."""


def write_maps(scorer: Scorer, paths: Sequence[Path], folder: Path) -> int:
    """Write the map of each photograph that has none yet; what cannot be read is passed over.

    Args:
        scorer: A model.
        paths: Image files.
        folder: Where the pictures lie.

    Returns:
        How many photographs have a map now.

    Raises:
        AttiqaError: A picture cannot be written.
    """
    shared = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    grid = WindowGrid.of(scorer.card.protocol)
    count = 0
    for path in track(paths, "maps"):
        out = map_path(path, shared, folder)
        if not is_current(out, path, scorer.card):
            try:
                photo = read_photo(path)
                check_size(photo.shape[:2], f"{path}")
            except (ImageFileError, ImageFormatError) as error:
                logger.debug("no map: %s", error)  # the table of scores says so
                continue
            found = quality_map(scorer.predict, photo, grid)
            picture = map_picture(found, scorer.card, path.name, grid)
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(out, picture)
            except OSError as error:
                raise AttiqaError(
                    f"{out}: cannot be written: {error.strerror or error}; free the disk or make "
                    "the folder writable, and the same command continues"
                ) from error
        count += 1
    return count


def map_path(photo: Path, shared: Path, folder: Path) -> Path:
    """Name the map of a photograph.

    >>> map_path(Path("/trip/day 1/a.jpg"), Path("/trip"), Path("maps")).as_posix()
    'maps/day 1/a.jpg.map.png'
    """
    return companion(folder / photo.absolute().relative_to(shared), ".map.png")


def is_current(out: Path, photo: Path, card: Card) -> bool:
    """Tell whether a map is there, newer than its photograph and of these weights."""
    try:
        if out.stat().st_mtime_ns < photo.stat().st_mtime_ns:
            return False
        with Image.open(out) as picture:
            return picture.info.get(WEIGHTS) == card.sha256
    except OSError:
        return False


def map_picture(found: QualityMap, card: Card, name: str, grid: WindowGrid) -> bytes:
    """Draw a photograph and its map; the colour bar says which scores the colours stand for."""
    assert card.scale is not None  # load_scorer sees to it
    height, width = found.scores.shape
    panel = 5.0 * np.array([width, height]) / max(width, height)  # inches
    across = width <= 2 * height
    size = (2 * panel[0] + 1.2, panel[1] + 0.9) if across else (panel[0] + 1.2, 2 * panel[1] + 1.1)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    plain, over = figure.subplots(1, 2) if across else figure.subplots(2, 1)
    plain.imshow(found.photo)
    plain.set_title(table_text(name), fontsize=9, parse_math=False)
    # little contrast below, so that the colours are those of the bar
    over.imshow(found.photo.mean(-1), cmap="gray", vmin=-0.5, vmax=1.5)
    low, high = color_range(found.scores, card.scale)
    colors = ScalarMappable(Normalize(low, high), COLORS)
    over.imshow(found.scores, cmap=COLORS, norm=colors.norm, alpha=0.6)
    title = f"score of windows of {grid.side} pixels, mean {found.scores.mean():.3g}"
    over.set_title(title, fontsize=9)
    bar = figure.colorbar(colors, ax=over, fraction=0.05)
    bar.set_label(
        f"colours: {low:.3g} to {high:.3g}; scale: {card.scale.low:g} to {card.scale.high:g}, "
        "higher is better",
        fontsize=8,
    )
    for axis in (plain, over):
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={WEIGHTS: card.sha256, "Software": card.name})
    return buffer.getvalue()


def color_range(scores: Float[np.ndarray, "h w"], scale: Scale) -> tuple[float, float]:
    """Return what the ends of the colours stand for: lowest and highest score, or wider.

    >>> color_range(np.array([[0.6, 0.62]]), Scale(0, 1, ""))
    (0.56, 0.66)
    """
    low, high = float(scores.min()), float(scores.max())
    missing = max(NARROWEST * (scale.high - scale.low) - (high - low), 0.0) / 2
    return round(low - missing, 6), round(high + missing, 6)
