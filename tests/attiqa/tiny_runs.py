"""Settings and a tiny network for the tests of both trainings."""

import torch
from lightning_fabric import Fabric

from attiqa.data.crop_protocol import CropSettings
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.training.settings import FinetuneSettings, Schedule

SCHEDULE = Schedule(
    epochs=2, batch_size=6, backbone_lr=1e-3, crops=CropSettings(48, (64, 96)), workers=0
)
REWARD = FinetuneSettings(SCHEDULE, attribute_weight=0.1, ranked_distortions_weight=1.0)


def fabric() -> Fabric:
    return Fabric(accelerator="cpu")


def fresh(tiny) -> QualityNet:
    torch.manual_seed(0)
    return QualityNet(AttributeNet(tiny))


def weights(net) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])
