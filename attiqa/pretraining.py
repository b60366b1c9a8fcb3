"""Attribute-aware pretraining on unlabelled photographs (ATTIQA section 3.4)."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from attiqa.datasets.crops import Photos, RandomCrops
from attiqa.losses import margin_ranking_loss
from attiqa.models import AttributeNet
from attiqa.random_distortions import distort_some
from attiqa.teachers import AttributeTeacher
from attiqa.training import Batch, Schedule, train


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of the pretraining."""

    schedule: Schedule = field(default_factory=Schedule)
    """Length, speed and crops."""
    margin: float = 0.1
    """Margin of Eq. 4."""
    distorted: float = 0.5
    """Share of crops that a random distortion is applied to before the teacher sees them."""


def pretrain(
    fabric: Fabric,
    net: AttributeNet,
    photos: Photos,
    teacher: AttributeTeacher,
    settings: PretrainSettings,
    state: Path,
) -> list[dict[str, float]]:
    """Teach a network the teacher's order of attributes, labelling each crop as it is drawn.

    Args:
        fabric: Launched.
        net: Changed in place.
        photos: 8-bit RGB, (h, w, 3) each.
        teacher: Sees exactly the crops that the network sees.
        settings: Of the run.
        state: File to resume from.

    Returns:
        The mean ranking loss of each epoch.
    """
    schedule = settings.schedule
    model = fabric.setup(net)

    def objective(batch: Batch, random: torch.Generator) -> dict[str, Tensor]:
        _, images = batch
        images = distort_some(images, settings.distorted, random)
        return {"ranking": margin_ranking_loss(model(images), teacher(images), settings.margin)}

    crops = RandomCrops(photos, schedule.crops, schedule.seed)
    return train(fabric, model, crops, objective, schedule, state)
