"""Settings of `attiqa select-prompts`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from attiqa.cli.settings.checks import (
    require,
    require_between,
    require_device_name,
    require_folder_to_write,
    require_photos,
)
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.errors import DatasetLayoutError
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
    subset: bool = False
    """The folder holds a part of SPAQ on purpose."""
    encoder: Annotated[ClipEncoder, tyro.conf.arg(name="")] = field(default_factory=ClipEncoder)
    """Which CLIP model."""
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
        """Refuse what is not there, before a model is downloaded for it."""
        if not self.photos:
            raise DatasetLayoutError("photos: expected image files or folders; none were given")
        for path in self.photos:
            require_photos(path, "file or folder")
        if self.spaq is not None:
            require(self.spaq)
        require_between("spaq_share", self.spaq_share, 0, 1)
        require_between("batch_size", self.batch_size, 1)
        require_device_name(self.device)
        require_folder_to_write(self.out)
