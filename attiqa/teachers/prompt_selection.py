"""Prompt selection: the antonym pair of each attribute that CLIP understands best (section 3.3).

A pair is judged by the rank correlation (SROCC) of its label `cos+ - cos-` with two things:

- distortion: the level of a ladder of distortions, within each photograph, averaged over
  photographs; a photograph whose label does not move counts as 0;
- human: the mean opinion of raters on that attribute, over photographs (the paper: on SPAQ). Where
  SPAQ shall remain a test set, leave this task out or give it other photographs.

The paper takes the pair with the highest sum of the two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy.stats import rankdata
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, resize

from attiqa.attributes import ATTRIBUTES, CANDIDATES, PROMPTS, Candidates
from attiqa.distortions.ladders import Ladder, distort
from attiqa.teachers.choices import Place, Task
from attiqa.teachers.embedding_cache import EmbeddingCache, image_hash


@dataclass(frozen=True)
class PairScores:
    """SROCC of every pair of an attribute; rows are positive prompts, columns negative ones.

    Attributes:
        candidates: The prompts.
        distortion: In the first task.
        human: In the second; None where no human scores were given.
    """

    candidates: Candidates
    distortion: Float[np.ndarray, "p q"]
    human: Float[np.ndarray, "p q"] | None = None

    def table(self, task: Task = "sum") -> Float[np.ndarray, "p q"]:
        """Return the SROCC of all pairs; the sum without human scores is the first task alone."""
        if task == "distortion" or (task == "sum" and self.human is None):
            return self.distortion
        if self.human is None:
            raise ValueError("task: expected one that was run, 'distortion' or 'sum'; got 'human'")
        return self.human if task == "human" else self.distortion + self.human

    def place(self, place: Place, task: Task = "sum") -> tuple[int, int]:
        """Find row and column of a pair in a task's order; the first of equals is the better."""
        table = self.table(task)
        kind, _, informative = place.partition("-")
        order = np.abs(table) if informative else table
        falling = np.argsort(-order, axis=None, kind="stable")
        index = {"best": 0, "median": table.size // 2}.get(kind, -1)
        row, column = np.unravel_index(falling[index], table.shape)
        return int(row), int(column)

    def describe(self, row: int, column: int) -> dict[str, Any]:
        """Return a pair, its scores and its rank in the order of the sums, ready for JSON."""
        total = self.table()
        return {
            "positive": self.candidates.positive[row],
            "negative": self.candidates.negative[column],
            "distortion": float(self.distortion[row, column]),
            "human": None if self.human is None else float(self.human[row, column]),
            "sum": float(total[row, column]),
            "rank": 1 + int((total > total[row, column]).sum()),
        }


def select_prompts(
    cache: EmbeddingCache,
    ladder_features: Mapping[str, Float[np.ndarray, "k l d"]],
    ladders: Mapping[str, Ladder],
    rated_features: Float[np.ndarray, "n d"] | None = None,
    ratings: Float[np.ndarray, "n 5"] | None = None,
    candidates: Mapping[str, Candidates] = CANDIDATES,
) -> dict[str, PairScores]:
    """Score all pairs of candidates of every attribute.

    Args:
        cache: Its encoder encodes the prompts.
        ladder_features: Per attribute, of k photographs at the l levels (`embed_ladders`).
        ladders: Per attribute; the attribute rises with the level.
        rated_features: Of n photographs with human scores (`embed_photos`).
        ratings: Their scores in the order of `ATTRIBUTES`, higher is better.
        candidates: Per attribute.

    Raises:
        ValueError: Only one of features and ratings is given, or a rating is not finite.
    """
    if (rated_features is None) != (ratings is None):
        raise ValueError("rated_features and ratings: expected both or neither")
    if ratings is not None and not np.isfinite(ratings).all():
        raise ValueError("ratings: expected finite numbers")
    results = {}
    for column, attribute in enumerate(ATTRIBUTES):
        positive, negative = (
            cache.encoder.encode_prompts(prompts).cpu().numpy() for prompts in candidates[attribute]
        )
        levels = np.array(ladders[attribute].levels)
        distortion = np.mean(
            [
                spearman(pair_labels(features, positive, negative), levels)
                for features in ladder_features[attribute]
            ],
            axis=0,
        )
        human = None
        if rated_features is not None and ratings is not None:
            labels = pair_labels(rated_features, positive, negative)
            human = spearman(labels, ratings[:, column])
        results[attribute] = PairScores(candidates[attribute], distortion, human)
    return results


def pair_labels(
    features: Float[np.ndarray, "n d"],
    positive: Float[np.ndarray, "p d"],
    negative: Float[np.ndarray, "q d"],
) -> Float[np.ndarray, "p q n"]:
    """Label images by every pair of prompts, `cos+ - cos-`.

    Computed in float64 and rounded to float32, so that equal images keep equal labels: a matrix
    product may sum the same row in another order elsewhere in the matrix.
    """
    images = features.T.astype(np.float64)
    labels = (positive @ images)[:, None] - (negative @ images)[None]
    return labels.astype(np.float32)


def spearman(
    values: Float[np.ndarray, "*rows n"], reference: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*rows"]:
    """SROCC of each row with the reference: average ranks for ties, 0 where one is constant."""
    ranks, target = rankdata(values, axis=-1), rankdata(reference)
    mean = (len(target) + 1) / 2
    ranks, target = ranks - mean, target - mean
    length = np.sqrt((ranks**2).sum(-1) * (target**2).sum())
    return np.divide(ranks @ target, length, out=np.zeros(length.shape), where=length > 0)


def embed_ladders(
    cache: EmbeddingCache,
    photos: Iterable[UInt8[Tensor, "3 _ _"]],
    ladders: Mapping[str, Ladder],
    seed: int = 0,
) -> dict[str, Float[np.ndarray, "k l d"]]:
    """Encode clean photographs at every level of every ladder, as 8-bit images.

    Args:
        cache: Encodes.
        photos: Clean ones.
        ladders: Per attribute.
        seed: Together with the pixels it fixes the noise of a photograph; the levels are nested.

    Returns:
        Per attribute, features of k photographs at l levels.
    """
    features: dict[str, list[np.ndarray]] = {attribute: [] for attribute in ladders}
    try:
        for photo in photos:
            clean = photo[None].float() / 255
            noise_seed = (seed + int(image_hash(photo)[:12], 16)) % 2**63
            for attribute, ladder in ladders.items():
                levels = [distort(clean, ladder, level, noise_seed) for level in ladder.levels]
                features[attribute].append(cache.encode(_quantise(torch.cat(levels))))
    finally:
        cache.flush()
    return {attribute: np.stack(rows) for attribute, rows in features.items()}


def embed_photos(
    cache: EmbeddingCache, photos: Iterable[UInt8[Tensor, "3 _ _"]]
) -> Float[np.ndarray, "n d"]:
    """Encode photographs of any sizes as they are."""
    try:
        return np.concatenate([cache.encode(photo[None]) for photo in photos])
    finally:
        cache.flush()


def shrink(photo: UInt8[np.ndarray, "h w 3"], short_side: int) -> UInt8[Tensor, "3 h2 w2"]:
    """Bring the short side of a larger photograph down to a size (bicubic), as 8-bit pixels."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    if min(photo.shape[:2]) <= short_side:
        return pixels
    image = pixels[None].float() / 255
    image = resize(image, [short_side], InterpolationMode.BICUBIC, antialias=True)
    return _quantise(image.clamp(0, 1))[0]


def to_json(results: Mapping[str, PairScores]) -> dict[str, Any]:
    """Return all tables and, per attribute and task, the chosen pairs."""
    return {attribute: _to_json(attribute, scores) for attribute, scores in results.items()}


def _to_json(attribute: str, scores: PairScores) -> dict[str, Any]:
    tasks: tuple[Task, ...] = ("distortion", "human", "sum")
    if scores.human is None:
        tasks = ("distortion", "sum")
    places: tuple[Place, ...] = get_args(Place)
    return {
        "selected": {
            task: {place: scores.describe(*scores.place(place, task)) for place in places}
            for task in tasks
        },
        "table_1": _table_1(attribute, scores),
        "positive": list(scores.candidates.positive),
        "negative": list(scores.candidates.negative),
        "tables": {task: scores.table(task).tolist() for task in tasks},
    }


def _table_1(attribute: str, scores: PairScores) -> dict[str, Any] | None:
    """Return the place of the paper's own pair, where it is among the candidates."""
    positive, negative = PROMPTS[attribute]
    if positive not in scores.candidates.positive or negative not in scores.candidates.negative:
        return None
    row = scores.candidates.positive.index(positive)
    return scores.describe(row, scores.candidates.negative.index(negative))


def _quantise(images: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    return (images * 255).round().to(torch.uint8)
