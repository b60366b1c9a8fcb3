"""Networks that a protocol trained, kept with their cards."""

from dataclasses import asdict
from pathlib import Path

import torch

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.crops import Photos
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.evaluation.predictions import crop_means
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import QualityNet
from attiqa.provenance.versions import versions
from attiqa.training.settings import FinetuneSettings

STANDARD = 500
"""Training photographs that fix the scale of the attribute scores."""


def save_trained(
    folder: Path,
    name: str,
    net: QualityNet,
    photos: RatedPhotos,
    split: Split,
    trained_on: Photos,
    protocol: CropProtocol,
    settings: FinetuneSettings,
    start: str,
) -> Path:
    """Give a fine-tuned network its card and write both.

    Args:
        folder: Made where it does not exist.
        name: Of the files.
        net: Its attribute scores are standardised in place.
        photos: The data set that it was trained on.
        split: How that was divided.
        trained_on: Pixels of the training part.
        protocol: How the network looks at whole photographs.
        settings: Of the training.
        start: What it started from.
    """
    some = [trained_on[index] for index in range(min(STANDARD, len(trained_on)))]
    net.standardise(torch.from_numpy(crop_means(net, net.attribute_net, some, protocol)).float())
    parts = ("train", "validation", "test")
    sizes = {part: len(getattr(split, part)) for part in parts}
    card = Card(
        name=name,
        kind="QualityNet",
        architecture=net.architecture,
        protocol=protocol,
        scale=Scale(*photos.scale, meaning=f"{photos.name}: mean opinion score"),
        teacher=f"that of {start}",
        training={
            "data": photos.name,
            "split": sizes | {"sha256": split_hash(photos.names, split)},
            "start": start,
        },
        settings=asdict(settings),
        metrics={},
        versions=versions(),
        limits=f"Trained on {photos.name} alone.",
        attributes=net.architecture.attributes,
    )
    return save_checkpoint(folder, net, card)
