"""The networks of ATTIQA: one backbone, a head per attribute, one quality regressor.

Source: ATTIQA (ACCV 2024), sections 3.4 and 3.5. The widths of the heads and of the regressor are
not in the paper.
"""

from typing import Any, NamedTuple, cast

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attiqa.errors import AttiqaError, did_you_mean
from attiqa.model.activations import ACTIVATIONS
from attiqa.model.architecture import Architecture
from attiqa.model.development_head import DevelopmentHead, colors


class BackboneError(AttiqaError):
    """There is no such backbone, or it cannot compute pictures of this size or learn this way."""


class QualityPrediction(NamedTuple):
    """What the model says about a batch of images; higher is better throughout."""

    score: Float[Tensor, " b"]
    """Mean opinion score on the scale of the model's card, not clamped."""
    attributes: Float[Tensor, "b a"]
    """As in `Architecture.attributes`, in standard deviations of the training photographs."""


class CropPredictions(NamedTuple):
    """What the model says about k crops of each photograph of a batch."""

    score: Float[Tensor, "b k"]
    attributes: Float[Tensor, "b k a"]


class IntervalPrediction(NamedTuple):
    """A `QualityPrediction` and, around each score, an interval for the opinion of people."""

    score: Float[Tensor, " b"]
    attributes: Float[Tensor, "b a"]
    spread: Float[Tensor, " b"]
    """Standard deviation of the scores of the crops of a photograph (divided by their number)."""
    low: Float[Tensor, " b"]
    """Lower end of the interval, not below the scale."""
    high: Float[Tensor, " b"]
    """Upper end, not above it."""


class Perception(NamedTuple):
    """A `QualityPrediction` and the features that it was made from."""

    score: Float[Tensor, " b"]
    attributes: Float[Tensor, "b a"]
    features: Float[Tensor, "b a*f"]
    """Hidden features of the attributes' heads, at least 0."""


class AttributeNet(nn.Module):
    """Backbone and a two-layer head per attribute: images to attribute scores (section 3.4)."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = _create_backbone(architecture.backbone)
        width, hidden = self.width, architecture.head_features
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU()) for _ in architecture.attributes
        )
        self.last = nn.ModuleList(nn.Linear(hidden, 1) for _ in architecture.attributes)
        for name, value in (("mean", architecture.mean), ("std", architecture.std)):
            self.register_buffer(name, torch.tensor(value)[:, None, None], persistent=False)

    @property
    def width(self) -> int:
        """Number of the pooled features."""
        # some networks widen after the pooling: their features are not `num_features` wide
        width = getattr(self.backbone, "head_hidden_size", self.backbone.num_features)
        return cast(int, width)

    def pooled(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Compute the backbone's pooled features: what all heads see.

        Raises:
            BackboneError: The backbone has a fixed size and these are of another.
        """
        try:
            return self.backbone((images - self.mean) / self.std)
        except (AssertionError, RuntimeError) as error:
            config = cast(dict[str, Any], self.backbone.pretrained_cfg)
            if not config["fixed_input_size"] or isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            height, width = images.shape[2:]
            raise BackboneError(
                f"{self.architecture.backbone}: made for {config['input_size'][1]} x "
                f"{config['input_size'][2]} pixels, cannot compute {height} x {width}: {error}"
            ) from error

    def features(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b a f"]:
        """Compute the heads' hidden features: what fine-tuning keeps of them.

        Raises:
            BackboneError: The backbone has a fixed size and these are of another.
        """
        return self.hide(self.pooled(images))

    def hide(self, pooled: Float[Tensor, "b d"]) -> Float[Tensor, "b a f"]:
        """Apply the heads' first layers."""
        return torch.stack([hidden(pooled) for hidden in self.hidden], dim=1)

    def rate(self, features: Float[Tensor, "b a f"]) -> Float[Tensor, "b a"]:
        """Apply the heads' last layers."""
        scores = [last(part) for last, part in zip(self.last, features.unbind(1), strict=True)]
        return torch.cat(scores, dim=1)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b a"]:
        """Score the attributes; only the order within a column has been trained."""
        return self.rate(self.features(images))


def _create_backbone(name: str) -> nn.Module:
    """Create a timm model that takes pictures of any size, where it can.

    Raises:
        BackboneError: timm has no such model.
    """
    if ":" not in name and not timm.is_model(name):
        raise BackboneError(
            f"backbone: expected a model name of timm (timm.list_models()); found {name!r}"
            + did_you_mean(name, timm.list_models())
        )
    try:
        return timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
    return timm.create_model(name, num_classes=0)


class QualityNet(nn.Module):
    """A pretrained `AttributeNet` and an MLP from its heads' features to a MOS (section 3.5).

    The paper drops the heads' last layers here; they stay for the attribute scores of
    `QualityPrediction` and take no part in the score.
    """

    attribute_mean: Tensor
    attribute_std: Tensor

    def __init__(self, attribute_net: AttributeNet) -> None:
        super().__init__()
        architecture = attribute_net.architecture
        attributes = len(architecture.attributes)
        self.attribute_net = attribute_net
        self.dropout = nn.Dropout(0.0)  # its rate is a setting of the fine-tuning
        self.regressor = nn.Sequential(
            nn.Linear(attributes * architecture.head_features, architecture.regressor_features),
            ACTIVATIONS[architecture.regressor_activation](architecture.regressor_features),
            nn.Linear(architecture.regressor_features, 1),
        )
        if architecture.development_features:
            self.development = DevelopmentHead(
                attribute_net.width, architecture.development_features
            )
        self.register_buffer("attribute_mean", torch.zeros(attributes))
        self.register_buffer("attribute_std", torch.ones(attributes))

    @property
    def architecture(self) -> Architecture:
        """What rebuilds this network."""
        return self.attribute_net.architecture

    def standardise(self, raw: Float[Tensor, "n a"]) -> None:
        """Give the attribute scores zero mean and unit deviation over these raw predictions."""
        std, mean = torch.std_mean(raw, dim=0)
        self.attribute_mean.copy_(mean)
        self.attribute_std.copy_(std)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> QualityPrediction:
        """Predict from display RGB in [0, 1]."""
        score, attributes, _ = self.perceive(images)
        return QualityPrediction(score, attributes)

    def perceive(self, images: Float[Tensor, "b 3 h w"]) -> Perception:
        """Predict from display RGB in [0, 1], and tell from which features."""
        return self._perceive(self.attribute_net.pooled(images))

    def see(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n"]:
        """Look at display RGB in [0, 1] once, for any number of comparisons of developments."""
        return torch.cat([self.attribute_net.pooled(images), colors(images)], dim=1)

    def compare(
        self, seen: Float[Tensor, "b n"], reference: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, " b"], Perception]:
        """Compare developments with a reference of their shots.

        Args:
            seen: What `see` says of developments.
            reference: The same of a prior's developments, or of neutral renderings.

        Returns:
            The predicted mean CIEDE2000 to a good development of the shot, and what `perceive`
            says of the pictures.
        """
        distance = self.development(seen, reference)
        return distance, self._perceive(seen[:, : self.attribute_net.width])

    def _perceive(self, pooled: Float[Tensor, "b d"]) -> Perception:
        features = self.attribute_net.hide(pooled)
        raw = self.attribute_net.rate(features)
        return Perception(
            score=self.regressor(self.dropout(features.flatten(1))).squeeze(1),
            attributes=(raw - self.attribute_mean) / self.attribute_std,
            features=features.flatten(1),
        )
