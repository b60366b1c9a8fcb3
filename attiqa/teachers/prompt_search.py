"""The whole choice of prompts (section 3.3), from photographs to a record for prompts.json."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from rich.progress import track
from torch import Tensor

from attiqa.data.datasets.spaq import read_spaq
from attiqa.data.photo_folder import content_hash, read_photo
from attiqa.distortions.ladders import ATTRIBUTE_LADDERS
from attiqa.errors import DatasetLayoutError
from attiqa.teachers.embedding_cache import EmbeddingCache
from attiqa.teachers.prompt_selection import (
    PairScores,
    embed_ladders,
    embed_photos,
    select_prompts,
    shrink,
    to_json,
)


@dataclass(frozen=True)
class RatedAttributes:
    """Photographs whose attributes people rated.

    Attributes:
        paths: The image files.
        scores: Of the five attributes, higher is better.
    """

    paths: tuple[Path, ...] = ()
    scores: Float[np.ndarray, "n 5"] | None = None


def rated_attributes(
    spaq: Path, share: float = 1.0, subset: bool = False, seed: int = 0
) -> RatedAttributes:
    """Read the photographs and attribute scores of a random share of SPAQ.

    Raises:
        DatasetLayoutError: The folder is not SPAQ's, or has no scores of attributes.
    """
    photos = read_spaq(spaq, subset)
    if photos.attributes is None:
        raise DatasetLayoutError(f"{spaq}: expected scores of the five attributes; found none")
    order = np.random.default_rng(seed).permutation(len(photos.paths))
    rows = np.sort(order[: round(share * len(order))])
    return RatedAttributes(tuple(photos.paths[row] for row in rows), photos.attributes[rows])


def search_prompts(
    cache: EmbeddingCache,
    clean: Sequence[Path],
    rated: RatedAttributes,
    short_side: int = 512,
    seed: int = 0,
) -> tuple[dict[str, PairScores], dict[str, Any]]:
    """Try all pairs of candidates on distorted photographs and, where there are any, rated ones.

    Args:
        cache: Encodes what it has not seen.
        clean: Photographs to distort.
        rated: Photographs for the task on human scores.
        short_side: Larger photographs are first shrunk to this.
        seed: Fixes the noise of the distortions.

    Returns:
        The scores of all pairs by attribute; and the record of the search, ready for JSON.
    """
    photos = _shrunk(clean, short_side, "distorted photographs")
    ladder_features = embed_ladders(cache, photos, ATTRIBUTE_LADDERS, seed)
    rated_features = None
    if rated.scores is not None:
        rated_features = embed_photos(cache, _shrunk(rated.paths, short_side, "rated photographs"))
    results = select_prompts(
        cache, ladder_features, ATTRIBUTE_LADDERS, rated_features, rated.scores
    )
    record = {
        "encoder": cache.encoder.encoder,
        "photos": {"count": len(clean), "sha256": content_hash(clean)},
        "spaq": {
            "names": [path.name for path in rated.paths],
            "sha256": content_hash(rated.paths),
        },
        "ladders": {
            attribute: {"name": ladder.name, "unit": ladder.unit, "levels": ladder.levels}
            for attribute, ladder in ATTRIBUTE_LADDERS.items()
        },
        "attributes": to_json(results),
    }
    return results, record


def _shrunk(paths: Sequence[Path], short_side: int, task: str) -> Iterator[UInt8[Tensor, "3 h w"]]:
    for path in track(paths, task):
        yield shrink(read_photo(path), short_side)
