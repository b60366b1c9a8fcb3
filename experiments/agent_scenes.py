"""The simulated scenes that agents are trained and compared on, made from BIQ2021's photographs.

Held-out scenes show photographs that neither the agent nor its judge was trained on: those of the
test part that `train_judge.py` keeps aside.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from attiqa.checkpoints import Card
from attiqa.datasets.biq2021 import read_biq2021
from attiqa.datasets.rated import random_split, split_hash
from isp_env.preview_building import build_previews
from isp_env.preview_sources import SimulatedSource, simulated_sources
from isp_env.preview_store import INDEX, PreviewStore, StoreSettings


@dataclass(frozen=True)
class SceneSettings:
    """Which scenes."""

    photos: Path = Path("BIQ2021")
    """Folder of BIQ2021: Images/ and "Train (Images and MOS).csv"."""
    min_mos: float = 0.6
    """Photographs rated lower are no truth to strive for."""
    training: int = 3600
    """Scenes to train on; a photograph is shot several times, each time by another camera."""
    held_out: int = 200
    """Scenes for evaluations."""
    judge_test: int = 300
    """Photographs that the judge's training kept aside."""
    judge_split_seed: int = 0
    """Seed of the judge's split."""
    side: int = 160
    """Pixels of the previews, squares."""
    seed: int = 1
    """Of cameras, mishaps and noise."""


def training_scenes(settings: SceneSettings, folder: Path) -> PreviewStore:
    """The store of training scenes, built where it is not there yet."""
    return _store(settings, folder / "training", settings.training, held_out=False)


def held_out_scenes(settings: SceneSettings, folder: Path) -> PreviewStore:
    """The store of held-out scenes, built where it is not there yet."""
    return _store(settings, folder / "held_out", settings.held_out, held_out=True)


def unknown_to(card: Card, settings: SceneSettings) -> bool:
    """Whether a judge's card says that it was trained without the held-out photographs."""
    rated = read_biq2021(settings.photos)
    split = random_split(len(rated.paths), 0, settings.judge_test, settings.judge_split_seed)
    kept_aside = split_hash([path.name for path in rated.paths], split)
    return card.training.get("split", {}).get("sha256") == kept_aside


def _store(settings: SceneSettings, folder: Path, count: int, *, held_out: bool) -> PreviewStore:
    sources = _sources(settings, count, held_out=held_out)
    store, names = StoreSettings(settings.side, square=True, truth=True), {s.name for s in sources}
    if not _holds(folder, store, names):  # several trainings may read a finished store at once
        for built in track(build_previews(sources, folder, store), "scenes", total=len(sources)):
            if built.status == "failed":
                raise ValueError(f"{built.name}: {built.reason}")
    built_store = PreviewStore.open(folder)
    if others := built_store.scenes.keys() - names:
        raise ValueError(
            f"{folder}: holds {len(others)} scenes of other settings; name another folder"
        )
    return built_store


def _holds(folder: Path, settings: StoreSettings, names: Set[str]) -> bool:
    if not (folder / INDEX).exists():
        return False
    store = PreviewStore.open(folder)
    return store.settings == settings and names <= store.scenes.keys()


def _sources(settings: SceneSettings, count: int, *, held_out: bool) -> Sequence[SimulatedSource]:
    rated = read_biq2021(settings.photos)
    split = random_split(len(rated.paths), 0, settings.judge_test, settings.judge_split_seed)
    part = split.test if held_out else split.train
    good = [rated.paths[row] for row in part if rated.mos[row] >= settings.min_mos]
    return simulated_sources(good, count, settings.seed + held_out)
