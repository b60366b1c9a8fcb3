"""A model as ONNX: display RGB in [0, 1] of any batch and size to score and attributes."""

import copy
import json
import os
import struct
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from attiqa.errors import AttiqaError
from attiqa.files import write_atomically
from attiqa.model.quality_model import QualityModel
from attiqa.model.sizes import MIN_SIDE

TRACED_SIDE = 4 * MIN_SIDE

SMALL = 2048
"""Bytes of a constant that may lie in a graph whose weights lie elsewhere."""


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
    program = _program(model)
    program.model.metadata_props["card"] = card
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    program.save(part, external_data=False)
    write_atomically(out.with_suffix(".json"), card.encode() + b"\n")
    os.replace(part, out)
    return out


def export_graph(model: QualityModel, weights: Path) -> Path:
    """Write the graph of `model.predict` alone: its weights stay in their `.safetensors` file.

    They are ONNX's "external data" there, at the places that the file's header states.

    Args:
        model: On the CPU.
        weights: The file that it was loaded from; `NAME.onnx` is written beside it.

    Returns:
        The graph, which any ONNX runtime loads while it lies there.

    Raises:
        ExportError: The packages of the extra `attiqa[onnx]` are missing, or the file has not all
            of the weights.
    """
    proto = _program(model, optimize=False).model_proto
    import onnx  # it is there, as the program was made by it

    types = {"F16": onnx.TensorProto.FLOAT16, "F32": onnx.TensorProto.FLOAT}
    stored, start = _places(weights)
    casts = []
    for tensor in proto.graph.initializer:
        name = tensor.name
        if (entry := stored.get(name)) is None:
            if tensor.ByteSize() > SMALL:
                raise ExportError(f"{weights}: it has no weight {name}")
            continue
        if entry["dtype"] == "F16":
            tensor.name = f"{name}.half"
            cast_to = onnx.TensorProto.FLOAT
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=cast_to))
        tensor.ClearField("raw_data")
        tensor.data_type = types[entry["dtype"]]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        begin, end = entry["data_offsets"]
        place = {"location": weights.name, "offset": start + begin, "length": end - begin}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    nodes = [*casts, *proto.graph.node]
    for node in nodes:  # what the exporter tells about itself is nine tenths of the file
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.node[:], proto.graph.value_info[:], proto.graph.metadata_props[:]
    proto.graph.node.extend(nodes)
    proto.metadata_props.add(key="weights_sha256", value=model.card.sha256)
    out = weights.with_suffix(".onnx")
    write_atomically(out, proto.SerializeToString())
    return out


def _places(weights: Path) -> tuple[dict[str, Any], int]:
    """Read the header of a safetensors file: where its tensors lie, and where the data begin."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def _program(model: QualityModel, **options: Any) -> torch.onnx.ONNXProgram:
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
                **options,
            )
    except ImportError as error:
        raise ExportError(f"{error}; install the extra: pip install 'attiqa[onnx]'") from error
    assert program is not None  # it is None only from the exporter without dynamo
    return program


class _LastPixelConv(nn.Module):
    """TensorFlow's "SAME" convolution of stride 2, without a padding that depends on the size.

    It looks at every second pixel from the last one backwards, whatever the parity of the size: a
    convolution with symmetric padding of the mirrored picture.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias  # under the names that they are stored by
        self.padding, self.groups = [side // 2 for side in conv.kernel_size], conv.groups

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        weight = self.weight.flip(-2, -1)
        mirrored = functional.conv2d(
            x.flip(-2, -1), weight, self.bias, 2, self.padding, 1, self.groups
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
