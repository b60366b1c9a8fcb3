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
from attiqa.scoring.rows import Crops, PhotoScore
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
    def predict(self, images: Float[np.ndarray, "b 3 h w"]) -> Float[np.ndarray, " b"]:
        """Score images as they are."""
        tensors = torch.from_numpy(images).to(self.model.device)
        return self.model.predict(tensors).score.float().cpu().numpy()

    @torch.inference_mode()
    def score(self, crops: Sequence[Float[Tensor, "k 3 c c"]]) -> list[PhotoScore]:
        """Return score, attributes and spread of each photograph."""
        seen = self.model.score_crops(torch.stack(list(crops)).to(self.model.device))
        spread, score = torch.std_mean(seen.score, dim=1, correction=0)
        attributes = seen.attributes.mean(1)
        rows = zip(score.tolist(), attributes.tolist(), spread.tolist(), strict=True)
        return [PhotoScore(mean, tuple(row), spread) for mean, row, spread in rows]
