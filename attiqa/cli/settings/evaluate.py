"""Settings of `attiqa evaluate`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from attiqa.cli.settings.checks import (
    require_between,
    require_dataset,
    require_file,
    require_folder_to_write,
    require_model,
)
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import SettingsError
from attiqa.evaluation.finished.sources import check_source, is_foreign
from attiqa.model.architecture import Architecture
from attiqa.training.settings import FinetuneSettings


@dataclass(frozen=True)
class Settings:
    """Measure a model by a protocol of the field; a run that was killed continues."""

    protocol: Positional[Literal["as-is", "attributes", "fine-tune", "linear-probe", "pairs"]]
    """as-is: score a data set; the result says whether it is zero-shot. attributes: compare each
    attribute head with people's scores of that attribute (SPAQ). fine-tune and linear-probe:
    train on splits of a data set and test on their rest; fine-tune also tells how far the features
    drifted. pairs: preferences between two images."""
    data: Positional[Path]
    """Folder of the data set; for pairs, a CSV file: first, second, preference (share of the people
    who prefer the first), image files relative to it."""
    dataset: str = "koniq"
    """Name of its official layout; "plain" for photographs of your own with a scores.csv (columns
    name, mos and, if you like, std and group)."""
    scale: tuple[float, float] | None = None
    """Lowest and highest possible score, of "plain" only."""
    subset: bool = False
    """The folder holds a part of the data set on purpose."""
    others: tuple[str, ...] = ()
    """More data sets to test each trained model on, NAME=FOLDER: cross-dataset results, on their
    official test part where they have one, and on all of them."""
    model: str = "embedded"
    """Weight file (.safetensors) of a pretrained or fine-tuned network, or any name of a model;
    for as-is and pairs also pyiqa:NAME, table:FILE or clip-iqa, as in `attiqa compare`."""
    init: Path | None = None
    """Instead of a model, backbone weights from timm (safetensors, no classifier): what ImageNet or
    CLIP pretraining is worth by the same protocol."""
    architecture: Architecture = field(default_factory=Architecture)
    """The network of `init`."""
    splits: int | None = None
    """Random splits of 80 % and 20 %; if not given, as in the paper ten, but the authors' split of
    FLIVE and AVA."""
    official: bool = False
    """Take the authors' split instead of random ones."""
    split_file: Path | None = None
    """Divisions as lists of file names: the splits.json of another run, or a JSON file of your own,
    [{"train": [NAME, ...], "validation": [...], "test": [...]}, ...]."""
    validation: float = 0.0
    """Share of the photographs, out of the 80 %, that an epoch is selected on; 0 is the paper."""
    labels: float = 1.0
    """Share of all photographs whose labels are known: 0.1 and 0.2 in the paper; 1 for all."""
    by_group: bool = True
    """Keep a reference or prompt on one side of each split (KADID-10k, TID2013, AGIQA-3k, groups of
    your own). Without, photographs are divided at random, and what a test photograph shows has been
    trained on: such results promise too much."""
    features: Literal["backbone", "heads"] = "backbone"
    """What is probed: the pooled features, or the hidden features of the heads."""
    probe: Literal["mlp", "ridge"] = "mlp"
    """What linear-probe fits: an MLP with one hidden layer as in the paper, or ridge regression as
    in CONTRIQUE and Re-IQA."""
    short_side: int = 340
    """Tested photographs are resized to it; as-is and pairs follow the model's card."""
    crop: int = 320
    """Side of their five crops."""
    further: tuple[int, ...] = ()
    """More short sides that five crops are taken at; 0 is the photograph's own size."""
    evaluate_every: int = 1
    """Epochs from one test to the next; 0 tests after the last one alone."""
    finetuning: FinetuneSettings = field(default_factory=FinetuneSettings.paper)
    """Of fine-tune."""
    machine: Machine = field(default_factory=Machine)
    """Where to compute."""
    cache: Path | None = Path("runs/cache/pixels")
    """Folder where photographs are kept as pixels of the size that they are looked at (KonIQ-10k at
    340 pixels: 5 GB), so that each is decoded once; None decodes them each time."""
    keep_networks: bool = False
    """Write the network that was trained on each split."""
    out: Path | None = None
    """Folder for results.json, splits.json, the predictions for each photograph, and the states of
    a training that is under way; runs/evaluate/PROTOCOL if not given."""

    def __post_init__(self) -> None:
        _ = self.whole  # refuses a short side below the crop before any data set is read

    @property
    def folder(self) -> Path:
        """`out`, or the default."""
        return self.out or Path("runs/evaluate") / self.protocol

    @property
    def whole(self) -> CropProtocol:
        """How a trained network looks at whole photographs."""
        return CropProtocol(self.short_side, self.crop, self.further)

    def check(self) -> None:
        """Refuse data sets and models that are not known or not there."""
        finished = self.protocol in ("as-is", "pairs")
        if self.init is not None:
            if self.protocol not in ("fine-tune", "linear-probe"):
                raise SettingsError(f"init: {self.protocol} needs a trained network, by --model")
            require_file(self.init, "weight file")
        elif is_foreign(self.model):
            if not finished:
                raise SettingsError(
                    f"model: expected a network of this package to {self.protocol}; {self.model} "
                    "is measured as it is, by as-is and pairs"
                )
            check_source(self.model)
        else:
            require_model(self.model, scores=finished)
        if self.split_file is not None:
            require_file(self.split_file, "file of divisions")
        require_folder_to_write(self.folder)
        if self.protocol == "pairs":
            require_file(self.data, "table of pairs")
        else:
            require_dataset(self.dataset, self.data, self.scale, self.others, "others")
        require_between("labels", self.labels, 0, 1)
        require_between("validation", self.validation, 0, 0.8)
        require_between("splits", 1 if self.splits is None else self.splits, 1)
        require_between("evaluate_every", self.evaluate_every, 0)
