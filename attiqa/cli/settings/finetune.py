"""Settings of `attiqa finetune`."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from attiqa.cli.settings.checks import require, require_dataset, require_model
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol
from attiqa.model.architecture import Architecture
from attiqa.training.settings import FinetuneSettings


@dataclass(frozen=True)
class Settings:
    """Fit a network to human scores (section 3.5); a run that was killed continues."""

    data: Positional[Path]
    """Folder of the data set."""
    dataset: str = "koniq"
    """Name of its official layout; "plain" for photographs of your own with a scores.csv (columns
    name, mos and, if you like, group)."""
    scale: tuple[float, float] | None = None
    """Lowest and highest possible score, of "plain" only."""
    subset: bool = False
    """The folder holds a part of the data set on purpose."""
    mixed: tuple[str, ...] = ()
    """More data sets to learn from, NAME=FOLDER: their official training part, or all of them. They
    are compared within themselves (needs a PLCC, norm-in-norm or ranking weight)."""
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
        require_dataset(self.dataset, self.data, self.scale, self.mixed)
        require_model(self.distilled)
        for path in (self.model, self.init):
            if path is not None:
                require(path, "weight file")
