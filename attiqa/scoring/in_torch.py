"""Scores of files by PyTorch, on any device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attiqa.data.views import views
from attiqa.model.inputs import to_pixels
from attiqa.model.quality_model import QualityModel
from attiqa.scoring.rows import Crops
from attiqa.scoring.scorers import Look


class TorchScorer:
    """A `scorers.Scorer`."""

    def __init__(self, model: QualityModel, crops: Crops = 5) -> None:
        self.model, self.card = model, model.card
        self.crops: Crops = crops
        # on a CPU more were half as fast
        self.batch = 1 if model.device.type == "cpu" else 32

    def look(self, photo: Path | Float[np.ndarray, "h w 3"]) -> Look:
        """Read a file, or take a picture in [0, 1], and cut its crops."""
        pixels = to_pixels(photo)
        _, height, width = pixels.shape
        return Look(width, height, views(pixels[None], self.card.protocol, self.crops)[0])

    @torch.inference_mode()
    def score(
        self, crops: Sequence[Float[Tensor, "k 3 c c"]]
    ) -> list[tuple[float, tuple[float, ...]]]:
        """Return score and attributes of each photograph."""
        prediction = self.model.score_views(torch.stack(list(crops)).to(self.model.device))
        attributes = map(tuple, prediction.attributes.tolist())
        return list(zip(prediction.score.tolist(), attributes, strict=True))
