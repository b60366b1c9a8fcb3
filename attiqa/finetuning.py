"""Fine-tuning on human opinion scores (ATTIQA section 3.5), and two auxiliary losses for rewards.

With both auxiliary weights at zero this is the paper's fine-tuning. As a reward, the model has to
keep its attribute scores alive (`attribute_weight`) and must not be fooled by the knobs of an ISP
(`ranked_distortions_weight`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from attiqa.datasets.crops import Photos, RandomCrops
from attiqa.losses import distortion_ranking_loss, margin_ranking_loss, mos_loss
from attiqa.models import QualityNet
from attiqa.random_distortions import DistortedPairs, distorted_pairs
from attiqa.teachers import AttributeTeacher
from attiqa.training import Batch, Schedule, train

PairMaker = Callable[[Tensor, Tensor, torch.Generator], DistortedPairs]
"""(images (b, 3, h, w), rows of those to distort (n,), random numbers) -> pairs."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of the fine-tuning."""

    schedule: Schedule = field(default_factory=Schedule)
    """Length, speed and crops."""
    plcc_weight: float = 0.1
    """Weight of 1 - PLCC beside the squared error."""
    attribute_weight: float = 0.0
    """Weight of the ranking loss against the teacher; 0 is the paper."""
    attribute_margin: float = 0.1
    """Margin of that loss."""
    ranked_distortions_weight: float = 0.0
    """Weight of the ranking of good photographs above their distorted versions; 0 is the paper."""
    ranked_distortions_margin: float = 0.03
    """Score that each step up a ladder has to cost."""
    good_quantile: float = 0.5
    """Photographs of a MOS above this quantile count as good."""
    distorted_photos: int = 8
    """At most so many good photographs of a batch are distorted, each of them twice."""


def finetune(
    fabric: Fabric,
    net: QualityNet,
    photos: Photos,
    mos: Float[np.ndarray, " n"],
    teacher: AttributeTeacher,
    settings: FinetuneSettings,
    state: Path,
    pair_maker: PairMaker = distorted_pairs,
) -> list[dict[str, float]]:
    """Fit the network to mean opinion scores.

    Args:
        fabric: Launched.
        net: Changed in place.
        photos: 8-bit RGB, (h, w, 3) each.
        mos: Their scores, on the scale that the network will predict.
        teacher: Labels the attributes where `attribute_weight` is not zero.
        settings: Of the run.
        state: File to resume from.
        pair_maker: Makes the ranked distortions; by default from the ladders.

    Returns:
        The mean of each term of the loss in each epoch.
    """
    schedule = settings.schedule
    net.attribute_net.last.requires_grad_(settings.attribute_weight > 0)
    model = fabric.setup(net)
    targets = torch.from_numpy(mos).float()
    good = targets >= targets.quantile(settings.good_quantile)
    torch.nn.init.constant_(cast(nn.Linear, net.regressor[-1]).bias, targets.mean().item())

    def objective(batch: Batch, random: torch.Generator) -> dict[str, Tensor]:
        indices, images = batch
        chosen = torch.nonzero(good[indices.cpu()]).flatten()
        chosen = chosen[: settings.distorted_photos if settings.ranked_distortions_weight else 0]
        pairs = pair_maker(images, chosen, random)
        views = torch.cat([images, pairs.mild, pairs.strong])
        prediction = model(views)
        parts = [len(images), len(chosen), len(chosen)]
        score, mild, strong = prediction.score.split(parts)
        terms = {"mos": mos_loss(score, targets.to(score)[indices], settings.plcc_weight)}
        if settings.ranked_distortions_weight:
            above = torch.cat([score[pairs.sources], mild])
            steps = torch.cat([pairs.mild_steps, pairs.strong_steps - pairs.mild_steps])
            terms["distortions"] = settings.ranked_distortions_weight * distortion_ranking_loss(
                above, torch.cat([mild, strong]), settings.ranked_distortions_margin * steps
            )
        if settings.attribute_weight:
            terms["attributes"] = settings.attribute_weight * margin_ranking_loss(
                prediction.attributes, teacher(views), settings.attribute_margin
            )
        return terms

    crops = RandomCrops(photos, schedule.crops, schedule.seed)
    return train(fabric, model, crops, objective, schedule, state)
