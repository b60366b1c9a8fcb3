"""Train what the protocols test (`protocols`): a fine-tuned network, or a probe."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import nn

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.crops import Photos
from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.evaluation.predictions import quality_scores
from attiqa.evaluation.probes.mlp import MlpProbe, fit_mlp_probe
from attiqa.evaluation.probes.ridge import fit_linear_probe
from attiqa.evaluation.protocols import Evaluate, Fitted, Indices, Predict
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.training.finetuning import finetune
from attiqa.training.settings import FinetuneSettings

Features = Callable[[RatedPhotos, Indices], Float[np.ndarray, "n k f"]]
"""Computes features of the k crops of some photographs of a data set."""
Pixels = Callable[[RatedPhotos, Indices], Photos]
"""Gets some photographs of a data set."""


def read_files(photos: RatedPhotos, indices: Indices) -> PhotoFiles:
    """Get photographs that are decoded when asked."""
    return PhotoFiles(photos.paths[index] for index in indices)


def fresh_copies(start: AttributeNet, seed: int) -> Callable[[], QualityNet]:
    """Make networks with the pretrained weights and a new regressor, the same each time."""

    def make() -> QualityNet:
        torch.manual_seed(seed)
        return QualityNet(copy.deepcopy(start).cpu())

    return make


@dataclass(frozen=True)
class FinetuneFit:
    """Fine-tuning of a whole network.

    Attributes:
        fabric: Launched.
        start: Makes the network that each split starts from.
        settings: Of the fine-tuning.
        protocol: Short sides and crop of the test.
        states: Folder of a state per split; one that was interrupted, or done, is continued.
        crops: Of each scale of a tested photograph: 5, or the centre alone.
        every: Epochs from one test to the next, 0 for none; the last epoch is tested always.
        pixels: Gets the photographs.
        tested: What else the tests depend on, ready for JSON, such as further data sets.
        trained: Is shown the network of each split when it is trained.
    """

    fabric: Fabric
    start: Callable[[], QualityNet]
    settings: FinetuneSettings
    protocol: CropProtocol
    states: Path
    crops: Literal[1, 5] = 5
    every: int = 1
    pixels: Pixels = read_files
    tested: Mapping[str, Any] = field(default_factory=dict)
    trained: Callable[[QualityNet, RatedPhotos, Split], None] | None = None

    def __call__(self, photos: RatedPhotos, split: Split, evaluate: Evaluate) -> Fitted:
        """Train on one split."""

        def after_epoch(net: nn.Module, done: int) -> dict[str, float]:
            if not self.every or done % self.every or done == self.settings.schedule.epochs:
                return {}  # the protocol tests the finished network itself
            return evaluate(self.predictor(cast(QualityNet, net)))

        net = self.start()
        history = finetune(
            self.fabric,
            net,
            self.pixels(photos, split.train),
            photos.mos[split.train],
            None,
            self.settings,
            self.states / f"{split_hash(photos.names, split)[:16]}.ckpt",
            evaluate=after_epoch,
            scale=photos.scale,
            deviations=None if photos.deviations is None else photos.deviations[split.train],
            evaluation={
                "split": split_hash(photos.names, split),
                "protocol": asdict(self.protocol),
                "crops": self.crops,
                "every": self.every,
                **self.tested,
            },
        )
        if self.trained:
            self.trained(net, photos, split)
        return Fitted(history, self.predictor(net))

    def predictor(self, net: QualityNet) -> Predict:
        """Score photographs by the protocol."""
        return lambda photos, indices: quality_scores(
            net, self.pixels(photos, indices), self.protocol, self.crops
        )


@dataclass(frozen=True)
class ProbeFit:
    """Probing as a fit of one epoch: a small model on frozen features.

    Attributes:
        features: Computes them, without any training.
        mlp: Settings of the network that the paper probes with; None for ridge regression on the
            mean of the crops' features, its penalty chosen on the training part by leaving one out.
    """

    features: Features
    mlp: MlpProbe | None = None

    def __call__(self, photos: RatedPhotos, split: Split, evaluate: Evaluate) -> Fitted:
        """Fit the training part."""
        features, mos = self.features(photos, split.train), photos.mos[split.train]
        if self.mlp is None:
            ridge = fit_linear_probe(features.mean(1), mos)
            return Fitted(
                [{"alpha": ridge.alpha}], lambda p, rows: ridge(self.features(p, rows).mean(1))
            )
        probe = fit_mlp_probe(features, mos, self.mlp)
        return Fitted(
            [{"training error": probe.error}], lambda p, rows: probe(self.features(p, rows))
        )
