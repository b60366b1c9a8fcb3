"""Write a model as ONNX."""

from rich import print

from attiqa.cli.settings.export import Settings
from attiqa.model.adapters.onnx_export import export_graph, export_onnx
from attiqa.model.quality_model import load_model
from attiqa.model.sources import weight_file


def main(settings: Settings) -> None:
    """Export."""
    if settings.graph:
        weights = weight_file(settings.model)
        print(f"{export_graph(load_model(weights), weights)}")
        return
    path = export_onnx(load_model(settings.model), settings.out)
    print(f"{path}, {path.with_suffix('.json')}")
