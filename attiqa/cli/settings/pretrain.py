"""Settings of `attiqa pretrain`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from attiqa.cli.settings.checks import (
    MEASURED,
    count_photos,
    require,
    require_default,
    require_file,
    require_folder_to_write,
    require_photos,
)
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.cli.settings.machine import Machine
from attiqa.cli.settings.prompting import Prompting
from attiqa.errors import DatasetLayoutError, SettingsError
from attiqa.model.architecture import Architecture
from attiqa.training.settings import PretrainSettings


@dataclass(frozen=True)
class Settings:
    """Pretrain on unlabelled photographs (section 3.4); a run that was killed continues."""

    photos: Positional[Path]
    """Folder of photographs."""
    labels: tuple[Path, ...] = ()
    """What `attiqa label` wrote about that folder; without, crops are labelled as drawn. Of several
    teachers or views, the ranks are averaged."""
    teacher: Literal["clip", "measured"] = "clip"
    """Who labels the crops where there are no labels."""
    encoder: Annotated[ClipEncoder, tyro.conf.arg(name="")] = field(default_factory=ClipEncoder)
    """Which CLIP model, where there are no labels."""
    prompting: Annotated[Prompting, tyro.conf.arg(name="")] = field(default_factory=Prompting)
    """What CLIP compares with, where there are no labels."""
    architecture: Architecture = field(default_factory=Architecture)
    """The network; its attributes are those of the labels or of the teacher."""
    init: Path | None = None
    """Weights of the backbone from timm (safetensors, no classifier); random without."""
    pretraining: PretrainSettings = field(default_factory=PretrainSettings.paper)
    """The paper's where it states them."""
    machine: Machine = field(default_factory=Machine)
    """Where to train."""
    name: str = "pretrained"
    """Name of the network's files."""
    out: Path = Path("runs/pretrain")
    """Folder for the network, its card, its history, the state of the run and TensorBoard."""

    def check(self) -> None:
        """Refuse what is not there or is not used, before a model is downloaded for it."""
        require_photos(self.photos)
        if not self.labels:
            schedule, (devices, nodes) = self.pretraining.schedule, self.machine.size
            enough = schedule.step_photographs(devices * nodes)
            schedule.epoch_steps(count_photos(self.photos, enough), devices * nodes)
        for labels in self.labels:
            require(labels)
            if not (labels / "manifest.json").is_file():
                raise DatasetLayoutError(
                    f"{labels}: no manifest.json; expected a folder that `attiqa label` wrote"
                )
        if self.init is not None:
            require_file(self.init, "weight file")
        require_folder_to_write(self.out)
        if self.labels or self.teacher == "measured":
            why = "the labels are there" if self.labels else MEASURED
            require_default(self.encoder, ClipEncoder(), why)
            require_default(self.prompting, Prompting(), why)
        else:
            self.prompting.read()
        if self.labels and self.teacher != "clip":
            raise SettingsError("teacher: the labels are there; leave out either of the two")
        if self.labels and self.pretraining.distorted:
            raise SettingsError(
                f"pretraining.distorted: stored labels know no distortion; expected 0, found "
                f"{self.pretraining.distorted}"
            )
        if len(self.labels) > 1 and self.pretraining.loss == "eq2":
            raise SettingsError(
                "pretraining.loss: eq2 needs the differences of one teacher's cosines, and "
                f"averages of {len(self.labels)} have none; give one folder of labels"
            )
