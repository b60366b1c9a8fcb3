"""Cards: what a user must know about weights, as JSON beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from attiqa.attributes import ATTRIBUTES
from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import CheckpointError
from attiqa.model.architecture import Architecture
from attiqa.model.uncertainty import Uncertainty


@dataclass(frozen=True)
class Scale:
    """What the numbers of a score mean; higher is better.

    Attributes:
        low: Lowest score a rater could give on average.
        high: Highest one.
        meaning: Whose opinion, asked how.
    """

    low: float
    high: float
    meaning: str


@dataclass(frozen=True)
class Card:
    """What a user must know about weights; written beside them.

    Attributes:
        name: The checkpoint's name.
        kind: `AttributeNet` (pretrained) or `QualityNet` (fine-tuned).
        architecture: Rebuilds the network, input normalisation included.
        protocol: How `score` looks at a whole photograph.
        scale: Of the score; None for an `AttributeNet`.
        teacher: What gave the attribute labels.
        training: Data, initial weights, split, licences.
        settings: Of the training run, seeds included.
        metrics: Measured on these very weights.
        versions: Of the libraries.
        limits: What the weights must not be used for.
        attributes: Order of the attribute scores.
        uncertainty: Calibrated intervals around its scores; None where nobody has calibrated any.
        sha256: Of the weight file; filled in when saved.
    """

    name: str
    kind: Literal["AttributeNet", "QualityNet"]
    architecture: Architecture
    protocol: CropProtocol
    scale: Scale | None
    teacher: str
    training: Mapping[str, Any]
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    limits: str
    attributes: tuple[str, ...] = ATTRIBUTES
    uncertainty: Uncertainty | None = None
    sha256: str = ""

    def calibrated(self) -> tuple[Uncertainty, Scale]:
        """Return what intervals around scores are made of.

        Raises:
            CheckpointError: Nobody has calibrated any for these weights.
        """
        if self.uncertainty is None or self.scale is None:
            raise CheckpointError(
                f"{self.name}: its card has no calibrated uncertainty; "
                "experiments/iqa/calibrate_uncertainty.py --write adds it, from photographs with "
                "opinion scores that the model was not trained on"
            )
        return self.uncertainty, self.scale


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        CheckpointError: The file is missing, or not a card of this version.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        architecture = fields.pop("architecture")
        names = ("mean", "std", "attributes")
        architecture |= {key: tuple(architecture[key]) for key in names if key in architecture}
        protocol = {"further": ()} | fields.pop("protocol")
        scale = fields.pop("scale")
        uncertainty = fields.pop("uncertainty", None)
        card = Card(
            architecture=Architecture(**architecture),
            protocol=CropProtocol(**protocol | {"further": tuple(protocol["further"])}),
            scale=scale and Scale(**scale),
            attributes=tuple(fields.pop("attributes")),
            uncertainty=uncertainty and Uncertainty(**uncertainty),
            **fields,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a card: {error!r}") from error
    expected = card.architecture.attributes
    if card.attributes != expected:
        raise CheckpointError(f"{path}: expected the attributes {expected}: {card.attributes}")
    return card
