"""Finished models behind one call: our networks, CLIP with two prompts, pyiqa, tables of scores."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from attiqa.attributes import PromptPair
from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.rated_photos import RatedPhotos
from attiqa.evaluation.finished.score_tables import ScoreTable
from attiqa.evaluation.finished.sources import CLIP_IQA, PYIQA, TABLE, clip_source
from attiqa.evaluation.predictions import quality_scores
from attiqa.evaluation.protocols import Indices
from attiqa.model.inputs import to_tensor
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import code_hash
from attiqa.teachers.teacher import LOGIT_SCALE, ClipTeacher

ScoreFiles = Callable[[Sequence[Path]], Float[np.ndarray, " n"]]
"""Scores image files; higher is better."""

GOOD_PHOTO = PromptPair("Good photo.", "Bad photo.")
"""Of CLIP-IQA (Wang, Chan and Loy, Exploring CLIP for assessing the look and feel of images, AAAI
2023), which also removes the position embeddings of a ResNet-50; here photographs are shown to the
model as `ClipTeacher` shows them when it labels."""


@dataclass(frozen=True)
class FinishedModel:
    """A model that is measured as it is.

    Attributes:
        source: As the user wrote it (`attiqa.evaluation.finished.sources`).
        score: Scores image files.
        record: All that a score depends on, ready for JSON.
        trained_on: What is known of the opinion scores that it was trained on; None if nothing is.
    """

    source: str
    score: ScoreFiles
    record: Mapping[str, Any]
    trained_on: str | None

    @property
    def sha256(self) -> str:
        """Hash the record."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()

    def predict(self, photos: RatedPhotos, indices: Indices) -> Float[np.ndarray, " n"]:
        """Score photographs of a data set: a `protocols.Predict`."""
        return self.score([photos.paths[index] for index in indices])


def open_finished(source: str, device: str | torch.device = "cpu") -> FinishedModel:
    """Open any model that can be measured without training.

    Args:
        source: As in `attiqa.evaluation.finished.sources`.
        device: Where it runs.

    Raises:
        AttiqaError: The model, its weights or its table cannot be had, or it has no quality score.
    """
    if source.startswith(TABLE):
        table = ScoreTable(Path(source.removeprefix(TABLE)))
        return FinishedModel(source, table, {"table": table.sha256}, None)
    if source.startswith(PYIQA):
        from attiqa.evaluation.finished.in_pyiqa import PyiqaMetric  # an extra

        metric = PyiqaMetric(source, device)
        return FinishedModel(source, metric, metric.record, metric.trained_on)
    if source.partition(":")[0] == CLIP_IQA:
        return _clip_iqa(source, device)
    return _own(source, device)


def _own(source: str, device: str | torch.device) -> FinishedModel:
    model = load_model(source, device)
    card = model.card

    def score(paths: Sequence[Path]) -> Float[np.ndarray, " n"]:
        return quality_scores(model.net, PhotoFiles(paths), card.protocol)

    record = {
        "weights": card.sha256,
        "protocol": asdict(card.protocol),
        "code": code_hash(("data/views", "model/networks", "evaluation/predictions")),
    }
    return FinishedModel(source, score, record, card.training.get("data"))


def _clip_iqa(source: str, device: str | torch.device) -> FinishedModel:
    """Ask CLIP which of two prompts fits better (Eq. 2), in double precision against false ties."""
    architecture, pretrained = clip_source(source)
    teacher = ClipTeacher(architecture, pretrained, device, prompts={"quality": GOOD_PHOTO})

    def score(paths: Sequence[Path]) -> Float[np.ndarray, " n"]:
        advantages = torch.cat([teacher(to_tensor(path)[None])[:, 0].cpu() for path in paths])
        return torch.sigmoid(LOGIT_SCALE * advantages.double()).numpy()

    return FinishedModel(source, score, teacher.describe(), "captions")
