"""A model as ONNX: display RGB in [0, 1] of any batch and size to score and attributes."""

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from attiqa.checkpoints import write_atomically
from attiqa.errors import AttiqaError
from attiqa.scoring import MIN_SIDE, QualityModel

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
                model.net,
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
