"""Networks on disk: `name.safetensors` and, beside it, the card `name.json` that explains it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from attiqa.attributes import ATTRIBUTES
from attiqa.data.views import CropProtocol
from attiqa.errors import CheckpointError
from attiqa.files import write_atomically
from attiqa.model.networks import Architecture, AttributeNet, QualityNet


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
    sha256: str = ""


def save_checkpoint(
    folder: Path, net: AttributeNet | QualityNet, card: Card, dtype: torch.dtype = torch.float32
) -> Path:
    """Write weights and card; a reader never sees half a file.

    Args:
        folder: Made where it does not exist.
        net: Its weights are stored.
        card: Explains them; its name is the file's name.
        dtype: What floating-point weights are stored as; loading returns float32.

    Returns:
        The weight file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype)
        for name, value in _weights(net).items()
    }
    weights = save({name: value.contiguous() for name, value in state.items()})
    card = replace(card, sha256=hashlib.sha256(weights).hexdigest())
    text = json.dumps(asdict(card), indent=2, default=str) + "\n"
    path = folder / f"{card.name}.safetensors"
    write_atomically(path.with_suffix(".json"), text.encode())
    write_atomically(path, weights)
    return path


def load_checkpoint(path: Path) -> tuple[AttributeNet | QualityNet, Card]:
    """Read a network and its card.

    Raises:
        CheckpointError: A file is missing or broken, the two do not belong together, or a weight is
            missing, unknown or of another shape than the card's architecture has.
    """
    card = read_card(path.with_suffix(".json"))
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weight file")
    weights = path.read_bytes()
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise CheckpointError(f"{path}: its SHA-256 is not the one in its card; fetch both again")
    attribute_net = AttributeNet(card.architecture)
    net = QualityNet(attribute_net) if card.kind == "QualityNet" else attribute_net
    try:
        state = load(weights)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from error
    _load_state(net, state, path)
    return net, card


def load_backbone(net: AttributeNet, path: Path) -> None:
    """Initialise the backbone from a safetensors file of timm weights without a classifier.

    Raises:
        CheckpointError: The file is missing or broken, or does not fit the backbone.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from error
    _load_state(net.backbone, state, path)


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
        card = Card(
            architecture=Architecture(**architecture),
            protocol=CropProtocol(**protocol | {"further": tuple(protocol["further"])}),
            scale=scale and Scale(**scale),
            attributes=tuple(fields.pop("attributes")),
            **fields,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a card: {error!r}") from error
    expected = card.architecture.attributes
    if card.attributes != expected:
        raise CheckpointError(f"{path}: expected the attributes {expected}: {card.attributes}")
    return card


def _weights(net: nn.Module) -> dict[str, Tensor]:
    """Get the state without batch normalisation's step counters, which nothing reads."""
    return {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def _load_state(net: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load all weights or raise, naming the file and the first weight that does not fit."""
    expected = {name: tuple(value.shape) for name, value in _weights(net).items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path}: {name}: the network has {expected.get(name)}, the file {found.get(name)}"
            )
    net.load_state_dict(state, strict=False)
