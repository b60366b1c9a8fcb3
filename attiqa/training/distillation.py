"""Distillation of several quality networks: the mean of their scores as one scorer.

Source: Hinton, Vinyals and Dean, Distilling the knowledge in a neural network (arXiv:1503.02531):
one network learns what an ensemble of others says, and is nearly as good.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from attiqa.model.networks import QualityNet
from attiqa.provenance.identity import network_hash
from attiqa.training.finetuning import Scorer


def committee(
    members: Sequence[QualityNet], scale: tuple[float, float], device: torch.device, data: str
) -> Scorer:
    """Let networks score together.

    Args:
        members: One or more, of one scale; they are moved to the device, and learn no more.
        scale: Lowest and highest possible score.
        device: Where the views will be.
        data: What they were trained on.
    """
    for member in members:
        member.to(device).eval().requires_grad_(False)

    def score(images: Tensor) -> Tensor:
        return torch.stack([member(images).score for member in members]).mean(0)

    return Scorer(" ".join(network_hash(member) for member in members), score, scale, data)
