"""Scores of files by ONNX Runtime: a graph beside the `.safetensors` file that has its weights."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float, Float32

from attiqa.data.photos.decoding import read_photo
from attiqa.data.views_in_numpy import views
from attiqa.errors import CheckpointError
from attiqa.model.cards import Card
from attiqa.model.sizes import check_size
from attiqa.scoring.rows import Crops, PhotoScore
from attiqa.scoring.scorers import Look


class GraphScorer:
    """A `scorers.Scorer` on the CPU.

    Raises:
        CheckpointError: Weights, card and graph do not belong together, or there is no score.
    """

    batch = 1

    def __init__(self, weights: Path, card: Card, crops: Crops = 5) -> None:
        if card.scale is None:
            raise CheckpointError(f"{weights}: a pretrained {card.kind}; expected a QualityNet")
        if hashlib.sha256(weights.read_bytes()).hexdigest() != card.sha256:
            message = f"{weights}: its SHA-256 is not the one in its card; fetch both again"
            raise CheckpointError(message)
        self.card = card
        self.crops: Crops = crops
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        # as PyTorch does, which workers are told so, too; 0 is one for each core
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        # threads that wait for work would take the cores of those that decode
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            weights.with_suffix(".onnx"), options, providers=["CPUExecutionProvider"]
        )
        made_for = self.session.get_modelmeta().custom_metadata_map.get("weights_sha256")
        if made_for != card.sha256:
            raise CheckpointError(f"{weights.with_suffix('.onnx')}: the graph of other weights")

    def look(self, photo: Path | Float[np.ndarray, "h w 3"]) -> Look:
        """Read a file, or take a picture in [0, 1], and cut its crops."""
        name = f"{photo}" if isinstance(photo, Path) else "the photograph"
        photo = read_photo(photo) if isinstance(photo, Path) else photo.astype(np.float32)
        height, width, _ = photo.shape
        check_size((height, width), name)
        return Look(width, height, views(photo, self.card.protocol, self.crops))

    def predict(self, images: Float32[np.ndarray, "b 3 h w"]) -> Float32[np.ndarray, " b"]:
        """Score images as they are."""
        return np.asarray(self.session.run(["score"], {"images": images})[0])

    def score(self, crops: Sequence[Float32[np.ndarray, "k 3 c c"]]) -> list[PhotoScore]:
        """Return score, attributes and spread of each photograph."""
        images = np.concatenate(list(crops))
        found = self.session.run(["score", "attributes"], {"images": images})
        score, attributes = map(np.asarray, found)
        score = score.reshape(len(crops), -1)
        attributes = attributes.reshape(len(crops), -1, attributes.shape[1]).mean(1)
        rows = zip(score.mean(1).tolist(), attributes.tolist(), score.std(1).tolist(), strict=True)
        return [PhotoScore(mean, tuple(row), spread) for mean, row, spread in rows]
