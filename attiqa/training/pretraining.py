"""Attribute-aware pretraining on unlabelled photographs (ATTIQA section 3.4)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from attiqa.data.crops import CropSettings, Photos, RandomCrops
from attiqa.distortions.training_pairs import attribute_pairs, distort_some
from attiqa.model.networks import AttributeNet
from attiqa.provenance.identity import array_hash, teacher_record
from attiqa.teachers.teacher import AttributeTeacher, antonym_score
from attiqa.training.loop import Batch, Evaluation, Schedule, gather, labels_of, train
from attiqa.training.losses import attribute_pairs_loss, margin_ranking_loss, regression_loss

Labels = Float[np.ndarray, "n a"]
CALIBRATION = 512
"""At most so many crops tell the scale of a teacher that labels crops as they are drawn."""


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of the pretraining."""

    schedule: Schedule = field(default_factory=Schedule)
    """Length, speed and crops."""
    loss: Literal["ranking", "standardised", "eq2"] = "ranking"
    """Eq. 4, or for the ablation L2 to labels of unit deviation or to the scores of Eq. 2."""
    margin: float = 0.1
    """Margin of Eq. 4, and of the ranking of ladder levels."""
    confidence: bool = False
    """Weight the pairs of Eq. 4 by how far apart their labels lie; false is the paper."""
    distorted: float = 0.5
    """Share of crops that a random distortion is applied to before the teacher sees them."""
    ladder_weight: float = 0.0
    """Weight of ranking two levels of a ladder by the attribute that it moves; 0 is the paper."""
    ladder_share: float = 0.25
    """Share of a batch that such pairs are made of."""

    @classmethod
    def paper(cls) -> "PretrainSettings":
        """Return Eq. 3-4 on whole photographs' labels, margin 0.1; crops and flips only.

        The paper does not state the rest: AdamW at 1e-4 (heads 1e-3), weight decay 0.01, one cycle
        of ten epochs, batches of 256, crops of 224 at a short side of 256 to 340.
        """
        return cls(
            Schedule(epochs=10, batch_size=256, crops=CropSettings(224, (256, 340))), distorted=0.0
        )


def pretrain(
    fabric: Fabric,
    net: AttributeNet,
    photos: Photos,
    teacher: AttributeTeacher | Labels,
    settings: PretrainSettings,
    state: Path,
    evaluate: Evaluation | None = None,
) -> list[dict[str, float]]:
    """Teach a network the teacher's order of attributes over all pairs of a batch.

    The pairs cross the processes: the loss is that of one process with all of the batch.

    Args:
        fabric: Launched.
        net: Changed in place.
        photos: 8-bit RGB, (h, w, 3) each.
        teacher: Sees exactly the crops that the network sees; or the stored labels (cos+ - cos-) of
            the whole photographs, one row each, with which `distorted` must be 0.
        settings: Of the run.
        state: File to resume from; one of other photographs, labels or weights is refused.
        evaluate: Its results join the history of each epoch.

    Returns:
        The mean of each term of the loss in each epoch.
    """
    if not isinstance(teacher, AttributeTeacher):
        _check_labels(teacher, net, photos, settings)
    schedule, names = settings.schedule, net.architecture.attributes
    crops = RandomCrops(photos, schedule.crops, schedule.seed)
    model = fabric.setup(net)
    mean, std = 0.0, 1.0
    if settings.loss == "standardised":
        std, mean = torch.std_mean(_known_labels(fabric, teacher, crops), dim=0)
    pairs = round(settings.ladder_share * schedule.batch_size) if settings.ladder_weight else 0

    def objective(batch: Batch, random: Sequence[torch.Generator]) -> dict[str, Tensor]:
        indices, images = batch
        images = distort_some(images, settings.distorted, random)
        less, more, columns = attribute_pairs(images[:pairs], names, random[:pairs])
        scores, low, high = model(torch.cat([images, less, more])).split(
            [len(images), pairs, pairs]
        )
        if isinstance(teacher, AttributeTeacher):
            labels = labels_of(teacher, images, names)
        else:
            labels = fabric.to_device(torch.from_numpy(teacher[indices.numpy()]).float())
        scores, labels = gather(fabric, scores), gather(fabric, labels)
        if settings.loss == "ranking":
            loss = margin_ranking_loss(scores, labels, settings.margin, settings.confidence)
            terms = {"ranking": loss}
        else:
            eq2 = settings.loss == "eq2"
            target = (
                antonym_score(labels, torch.zeros_like(labels)) if eq2 else (labels - mean) / std
            )
            terms = {"regression": regression_loss(scores, target)}
        if settings.ladder_weight:
            ladders = attribute_pairs_loss(low, high, columns, settings.margin)
            terms["ladders"] = settings.ladder_weight * ladders
        return terms

    if isinstance(teacher, AttributeTeacher):
        record = asdict(settings) | {"teacher": teacher_record(teacher)}
    else:
        record = asdict(settings) | {"labels": array_hash(teacher)}
    return train(fabric, model, crops, objective, schedule, state, record, evaluate)


def _check_labels(
    labels: Labels, net: AttributeNet, photos: Photos, settings: PretrainSettings
) -> None:
    expected = (len(photos), len(net.architecture.attributes))
    if labels.shape != expected or not np.isfinite(labels).all():
        raise ValueError(f"labels: expected finite numbers {expected}, found {labels.shape}")
    if settings.distorted:
        raise ValueError(
            f"stored labels know no distortion: distorted must be 0, not {settings.distorted}"
        )


@torch.no_grad()
def _known_labels(
    fabric: Fabric, teacher: AttributeTeacher | Labels, crops: RandomCrops
) -> Float[Tensor, "n a"]:
    """Get all stored labels, or a teacher's of the first crops."""
    if not isinstance(teacher, AttributeTeacher):
        return fabric.to_device(torch.from_numpy(teacher).float())
    count = min(len(crops), CALIBRATION)
    images = (crops[index][1][None].float() / 255 for index in range(count))
    return torch.cat([teacher(fabric.to_device(image)) for image in images])
