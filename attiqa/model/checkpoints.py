"""Networks on disk: `name.safetensors` and, beside it, the card `name.json` that explains it."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from attiqa.errors import CheckpointError
from attiqa.files import write_atomically
from attiqa.model.cards import Card, read_card
from attiqa.model.networks import AttributeNet, QualityNet

COUNTERS = "num_batches_tracked"
"""Batch normalisation's step counters, which nothing reads."""


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
    """Initialise the backbone from a safetensors file of timm; a classifier in it is left out.

    Raises:
        CheckpointError: The file is missing or broken, or does not fit the backbone.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from error
    classifier = cast(dict[str, Any], net.backbone.pretrained_cfg).get("classifier") or ()
    layers = (classifier,) if isinstance(classifier, str) else classifier
    known = net.backbone.state_dict()
    for name in list(state):
        if name not in known and name.startswith(tuple(f"{layer}." for layer in layers)):
            del state[name]
    _load_state(net.backbone, state, path)


def _weights(net: nn.Module) -> dict[str, Tensor]:
    """Get the state without `COUNTERS`."""
    return {k: v for k, v in net.state_dict().items() if not k.endswith(COUNTERS)}


def _load_state(net: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load all weights or raise, naming the file and the first weight that does not fit."""
    expected = {name: tuple(value.shape) for name, value in _weights(net).items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    found = {name: shape for name, shape in found.items() if not name.endswith(COUNTERS)}
    names = sorted(expected.keys() | found.keys())
    wrong = [name for name in names if expected.get(name) != found.get(name)]
    if wrong:
        first = wrong[0]
        raise CheckpointError(
            f"{path}: {first}: the network has {expected.get(first)}, the file {found.get(first)}; "
            f"{len(wrong)} of {len(names)} weights do not fit"
        )
    net.load_state_dict({name: state[name] for name in found}, strict=False)
