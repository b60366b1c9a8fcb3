"""Settings of `attiqa pretrain`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from attiqa.cli.settings.checks import require
from attiqa.cli.settings.machine import Machine
from attiqa.cli.settings.prompting import Prompting
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
    clip: str = "ViT-B-16-quickgelu"
    """Model name of open_clip."""
    clip_weights: str | None = "openai"
    """Tag of open_clip or a local weight file; None for random weights."""
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
        """Refuse files that are not there."""
        require(self.photos)
        for labels in self.labels:
            require(labels)
        if self.init is not None:
            require(self.init, "weight file")
