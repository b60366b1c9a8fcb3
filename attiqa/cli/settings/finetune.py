"""Settings of `attiqa finetune`."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from attiqa.cli.settings.checks import require, require_dataset, require_model
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import DatasetLayoutError
from attiqa.model.architecture import Architecture
from attiqa.training.settings import FinetuneSettings


@dataclass(frozen=True)
class Settings:
    """Fit a network to human scores (section 3.5); a run that was killed continues."""

    data: Positional[Path | None] = None
    """Folder of the data set; without, preferences are learnt alone (`pairs`)."""
    dataset: str = "koniq"
    """Name of its official layout; "plain" for photographs of your own with a scores.csv (columns
    name, mos and, if you like, std and group)."""
    scale: tuple[float, float] | None = None
    """Lowest and highest possible score, of "plain" only."""
    subset: bool = False
    """The folder holds a part of the data set on purpose."""
    mixed: tuple[str, ...] = ()
    """More data sets to learn from, NAME=FOLDER: their official training part, or all of them. They
    are compared within themselves (needs a PLCC, norm-in-norm or ranking weight)."""
    pairs: Path | None = None
    """Preferences to learn from, besides the scores or alone: a CSV file with the columns first,
    second and preference (share of the people who prefer the first), image files relative to it.
    Beside scores all of them are learnt; alone, a fifth of the pairs is kept aside for the test."""
    distilled: str | None = None
    """A model whose scores of the same crops are learnt, too (`distillation_weight`): an
    embedded name, a file, a folder or hf://."""
    unlabelled: Path | None = None
    """Photographs that nobody rated, learnt from that model alone."""
    model: Path | None = None
    """Pretrained weight file (.safetensors) with its card; without, `architecture` and `init`."""
    architecture: Architecture = field(default_factory=Architecture)
    """The network, where there is no model."""
    init: Path | None = None
    """Weights of its backbone from timm (safetensors, no classifier); random without."""
    official: bool = False
    """Take the authors' split instead of a random one of 80 % and 20 %."""
    split_seed: int = 0
    """Fixes the random split."""
    validation: float = 0.1
    """Share of the photographs, out of those for training, that epochs can be compared on."""
    finetuning: FinetuneSettings = field(default_factory=FinetuneSettings.paper)
    """The paper's where it states them. Attributes are labelled by measurement."""
    protocol: CropProtocol = field(default_factory=CropProtocol)
    """How whole photographs are tested and scored."""
    machine: Machine = field(default_factory=Machine)
    """Where to train."""
    name: str = "finetuned"
    """Name of the network's files."""
    out: Path = Path("runs/finetune")
    """Folder for the network, its card, its history, the state of the run and TensorBoard."""

    def check(self) -> None:
        """Refuse data sets and models that are not known or not there."""
        if self.data is not None:
            require_dataset(self.dataset, self.data, self.scale, self.mixed)
        elif self.pairs is None or self.mixed or self.official:
            raise DatasetLayoutError(
                "data: expected the folder of a data set, or --pairs alone without --mixed and "
                "--official; found none"
            )
        if self.pairs is not None:
            require(self.pairs, "file")
        require_model(self.distilled)
        for path in (self.model, self.init):
            if path is not None:
                require(path, "weight file")
