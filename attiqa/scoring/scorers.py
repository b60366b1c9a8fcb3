"""Models that score files: on a CPU without PyTorch where that can be, else by it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from attiqa.errors import CheckpointError
from attiqa.model.cards import Card, read_card
from attiqa.model.sources import weight_file
from attiqa.scoring.rows import Crops, PhotoScore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """A photograph as a scorer sees it.

    Attributes:
        width: Pixels of the upright photograph.
        height: The same.
        crops: (k, 3, c, c) in [0, 1], of the scorer's library.
    """

    width: int
    height: int
    crops: Any


@runtime_checkable
class Scorer(Protocol):
    """A model that scores files.

    Attributes:
        card: The model's.
        crops: Of each scale: 5, or the centre alone.
        batch: Photographs that are best scored together.
    """

    card: Card
    crops: Crops
    batch: int

    def look(self, photo: Path | Float[np.ndarray, "h w 3"]) -> Look:
        """Read a file, or take a picture in [0, 1], and cut its crops; from any thread.

        Raises:
            ImageFileError: It cannot be read.
            ImageFormatError: It is too small or too long.
        """
        ...

    def predict(self, images: Float[np.ndarray, "b 3 h w"]) -> Float[np.ndarray, " b"]:
        """Score images in [0, 1] as they are."""
        ...

    def score(self, crops: Sequence[Any]) -> list[PhotoScore]:
        """Return score and attributes of each photograph, means over its crops, and the spread."""
        ...


def load_scorer(source: str | Path = "embedded", device: str = "cpu", crops: Crops = 5) -> Scorer:
    """Load a model for scoring files.

    On a CPU, a model with a graph beside its weights (`attiqa export --graph`), as the embedded
    ones have, is run by ONNX Runtime: the same scores to 1e-5, and PyTorch is not imported.

    Args:
        source: As for `load_model`.
        device: Where it runs.
        crops: Of each scale: 5, or the centre alone.

    Raises:
        CheckpointError: The checkpoint is missing or broken, or has no quality score.
    """
    path = weight_file(source)
    if str(device) == "cpu" and path.with_suffix(".onnx").is_file():
        from attiqa.scoring.in_onnx import GraphScorer

        try:
            return GraphScorer(path, read_card(path.with_suffix(".json")), crops)
        except CheckpointError:
            raise
        except Exception as error:  # whatever the runtime says; PyTorch needs no graph
            logger.warning("%s: scored by PyTorch: %s", path.with_suffix(".onnx"), error)
    from attiqa.model.quality_model import load_model
    from attiqa.scoring.in_torch import TorchScorer

    return TorchScorer(load_model(path, device), crops)
