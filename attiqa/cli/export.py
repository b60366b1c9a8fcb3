"""Write a model as ONNX."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich import print

from attiqa.model.onnx_export import export_graph, export_onnx
from attiqa.model.quality_model import load_model
from attiqa.model.sources import weight_file


@dataclass(frozen=True)
class Settings:
    """Write a model as ONNX with its card beside it; batch and size stay free."""

    model: tyro.conf.Positional[str] = "embedded"
    """"embedded" or the name of an embedded model, a .safetensors file, a folder, or
    hf://owner/repository[@revision]."""
    out: Path = Path("model.onnx")
    """The file to write."""
    graph: bool = False
    """Write the graph alone, beside the model's .safetensors file, where its weights stay: with it
    `attiqa score` runs without PyTorch."""


def main(settings: Settings) -> None:
    """Export."""
    if settings.graph:
        weights = weight_file(settings.model)
        print(f"{export_graph(load_model(weights), weights)}")
        return
    path = export_onnx(load_model(settings.model), settings.out)
    print(f"{path}, {path.with_suffix('.json')}")
