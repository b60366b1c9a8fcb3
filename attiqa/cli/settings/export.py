"""Settings of `attiqa export`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from attiqa.cli.settings.checks import require_folder_to_write, require_model


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

    def check(self) -> None:
        """Refuse a model that is not there or has no quality score."""
        require_model(self.model, scores=True)
        if not self.graph:
            require_folder_to_write(self.out.parent)
