"""Settings of `attiqa label`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from attiqa.cli.settings.checks import (
    MEASURED,
    TABLE,
    require_between,
    require_default,
    require_device_name,
    require_file,
    require_folder_to_write,
    require_photos,
)
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.cli.settings.prompting import Prompting
from attiqa.errors import TeacherError
from attiqa.labels.loading import Loading


@dataclass(frozen=True)
class Settings:
    """Settings of a labelling."""

    folder: tyro.conf.Positional[Path]
    """Photographs, at any depth."""
    out: Path
    """Folder of the labels; an unfinished one is continued."""
    teacher: Literal["clip", "measured", "table"] = "clip"
    """Who labels: CLIP, measurements of the signal (nothing to download), or a table of scores."""
    table: Path | None = None
    """Of the teacher "table": .csv or .xlsx, a row per photograph, with the columns name (or path,
    relative to the folder) and the five attributes, or score for a network with a single head."""
    columns: tuple[str, ...] = ()
    """Of that table: other columns to take, one head each."""
    encoder: Annotated[ClipEncoder, tyro.conf.arg(name="")] = field(default_factory=ClipEncoder)
    """Which CLIP model."""
    prompting: Annotated[Prompting, tyro.conf.arg(name="")] = field(default_factory=Prompting)
    """What CLIP compares with."""
    magnitude: bool = False
    """CLIP: one more label and head, the normalised magnitude of the feature (MA-CLIP)."""
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
        """Refuse what is not there or is not used, before a model is downloaded for it."""
        require_photos(self.folder)
        require_device_name(self.device)
        require_between("side", 32 if self.side is None else self.side, 32)
        require_between("batch_size", self.loading.batch_size, 1)
        require_between("workers", self.loading.workers, 0)
        require_folder_to_write(self.out)
        if (self.teacher == "table") != (self.table is not None) or (
            self.columns and self.table is None
        ):
            raise TeacherError(
                "teacher: expected --teacher table together with --table and no other with it; "
                f"found teacher {self.teacher}, table {self.table}, columns {self.columns}"
            )
        if self.table is not None:
            require_file(self.table, "table of scores")
        if self.teacher != "clip":
            why = MEASURED if self.teacher == "measured" else TABLE
            require_default(self.encoder, ClipEncoder(), why)
            require_default(self.prompting, Prompting(), why)
        else:
            self.prompting.read()
