"""Settings of `attiqa finetune`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from attiqa.cli.settings.checks import (
    require_between,
    require_dataset,
    require_default,
    require_file,
    require_folder_to_write,
    require_model,
    require_photos,
)
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import DatasetLayoutError, SettingsError
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
    model: str | None = None
    """Weight file (.safetensors) of a pretrained or fine-tuned network, with its card beside it, or
    any name of a model; without, `architecture` and `init`."""
    architecture: Architecture = field(default_factory=Architecture)
    """The network, where there is no model."""
    init: Path | None = None
    """Weights of its backbone from timm (safetensors, no classifier); random without."""
    official: bool = False
    """Take the authors' split instead of a random one of 80 % and 20 %; as in the paper, that of
    FLIVE and AVA is taken in any case."""
    split_seed: int = 0
    """Fixes the random split."""
    validation: float = 0.0
    """Share of the photographs, out of those for training, that epochs can be compared on; 0 is the
    paper."""
    finetuning: FinetuneSettings = field(default_factory=FinetuneSettings.paper)
    """The paper's where it states them. Attributes are labelled by measurement."""
    protocol: Annotated[CropProtocol, arg(name="")] = field(default_factory=CropProtocol)
    """How whole photographs are tested and scored."""
    machine: Machine = field(default_factory=Machine)
    """Where to train."""
    name: str = "finetuned"
    """Name of the network's files."""
    out: Path = Path("runs/finetune")
    """Folder for the network, its card, its history, the state of the run and TensorBoard."""

    def check(self) -> None:
        """Refuse data sets and models that are not known or not there, and what is not used."""
        if self.data is not None:
            require_dataset(self.dataset, self.data, self.scale, self.mixed, "mixed")
        elif self.pairs is None or self.mixed or self.official:
            raise DatasetLayoutError(
                "data: expected the folder of a data set, or --pairs alone without --mixed and "
                "--official; found none"
            )
        if self.pairs is not None:
            require_file(self.pairs, "table of pairs")
        require_model(self.distilled, scores=True)
        require_model(self.model)
        if self.init is not None:
            require_file(self.init, "weight file")
        if self.unlabelled is not None:
            require_photos(self.unlabelled)
        require_folder_to_write(self.out)
        require_between("validation", self.validation, 0, 0.8)
        if self.model is not None:
            why = "the model has its own network"
            require_default(self.architecture, Architecture(), why)
            if self.init is not None:
                raise SettingsError(f"init: {why}; leave out either of the two")
        weight = self.finetuning.distillation_weight
        if bool(weight) != (self.distilled is not None):
            raise SettingsError(
                f"distilled: expected a model and a weight, or neither; found {self.distilled} and "
                f"--finetuning.distillation-weight {weight:g}"
            )
        if self.unlabelled is not None and self.distilled is None:
            raise SettingsError(
                "unlabelled: nobody rated these photographs; expected --distilled MODEL"
            )
        within = self.finetuning.plcc_weight + self.finetuning.norm_in_norm_weight
        within += self.finetuning.rank_weight + self.finetuning.fidelity_weight
        if self.mixed and not within:
            raise SettingsError(
                "mixed: data sets are compared within themselves; expected a weight above 0 of "
                "--finetuning.plcc-weight, norm-in-norm-weight, rank-weight or fidelity-weight"
            )
