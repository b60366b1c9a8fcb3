"""Many photographs through a network by the five-crop protocol (ATTIQA section 4.2)."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.crops import Photos
from attiqa.data.views import views
from attiqa.model.networks import AttributeNet, QualityNet

Forward = Callable[[Float[Tensor, "b 3 s s"]], Float[Tensor, "b d"]]

BATCH = 32
"""Crops per forward pass, and at least those of one photograph."""


def quality_scores(
    net: QualityNet, photos: Photos, protocol: CropProtocol, crops: Literal[1, 5] = 5
) -> Float[np.ndarray, " n"]:
    """Score photographs on the scale that the network was trained on."""
    return crop_means(net, lambda x: net(x).score[:, None], photos, protocol, crops)[:, 0]


def attribute_scores(
    net: AttributeNet | QualityNet, photos: Photos, protocol: CropProtocol
) -> Float[np.ndarray, "n a"]:
    """Score the attributes of photographs, as the heads do."""

    def forward(images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b a"]:
        return net(images).attributes if isinstance(net, QualityNet) else net(images)

    return crop_means(net, forward, photos, protocol)


def backbone_features(
    net: AttributeNet, photos: Photos, protocol: CropProtocol, crops: Literal[1, 5] = 5
) -> Float[np.ndarray, "n k d"]:
    """Compute the backbone's pooled features of each crop: what all five heads see."""
    return of_crops(net, net.pooled, photos, protocol, crops)


def head_features(
    net: AttributeNet, photos: Photos, protocol: CropProtocol, crops: Literal[1, 5] = 5
) -> Float[np.ndarray, "n k d"]:
    """Compute the hidden features of all five heads of each crop: what the regressor sees."""
    return of_crops(net, lambda x: net.features(x).flatten(1), photos, protocol, crops)


def crop_means(
    net: nn.Module,
    forward: Forward,
    photos: Photos,
    protocol: CropProtocol,
    crops: Literal[1, 5] = 5,
) -> Float[np.ndarray, "n d"]:
    """Average over the crops of each photograph what a network says about them: see `of_crops`."""
    return of_crops(net, forward, photos, protocol, crops).astype(np.float64).mean(1)


@torch.no_grad()
def of_crops(
    net: nn.Module,
    forward: Forward,
    photos: Photos,
    protocol: CropProtocol,
    crops: Literal[1, 5] = 5,
) -> Float[np.ndarray, "n k d"]:
    """Ask a network about each crop of each photograph.

    Args:
        net: In evaluation mode meanwhile; its parameters say on which device.
        forward: Calls it on display RGB in [0, 1].
        photos: 8-bit RGB, (h, w, 3) each.
        protocol: Short sides of the resized photograph, and side of the crops.
        crops: Of each scale: 5 (four corners and centre) or 1 (centre).
    """
    device, training = next(net.parameters()).device, net.training
    seen = crops * len(protocol.short_sides)
    net.eval()
    try:
        parts = [
            forward(batch.to(device)).unflatten(0, (-1, seen)).float().cpu()
            for batch in _batches(photos, protocol, crops)
        ]
    finally:
        net.train(training)
    return torch.cat(parts).numpy()


def _batches(
    photos: Photos, protocol: CropProtocol, crops: Literal[1, 5]
) -> Iterator[Float[Tensor, "b 3 s s"]]:
    waiting: list[Tensor] = []
    for index in range(len(photos)):
        pixels = torch.from_numpy(np.array(photos[index])).permute(2, 0, 1)
        waiting += views(pixels[None], protocol, crops)[0]
        if len(waiting) >= BATCH:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)
