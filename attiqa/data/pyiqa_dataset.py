"""Our readers of official layouts as a data set of pyiqa: the entry point of "pyiqa.datasets".

In the options of a training of pyiqa:

    type: AttiqaDataset
    dataset: koniq             # any name of `attiqa finetune --dataset`
    dataroot_target: KONIQ     # the folder as it was unpacked
    split_index: official      # or the number of a random 80/20 split, from 1; without, all
    phase: train               # or val, test

Opinion scores are as published, higher is better; `mos_normalize: true` brings them to [0, 1].
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photos.decoding import read_photo
from attiqa.data.splits import random_splits
from attiqa.errors import DatasetLayoutError

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Phases of pyiqa by the parts of a split."""


def register() -> None:
    """Add `AttiqaDataset` to pyiqa; again where it was done before."""
    base = import_module("pyiqa.data.base_iqa_dataset").BaseIQADataset
    registry = import_module("pyiqa.utils.registry").DATASET_REGISTRY
    registry.register(make_class(base), override=True)


def make_class(base: Any) -> type:
    """Derive the data set from pyiqa's base class, which only pyiqa can be asked for."""

    class AttiqaDataset(base):
        """Rated photographs with pyiqa's augmentations.

        Args:
            opt: pyiqa's options of a data set, and of `load_dataset` `dataset`, `subset`, `scale`;
                of random splits `validation`, the share kept for phase "val", 0 by default.
        """

        def init_path_mos(self, opt: dict[str, Any]) -> None:
            scale = opt.get("scale")
            self.photos = load_dataset(
                opt["dataset"],
                Path(opt["dataroot_target"]),
                bool(opt.get("subset", False)),
                scale and (float(scale[0]), float(scale[1])),
            )
            opt.setdefault("mos_range", self.photos.scale)
            opt.setdefault("lower_better", False)
            pairs = zip(self.photos.paths, self.photos.mos.tolist(), strict=True)
            self.paths_mos = [[str(path), mos] for path, mos in pairs]

        def get_split(self, opt: dict[str, Any]) -> None:
            index, photos = opt.get("split_index"), self.photos
            if index is None:
                return
            if index == "official":
                if photos.split is None:
                    raise DatasetLayoutError(f"{photos.name} has no official split; give a number")
                split = photos.split
            else:
                share = float(opt.get("validation", 0.0))
                drawn = random_splits(len(photos.paths), int(index), 0.2, share, photos.groups)
                split = drawn[-1]
            kept = getattr(split, PARTS[self.phase])
            self.paths_mos = [self.paths_mos[row] for row in kept.tolist()]

        def __getitem__(self, index: int) -> dict[str, Any]:
            path, mos = self.paths_mos[index]
            image = self.trans(Image.fromarray(read_photo(Path(path)))) * self.img_range
            return {"img": image, "mos_label": torch.tensor([mos]), "img_path": path}

    return AttiqaDataset
