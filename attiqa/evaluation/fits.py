"""Train what the protocols test (`protocols`): a fine-tuned network, or a linear probe."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import nn

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.crops import Photos
from attiqa.data.photo_folder import PhotoFiles
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.evaluation.linear_probe import fit_linear_probe
from attiqa.evaluation.predictions import quality_scores
from attiqa.evaluation.protocols import Evaluate, Indices, Predict
from attiqa.model.networks import QualityNet
from attiqa.training.finetuning import finetune
from attiqa.training.settings import FinetuneSettings

Features = Callable[[RatedPhotos, Indices], Float[np.ndarray, "n f"]]
"""Computes features of some photographs of a data set."""
Pixels = Callable[[RatedPhotos, Indices], Photos]
"""Gets some photographs of a data set."""


def read_files(photos: RatedPhotos, indices: Indices) -> PhotoFiles:
    """Get photographs that are decoded when asked."""
    return PhotoFiles(photos.paths[index] for index in indices)


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
        every: Epochs from one test to the next; the last epoch is tested always.
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

    def __call__(
        self, photos: RatedPhotos, split: Split, evaluate: Evaluate
    ) -> list[dict[str, float]]:
        """Train on one split."""

        def after_epoch(net: nn.Module, done: int) -> dict[str, float]:
            if done % self.every and done < self.settings.schedule.epochs:
                return {}
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
        return history

    def predictor(self, net: QualityNet) -> Predict:
        """Score photographs by the protocol."""
        return lambda photos, indices: quality_scores(
            net, self.pixels(photos, indices), self.protocol, self.crops
        )


@dataclass(frozen=True)
class ProbeFit:
    """Linear probing as a fit of one epoch: ridge regression on frozen features.

    Attributes:
        features: Computes them, without any training.
    """

    features: Features

    def __call__(
        self, photos: RatedPhotos, split: Split, evaluate: Evaluate
    ) -> list[dict[str, float]]:
        """Fit the training part; the penalty is chosen on it by leaving one out."""
        probe = fit_linear_probe(self.features(photos, split.train), photos.mos[split.train])
        found = evaluate(lambda photos, indices: probe(self.features(photos, indices)))
        return [{"alpha": probe.alpha, **found}]
