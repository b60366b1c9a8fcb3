"""What all cells share: data sets, their divisions, pixels, folders; and what a cell lacks."""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Int
from lightning_fabric import Fabric

from attiqa.data.crops import Photos
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.photo_folder import PhotoFiles, content_hash, list_photos
from attiqa.data.pixel_cache import CachedPhotos, cache_pixels
from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.data.splits import OFFICIAL, divide
from attiqa.evaluation.protocols import labels_hash
from attiqa.evaluation.run_folder import begin
from attiqa.reproduction.items import Cell, fine_tuned
from attiqa.reproduction.plan_file import Plan
from attiqa.reproduction.starts import Start, starts

CACHED = 20_000
"""So many unlabelled photographs at most are kept as pixels; ImageNet would take 600 GB."""


@dataclass(frozen=True)
class Laboratory:
    """Where cells are computed.

    Attributes:
        plan: Where the data are, and how to train.
        out: Folder of all results; any number of processes and machines may share it.
        fabric: Launched, with one device.
        precision: Of it.
        cache: Folder for pixels; None decodes photographs each time.
        threads: Photographs that are decoded at once.
    """

    plan: Plan
    out: Path
    fabric: Fabric
    precision: str = "32-true"
    cache: Path | None = None
    threads: int = 2
    _photos: dict[str, RatedPhotos] = field(default_factory=dict)
    _splits: dict[str, tuple[Split, ...]] = field(default_factory=dict)
    _pixels: dict[str, CachedPhotos] = field(default_factory=dict)
    _results: dict[Cell, dict[str, Any]] = field(default_factory=dict)

    def open(self) -> None:
        """Claim the folder for this plan, and read the labels of all data sets.

        Raises:
            CheckpointError: It holds results of other settings, labels, weights or pairs.
            DatasetLayoutError: A data set is not in its official layout.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with FileLock(self.out / "open.lock"):  # several processes may begin at once
            begin(self.out, identity(self.plan) | {"precision": self.precision})
            for name, about in contents(self.plan).items():
                begin(self.out / "data" / name, about, claimed=True)
            for name in self.plan.datasets:
                self.photos(name)

    @property
    def starts(self) -> dict[str, Start]:
        """The rows of the tables."""
        return starts(self.plan)

    def photos(self, name: str) -> RatedPhotos:
        """Read a data set, without what is set aside for pretraining.

        Raises:
            DatasetLayoutError: It is not in its official layout.
            CheckpointError: It has other labels than before.
        """
        if name not in self._photos:
            rated = load_dataset(name, self.plan.datasets[name], self.plan.subset)
            aside = set_aside(rated, self.plan.set_aside)
            kept = np.setdiff1d(np.arange(len(rated.paths)), aside)
            found = choose(rated, kept) if len(aside) else rated
            about = {"labels": labels_hash(found), "photographs": len(found.paths)}
            begin(self.out / "data" / name, about, claimed=True)
            self._photos[name] = found
        return self._photos[name]

    def split(self, name: str, number: int) -> Split:
        """Return a division of a data set, numbered from 1."""
        if name not in self._splits:
            photos = self.photos(name)
            as_published = photos.name in OFFICIAL and photos.split is not None
            self._splits[name] = divide(photos, None if as_published else self.plan.splits)
        return self._splits[name][number - 1]

    def pixels(self, name: str, rows: Int[np.ndarray, " n"]) -> Photos:
        """Get photographs of a data set, decoded once at the size that training and test need."""
        photos = self.photos(name)
        if self.cache is None or self.plan.protocol.further:
            return PhotoFiles(photos.paths[row] for row in rows)
        if name not in self._pixels:
            crops = self.plan.finetuning.schedule.crops.short_side[1]
            side = max(self.plan.protocol.short_side, crops)
            self._pixels[name] = cache_pixels(photos.paths, side, self.cache, self.threads)
        return self._pixels[name].choose(rows)

    def unlabelled_folder(self) -> Path:
        """Return the folder of photographs to pretrain on; links to what is set aside."""
        if self.plan.unlabelled is not None:
            return self.plan.unlabelled
        folder = self.out / "unlabelled"
        for name, source in self.plan.datasets.items():
            rated = load_dataset(name, source, self.plan.subset)
            (folder / name).mkdir(parents=True, exist_ok=True)
            for row in set_aside(rated, self.plan.set_aside):
                path = rated.paths[int(row)]
                with contextlib.suppress(FileExistsError):
                    (folder / name / f"{row:06}_{path.name}").symlink_to(path.resolve())
        return folder

    def unlabelled(self, paths: Sequence[Path]) -> Photos:
        """Get photographs to pretrain on: as pixels where they are few, else from their files."""
        if self.cache is None or len(paths) > CACHED:
            return PhotoFiles(paths)
        side = self.plan.pretraining.schedule.crops.short_side[1]
        return cache_pixels(paths, side, self.cache, self.threads)

    def unlabelled_count(self) -> int:
        """Count the photographs to pretrain on, for estimates."""
        if self.plan.unlabelled is not None:
            return sum(1 for path in self.plan.unlabelled.rglob("*") if path.suffix)
        share = self.plan.set_aside / (1 - self.plan.set_aside)
        return round(share * sum(len(self.photos(name).paths) for name in self.plan.datasets))

    def file(self, folder: str, cell: Cell, suffix: str) -> Path:
        """Name a file of a cell."""
        return self.out / folder / (re.sub(r"[^\w.]+", "-", cell.name).strip("-") + suffix)

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Read a finished cell, once: it does not change."""
        path = self.file("cells", cell, ".json")
        if cell not in self._results and path.exists():
            self._results[cell] = json.loads(path.read_text(encoding="utf-8"))
        return self._results.get(cell)


def identity(plan: Plan) -> dict[str, Any]:
    """Return what all cells depend on, ready for JSON; data sets and rows may be added later."""
    free = ("datasets", "baselines", "splits", "unlabelled", "clean", "spaq", "pairs", "subset")

    def still(settings: Any) -> Any:
        """Leave out how many processes decode."""
        return replace(settings, schedule=replace(settings.schedule, workers=0))

    plan = replace(plan, pretraining=still(plan.pretraining), finetuning=still(plan.finetuning))
    kept = {name: value for name, value in asdict(plan).items() if name not in free}
    kept["init"] = plan.init and content_hash([plan.init])[:16]
    return json.loads(json.dumps(kept, default=str))


def contents(plan: Plan) -> dict[str, dict[str, Any]]:
    """Identify, by a name for each, the files of a plan that some cells alone depend on."""
    found: dict[str, dict[str, Any]] = {}
    for name, each in plan.baselines.items():
        network = {"backbone": each.backbone, "mean": list(each.mean), "std": list(each.std)}
        found[f"baseline {name}"] = {"weights": content_hash([each.init])[:16], **network}
    if plan.pairs is not None:
        found["pairs"] = {"table": content_hash([plan.pairs])[:16]}
    if plan.clean is not None:
        photos = list_photos(plan.clean)
        found["clean"] = {"photographs": len(photos), "contents": content_hash(photos)[:16]}
    return found


def needs(plan: Plan, cell: Cell) -> list[Cell]:
    """Return the cells that must be done before."""
    if cell.kind in ("prompts", "labels"):
        chosen = cell.kind == "labels" and " by " in cell.data
        return [Cell("prompts")] if chosen or cell.data == "selected" else []
    start = starts(plan)[cell.start]
    if cell.kind == "pretrain":
        assert start.labelling is not None
        return [Cell("labels", data=start.labelling.name)]
    if cell.kind == "apply":
        return [fine_tuned(plan, cell.start, cell.data)[cell.split - 1]]
    return [] if start.labelling is None else [Cell("pretrain", cell.start)]


def lacking(plan: Plan, cell: Cell) -> list[str]:
    """Name what a plan does not have and a cell needs, its needs' needs included."""
    found = [what for need in needs(plan, cell) for what in lacking(plan, need)]
    if cell.kind == "prompts":
        found += [] if plan.clean else ["clean"]
        found += [] if plan.spaq or "spaq" in plan.datasets else ["spaq"]
    elif cell.kind == "labels" and not (plan.unlabelled or plan.set_aside):
        found.append("unlabelled")
    elif cell.kind in ("fine-tune", "probe") and cell.data not in plan.datasets:
        found.append(f"datasets: {cell.data}")
    elif cell.target == "pairs" and not plan.pairs:
        found.append("pairs")
    elif cell.target and cell.target != "pairs" and cell.target not in plan.datasets:
        found.append(f"datasets: {cell.target}")
    return list(dict.fromkeys(found))


def absent(plan: Plan) -> list[str]:
    """Name the files and folders of a plan that are not there."""
    paths = {f"datasets: {name}": path for name, path in plan.datasets.items()}
    paths |= {f"baselines: {name}": each.init for name, each in plan.baselines.items()}
    for name in ("unlabelled", "clean", "spaq", "pairs", "init"):
        if getattr(plan, name) is not None:
            paths[name] = getattr(plan, name)
    return [
        f"{name}: {path}: no such file or folder"
        for name, path in paths.items()
        if not path.exists()
    ]


def set_aside(photos: RatedPhotos, share: float) -> Int[np.ndarray, " n"]:
    """Choose photographs to pretrain on, the same each time."""
    order = np.random.default_rng(0).permutation(len(photos.paths))
    return np.sort(order[: round(share * len(order))])


def choose(photos: RatedPhotos, rows: Int[np.ndarray, " n"]) -> RatedPhotos:
    """Keep some photographs of a data set, with all that is known of them."""
    place = np.full(len(photos.paths), -1)
    place[rows] = np.arange(len(rows))
    split = photos.split and Split(
        *(
            place[part][place[part] >= 0]
            for part in (photos.split.train, photos.split.validation, photos.split.test)
        )
    )

    def some(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[rows]

    return replace(
        photos,
        paths=tuple(photos.paths[row] for row in rows),
        mos=photos.mos[rows],
        attributes=some(photos.attributes),
        deviations=some(photos.deviations),
        votes=some(photos.votes),
        groups=photos.groups and tuple(photos.groups[row] for row in rows),
        factors={k: tuple(v[row] for row in rows) for k, v in photos.factors.items()},
        split=split,
    )
