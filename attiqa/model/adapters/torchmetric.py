"""The mean quality score of many images as a torchmetrics metric.

>>> metric = AttiqaScore()
>>> metric.update(torch.full((2, 3, 64, 64), 0.5))
>>> metric.compute().shape
torch.Size([])
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from attiqa.model.quality_model import QualityModel, load_model

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError(
        "attiqa.model.adapters.torchmetric needs torchmetrics: pip install 'attiqa[metrics]'"
    ) from error


class AttiqaScore(Metric):
    """Mean score of whole images by the protocol of the model's card.

    On the scale of the card (`metric.model.card.scale`); higher is better. Over several processes
    it is the mean of all images, not of the processes' means.

    Args:
        model: A model, or what `attiqa.model.quality_model.load_model` takes.
        options: Those of every metric, such as `sync_on_compute`.
    """

    is_differentiable = True
    higher_is_better = True
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, model: QualityModel | str = "embedded", **options: object) -> None:
        super().__init__(**options)
        self.model = load_model(model) if isinstance(model, str) else model
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Float[Tensor, "b 3 h w"] | UInt8[Tensor, "b 3 h w"]) -> None:
        """Score images: display RGB, floating point in [0, 1] or 8 bits.

        Raises:
            ImageFormatError: Too small, too long, not finite or out of range.
        """
        if images.dtype == torch.uint8:
            images = images.float() / 255
        self.total = self.total + self.model.score_whole(images).score.sum()
        self.count = self.count + len(images)

    def compute(self) -> Float[Tensor, ""]:
        """Return the mean over all images; NaN where there were none."""
        return self.total / self.count
