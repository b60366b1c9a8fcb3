"""What rebuilds a network, beside its weights."""

from dataclasses import dataclass
from typing import Literal, get_args

from attiqa.attributes import ATTRIBUTES

Activation = Literal["relu", "gelu", "sigmoid", "gated"]


@dataclass(frozen=True)
class Architecture:
    """Everything that rebuilds a network but its weights.

    Attributes:
        backbone: A model name of timm. One of a fixed size takes others where timm resizes its
            positions; what it cannot take raises a `BackboneError` when it is asked for.
        mean: Per channel, subtracted from display RGB in [0, 1].
        std: Per channel, divides what is left.
        head_features: Width of the hidden layer of each attribute head.
        regressor_features: Width of the hidden layer of the quality regressor.
        attributes: What the heads score, in this order; the paper's five but for ablations.
        development_features: Width of the head that compares developments of one shot; 0 for none.
        regressor_activation: After that hidden layer. `sigmoid` gave better results than the
            others on several data sets in a study of six backbones (arXiv:2509.17374), and `gated`,
            learnable, on others (see `activations.GatedActivation`).

    Raises:
        ValueError: There is no such activation.
    """

    backbone: str = "resnet50"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    head_features: int = 512
    regressor_features: int = 512
    attributes: tuple[str, ...] = ATTRIBUTES
    regressor_activation: Activation = "relu"
    development_features: int = 0

    def __post_init__(self) -> None:
        if self.regressor_activation not in get_args(Activation):
            raise ValueError(
                f"regressor_activation: expected one of {', '.join(get_args(Activation))}; found "
                f"{self.regressor_activation!r}"
            )
