"""Settings of `attiqa label`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from attiqa.cli.settings.checks import require
from attiqa.cli.settings.prompting import Prompting
from attiqa.labels.loading import Loading


@dataclass(frozen=True)
class Settings:
    """Settings of a labelling."""

    folder: tyro.conf.Positional[Path]
    """Photographs, at any depth."""
    out: Path
    """Folder of the labels; an unfinished one is continued."""
    teacher: Literal["clip", "measured"] = "clip"
    """Who labels: CLIP, or measurements of the signal (nothing to download)."""
    architecture: str = "ViT-B-16-quickgelu"
    """CLIP: model name of open_clip."""
    pretrained: str | None = "openai"
    """CLIP: tag of open_clip or a local weight file; None for random weights."""
    prompting: Annotated[Prompting, tyro.conf.arg(name="")] = field(default_factory=Prompting)
    """What CLIP compares with."""
    view: Literal["center", "native5"] = "center"
    """Short side resized, square in the centre; or the mean of five squares at native scale."""
    side: int | None = None
    """Side of the squares in pixels; the CLIP model's own, or 512 for measurements, without."""
    device: str = "cpu"
    """Where the teacher runs; `cuda` is each process' own under torchrun."""
    retry_rejects: bool = False
    """Try the images again that an earlier run could not read."""
    loading: Loading = field(default_factory=Loading)
    """Batches, workers and shards; no label depends on them."""

    def check(self) -> None:
        """Refuse a folder that is not there."""
        require(self.folder)
