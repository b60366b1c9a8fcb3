"""Settings of `attiqa score`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from attiqa.cli.settings.checks import require_between, require_device_name, require_model
from attiqa.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """Score photographs; run it again to continue where it was interrupted."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, and folders that are searched for image files."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Table to write: .csv, .jsonl or .parquet. A file that it has a score for is
    skipped, unless the file was written after the table."""
    model: str = "embedded"
    """"embedded" or the name of an embedded model, a .safetensors file, a folder, or
    hf://owner/repository[@revision]."""
    device: str = "cpu"
    """Where the model runs, such as "cuda"."""
    batch_size: int | None = None
    """Photographs that go through the model together; by default 1 on a CPU, 32 elsewhere."""
    workers: int = 2
    """Threads that decode ahead."""
    crops: Literal[1, 5] = 5
    """Of each scale of a photograph: the four corners and the centre, or 1, the centre alone, which
    takes a fifth of the network's time; the table says so."""
    uncertainty: bool = False
    """Add to each score the spread over its crops (score_sd) and an interval for the mean opinion
    of people (score_low, score_high), as the model's card has it calibrated."""

    map: Path | None = None
    """Folder for a picture of each photograph: where in it the quality is, as the scores of
    overlapping windows; the table alone if not given."""

    def check(self) -> None:
        """Refuse a model that is not there, an interval of one crop, or maps among photographs.

        Files are looked for by the command.

        Raises:
            CheckpointError: There is no such model with a quality score.
            SettingsError: Other settings make no sense.
        """
        require_model(self.model, scores=True)
        require_device_name(self.device)
        require_between("batch_size", 1 if self.batch_size is None else self.batch_size, 1)
        require_between("workers", self.workers, 1)
        if self.uncertainty and self.crops == 1:
            raise SettingsError(
                "uncertainty: is calibrated with all crops of a photograph; leave out --crops 1"
            )
        for folder in self.paths:
            if self.map and self.map.absolute().is_relative_to(folder.absolute()):
                raise SettingsError(
                    f"map: {self.map} lies in {folder}, where maps would be taken for "
                    "photographs; name a folder outside"
                )
