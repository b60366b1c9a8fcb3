"""Settings of `attiqa select-prompts`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from attiqa.cli.settings.checks import require
from attiqa.teachers.choices import View


@dataclass(frozen=True)
class Settings:
    """Settings of a prompt selection."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Clean photographs to distort, files or folders; a hundred or more."""
    out: Path
    """Folder for prompts.json and prompts.png."""
    spaq: Path | None = None
    """Folder of SPAQ for the task on human scores; distortions alone without."""
    spaq_share: float = 1.0
    """Random share of SPAQ that is used (the paper: all). The result names the photographs: they
    are no test set any more."""
    spaq_subset: bool = False
    """The folder holds a part of SPAQ."""
    architecture: str = "ViT-B-16-quickgelu"
    """Model name of open_clip."""
    pretrained: str = "openai"
    """Tag of open_clip or a local weight file."""
    view: View = "center"
    """How a photograph is shown to the model."""
    side: int | None = None
    """Side of what is shown in pixels; the model's own without."""
    short_side: int = 512
    """Larger photographs are first shrunk to this, before they are distorted."""
    seed: int = 0
    """Fixes the noise and the share of SPAQ."""
    cache: Path = Path("runs/cache/embeddings")
    """Folder for the features, which are computed once."""
    batch_size: int = 64
    """Images that are encoded at once."""
    device: str = "cpu"
    """Where the model runs."""

    def check(self) -> None:
        """Refuse files that are not there."""
        for path in self.photos:
            require(path, "file or folder")
        if self.spaq is not None:
            require(self.spaq)
