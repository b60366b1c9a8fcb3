"""Build a store of scene-linear previews, from which agents are trained and evaluated.

    python experiments/isp/build_previews.py --out STORE raw --paths PHOTOS
    python experiments/isp/build_previews.py --out STORE --truth fivek --root FIVEK --split train
    python experiments/isp/build_previews.py --out STORE --truth simulate --photos FOLDER \
        --scenes 1200

Run again it goes on where it was stopped or killed, and adds what is new. Files that give no
preview are listed with the reason and kept in the store's index.json; `--retry` tries them again.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.settings import parsed
from isp_env.errors import IspEnvError
from isp_env.scenes.fivek import TEST_B_URL, Expert, Split, read_fivek, read_test_b, split_ids
from isp_env.scenes.preview_store import PreviewStore, StoreSettings
from isp_env.scenes.sources import (
    FiveKSource,
    Source,
    find_photos,
    raw_sources,
    simulated_sources,
)
from isp_env.scenes.store_building import Built, build_previews
from isp_env.workers.outcomes import Limits

console = Console(stderr=True)


@dataclass(frozen=True)
class RawFiles:
    """RAW files; a truth is a STEM.truth.png beside the file."""

    paths: tuple[str, ...]
    """Files, folders (with all folders below) or globs in quotes."""

    def sources(self, settings: "Settings") -> list[Source]:
        """Make one for each file."""
        return list(raw_sources(self.paths))


@dataclass(frozen=True)
class FiveK:
    """MIT-Adobe FiveK; the truth is an expert's rendering."""

    root: Path
    """Folder with raw_photos/ or dng/, and tiff16_c/."""
    split: Split
    """Photographs of this split."""
    test_b: Path | None = None
    """List of the photographs of test B (Exposure's FiveK_test.txt), which train and validation
    leave out; not needed for test_a."""
    expert: Expert = "c"
    """Whose renderings, with --truth."""
    partial: bool = False
    """Take what is there of the split."""

    def sources(self, settings: "Settings") -> list[Source]:
        """Make one for each photograph."""
        expert = self.expert if settings.truth else None
        experts: list[Expert] = [expert] if expert else []
        if self.test_b is None and self.split != "test_a":
            raise IspEnvError(f"the split {self.split} needs --test-b: {TEST_B_URL}")
        test_b = read_test_b(self.test_b) if self.test_b else frozenset()
        ids = split_ids(self.split, test_b)
        photos = read_fivek(self.root, ids, experts, partial=self.partial)
        return [FiveKSource(photo, expert) for photo in photos]


@dataclass(frozen=True)
class Simulated:
    """Shots of photographs by random cameras; the truth is the photograph."""

    photos: Path
    """Folder of good photographs."""
    scenes: int
    """Each shows a photograph of its own while they last."""
    photo_side: int = 512
    """Larger photographs are reduced to so many pixels on the short side first."""

    def sources(self, settings: "Settings") -> list[Source]:
        """Make one for each shot."""
        paths = find_photos(self.photos)
        if not paths:
            raise IspEnvError(f"{self.photos}: no image files")
        return list(simulated_sources(paths, self.scenes, settings.seed, self.photo_side))


Kind = (
    Annotated[RawFiles, tyro.conf.subcommand("raw")]
    | Annotated[FiveK, tyro.conf.subcommand("fivek")]
    | Annotated[Simulated, tyro.conf.subcommand("simulate")]
)


@dataclass(frozen=True)
class Settings:
    """Build a store of previews."""

    kind: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Kind]]
    """Where the scenes come from."""
    out: Path
    """Folder of the store."""
    side: int = 160
    """Pixels of the previews' long side."""
    square: bool = True
    """Only the central square, so that scenes of any shape can be trained on together."""
    truth: bool = False
    """Keep the known good picture of each scene, too."""
    limit: int | None = None
    """At most so many of the sources, drawn by the seed."""
    seed: int = 0
    """Of the draw and of the simulation."""
    retry: bool = False
    """Try again what failed before."""
    workers: int = 2
    """Processes."""
    memory: float = 1.5
    """Gigabytes that one scene may take."""
    seconds: float = 120.0
    """Time that one scene may take."""


def main(settings: Settings) -> int:
    """Build; returns the exit status: 0, 1 if some files gave no preview, 2 if nothing begins."""
    handlers = [RichHandler(console=console, show_path=False, show_time=False)]
    logging.basicConfig(format="%(message)s", handlers=handlers)
    try:
        sources = drawn(settings.kind.sources(settings), settings.limit, settings.seed)
        results = build(settings, sources)
        store = PreviewStore.open(settings.out)
    except (IspEnvError, OSError) as error:
        console.print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
        return 2
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        said = f"[red]no preview[/red] of {result.name}: {result.reason}"
        console.print(said, highlight=False, soft_wrap=True)
    shapes = ", ".join(f"{count} of {h}x{w}" for (h, w), count in store.shapes.items())
    said = f"{settings.out}: {shapes or 'no previews'}; {len(failed)} failed"
    console.print(said, highlight=False, soft_wrap=True)
    return 1 if failed else 0


def build(settings: Settings, sources: list[Source]) -> list[Built]:
    """Add the sources to the store, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    results: list[Built] = []
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("previews", total=len(sources))
        for built in build_previews(
            sources,
            settings.out,
            StoreSettings(settings.side, settings.square, settings.truth),
            workers=settings.workers,
            limits=Limits(memory=round(settings.memory * 1e9), seconds=settings.seconds),
            retry=settings.retry,
        ):
            results.append(built)
            progress.advance(bar)
    return results


def drawn(sources: list[Source], limit: int | None, seed: int) -> list[Source]:
    """Draw at most `limit` of the sources, in their order."""
    if limit is None or limit >= len(sources):
        return sources
    chosen = np.random.default_rng(seed).choice(len(sources), limit, replace=False)
    return [sources[row] for row in sorted(chosen)]


if __name__ == "__main__":
    sys.exit(main(parsed(Settings)))
