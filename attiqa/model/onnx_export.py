"""A model as ONNX: display RGB in [0, 1] of any batch and size to score and attributes."""

import copy
import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from attiqa.errors import AttiqaError
from attiqa.files import write_atomically
from attiqa.model.inputs import MIN_SIDE
from attiqa.model.quality_model import QualityModel

TRACED_SIDE = 4 * MIN_SIDE


class ExportError(AttiqaError):
    """A model cannot be written in another format."""


def export_onnx(model: QualityModel, out: Path) -> Path:
    """Write `model.predict` as ONNX, its card beside it and in the file's metadata.

    Input `images` (b, 3, h, w); outputs `score` (b,) and `attributes` (b, 5). The photographs are
    resized and cropped by the caller: the card's protocol says how.

    Args:
        model: On the CPU.
        out: The `.onnx` file; its card is written as `.json`.

    Raises:
        ExportError: The packages of the extra `attiqa[onnx]` are missing, or another suffix.
    """
    if out.suffix != ".onnx":
        raise ExportError(f"{out}: expected the suffix .onnx")
    card = json.dumps(asdict(model.card), indent=2, default=str)
    example = torch.rand(2, 3, TRACED_SIDE, TRACED_SIDE + MIN_SIDE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the exporter's own internals
            program = torch.onnx.export(
                _without_computed_padding(model.net),
                (example,),
                input_names=["images"],
                output_names=["score", "attributes"],
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise ExportError(f"{error}; install the extra: pip install 'attiqa[onnx]'") from error
    assert program is not None  # it is None only from the exporter without dynamo
    program.model.metadata_props["card"] = card
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    program.save(part, external_data=False)
    write_atomically(out.with_suffix(".json"), card.encode() + b"\n")
    os.replace(part, out)
    return out


class _LastPixelConv(nn.Module):
    """TensorFlow's "SAME" convolution of stride 2, without a padding that depends on the size.

    It looks at every second pixel from the last one backwards, whatever the parity of the size: a
    convolution with symmetric padding of the mirrored picture.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        conv = self.conv
        padding = [side // 2 for side in conv.kernel_size]
        mirrored = functional.conv2d(
            x.flip(-2, -1), conv.weight.flip(-2, -1), conv.bias, 2, padding, 1, conv.groups
        )
        return mirrored.flip(-2, -1)


def _without_computed_padding(net: nn.Module) -> nn.Module:
    """Copy with constant paddings: the exporter takes half an hour over computed ones."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Conv2dSame) and child.stride == (2, 2):
                setattr(module, name, _LastPixelConv(cast(nn.Conv2d, child)))
    return net
