"""Attribute-aware pretraining on unlabelled photographs (ATTIQA section 3.4)."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from attiqa.data.crops import Photos, RandomCrops
from attiqa.distortions.training_pairs import attribute_pairs, distort_some
from attiqa.errors import SettingsError
from attiqa.model.networks import AttributeNet
from attiqa.provenance.identity import array_hash, teacher_record
from attiqa.teachers.teacher import AttributeTeacher, antonym_score
from attiqa.training.loop import Batch, Evaluation, gather, labels_of, train
from attiqa.training.losses import attribute_pairs_loss, margin_ranking_loss, regression_loss
from attiqa.training.settings import PretrainSettings

Labels = Float[np.ndarray, "n a"]
CALIBRATION = 512
"""At most so many crops tell the scale of a teacher that labels crops as they are drawn."""


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

    Raises:
        SettingsError: A ranking of batches of one, or distortions of stored labels.
    """
    if not isinstance(teacher, AttributeTeacher):
        _check_labels(teacher, net, photos, settings)
    schedule, names = settings.schedule, net.architecture.attributes
    if settings.loss == "ranking" and schedule.batch_size * fabric.world_size < 2:
        raise SettingsError("batch_size: a batch of one photograph has no pairs to rank")
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
        raise SettingsError(
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
