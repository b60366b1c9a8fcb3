"""The simulated scenes that agents are trained and compared on: shots of clean photographs.

Held-out scenes show photographs that neither an agent, a prior nor their reward was trained on:
those that `isp_env.scenes.truths.part_of` holds out by their names.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.rated_photos import random_split
from isp_env.files import atomic_path
from isp_env.scenes.preview_store import INDEX, PreviewStore, PreviewStoreError
from isp_env.scenes.random_shots import ShotSettings
from isp_env.scenes.simulated_store import write_simulated_store
from isp_env.scenes.truths import Part, part_of, photographs_in, read_truths


@dataclass(frozen=True)
class TruthSettings:
    """Photographs that are truths."""

    photos: Path | None = None
    """Folder of clean photographs."""
    biq2021: Path | None = None
    """Folder of BIQ2021; its best rated photographs are truths to learn from, too."""
    min_mos: float = 0.7
    """Photographs of BIQ2021 that are rated lower are none."""
    mos_test: tuple[int, int] = (3, 300)
    """Seed and photographs of BIQ2021's split whose test part is none: the quality model's."""

    def paths(self, *parts: Part) -> list[Path]:
        """Return the photographs of these parts; those held out are of `photos` alone.

        Raises:
            ValueError: No folder is named, or it holds none of these parts.
        """
        found = photographs_in(self.photos) if self.photos else []
        found = [path for path in found if part_of(path.name) in parts]
        if self.biq2021:
            rated = read_biq2021(self.biq2021, subset=True)
            seed, test = self.mos_test
            count = len(rated.paths)
            kept = random_split(count, 0, min(test, count // 2), seed).train
            good = [rated.paths[row] for row in kept if rated.mos[row] >= self.min_mos]
            learned = set(parts) - {"held out"}
            found += [path for path in good if part_of(path.name) in learned]
        if not found:
            raise ValueError(
                f"no photographs for {' or '.join(parts)!r}: name a folder of clean photographs"
            )
        return found


@dataclass(frozen=True)
class SceneSettings:
    """Which scenes."""

    truths: TruthSettings = field(default_factory=TruthSettings)
    """Photographs that are shot."""
    training: int = 4096
    """Scenes to train on; a photograph is shot several times, each time by another camera."""
    held_out: int = 200
    """Scenes for evaluations."""
    size: tuple[int, int] = (96, 128)
    """Height and width of the previews in pixels."""
    shots: ShotSettings = field(default_factory=ShotSettings)
    """Cameras and mishaps."""
    seed: int = 1
    """Of cameras, mishaps and noise."""


def training_scenes(settings: SceneSettings, folder: Path) -> PreviewStore:
    """Return the store of training scenes, made where it is not there yet."""
    return _store(settings, folder / "training", "training", settings.training)


def held_out_scenes(settings: SceneSettings, folder: Path) -> PreviewStore:
    """Return the store of held-out scenes, made where it is not there yet."""
    return _store(settings, folder / "held_out", "held out", settings.held_out)


def _store(settings: SceneSettings, folder: Path, part: Part, count: int) -> PreviewStore:
    made_of = {k: v for k, v in asdict(settings).items() if k not in ("training", "held_out")}
    made_of = json.loads(json.dumps(made_of | {"part": part, "count": count}, default=str))
    note = folder / "settings.json"
    if (folder / INDEX).exists():
        if not note.exists() or json.loads(note.read_text()) != made_of:
            raise PreviewStoreError(
                f"{folder}: holds scenes of other settings; name another folder"
            )
        return PreviewStore.open(folder)
    photos = dict(zip(*_photographs(settings, part), strict=True))
    seed = settings.seed + (part == "held out")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(note) as temporary:
        temporary.write_text(json.dumps(made_of, indent=1) + "\n")
    return write_simulated_store(folder, photos, count, settings.size, settings.shots, seed)


def _photographs(settings: SceneSettings, part: Part) -> tuple[list[str], list]:
    paths = settings.truths.paths(part)
    return [path.name for path in paths], read_truths(paths, 2 * max(settings.size))
