"""Building a preview store in isolated processes; goes on where it was stopped or killed.

A worker leaves each preview as one file in `parts/`, whole or not at all; this process appends them
to the store in the order of the sources, whatever order they were finished in, so that the same
sources give the same store. What a kill can cost is the pictures that workers were at.
"""

import contextlib
import hashlib
import json
import math
import os
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isp_env.develop.downsized import central_square, long_side_of_square, preview
from isp_env.errors import IspEnvError
from isp_env.files import alone_in, atomic_path
from isp_env.scenes.preview_store import (
    INDEX,
    PreviewStore,
    PreviewStoreError,
    StoreSettings,
    row_file,
)
from isp_env.scenes.sources import Source
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits

PARTS = "parts"
COMMIT_SECONDS = 20.0
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Built:
    """What became of one source.

    Attributes:
        name: Of the source.
        status: "done", "skipped" (it was there already) or "failed".
        reason: Why it failed, or None.
    """

    name: str
    status: Literal["done", "skipped", "failed"]
    reason: str | None = None


class NoPreviewError(IspEnvError):
    """A picture of which the store's settings allow no preview."""


def build_previews(
    sources: Sequence[Source],
    folder: Path,
    settings: StoreSettings,
    *,
    workers: int = 2,
    limits: Limits = DEFAULT_LIMITS,
    retry: bool = False,
) -> Generator[Built, None, None]:
    """Add the scenes of `sources` to the store in `folder`, which is made if there is none.

    Scenes that the store holds, and sources that failed before, are not opened again.

    Args:
        sources: What to add.
        folder: Of the store.
        settings: The store's; a store keeps those that it was begun with.
        workers: Processes; 0 works in this one.
        limits: Of memory and time for one source.
        retry: Try again what failed before.

    Yields:
        One `Built` for each source, in the order in which they are finished.

    Raises:
        PreviewStoreError: The store has other settings, another process is building it, or two
            sources are the same.
    """
    twice = [name for name, count in Counter(s.name for s in sources).items() if count > 1]
    if twice:
        raise PreviewStoreError(f"{folder}: {twice[0]} is to be added twice")
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, PreviewStoreError(f"{folder}: another process is building it")):
        store = _begin(folder, settings)
        parts = folder / PARTS
        parts.mkdir(exist_ok=True)
        for left in (*parts.glob(".*"), *folder.glob(f".{Path(INDEX).stem}-*.json")):
            left.unlink()  # temporary files of a killed process
        appender = _Appender(store, parts, [s.name for s in sources], retry)
        open_sources = []
        for source in sources:
            if (built := appender.earlier(source.name)) is None:
                open_sources.append(source)
            else:
                yield built
        make = partial(_make_part, settings, parts)
        try:
            with contextlib.closing(
                run_isolated(make, open_sources, workers=workers, limits=limits)
            ) as outcomes:
                for outcome in outcomes:
                    name, reason = outcome.task.name, outcome.failure
                    if reason is not None:
                        _write_failure(_part(parts, name, "json"), reason)
                    appender.commit_now_and_then()
                    yield Built(name, "done" if reason is None else "failed", reason)
        finally:
            appender.commit()
        with contextlib.suppress(OSError):  # parts of sources that this run was not given
            parts.rmdir()


def _begin(folder: Path, settings: StoreSettings) -> PreviewStore:
    if not (folder / INDEX).exists():
        PreviewStore(folder, settings).write_index()
    store = PreviewStore.open(folder)
    if store.settings != settings:
        raise PreviewStoreError(
            f"{folder}: was begun with {store.settings}, not {settings}; choose another folder"
        )
    return store


class _Appender:
    """Moves parts to the store in the order of the sources."""

    def __init__(self, store: PreviewStore, parts: Path, names: Sequence[str], retry: bool) -> None:
        self.store, self.parts = store, parts
        failures = {
            name: why for name, why in store.failures.items() if not (retry and name in names)
        }
        self.store = PreviewStore(store.folder, store.settings, dict(store.scenes), failures)
        held = self.store.scenes.keys() | failures.keys()
        for name in names:
            if name in held:  # killed between the index and the removal
                _part(parts, name, "npz").unlink(missing_ok=True)
            if name in held or retry:
                _part(parts, name, "json").unlink(missing_ok=True)
        self.waiting = deque(name for name in names if name not in held)
        self.last = time.monotonic()

    def earlier(self, name: str) -> Built | None:
        """Return the outcome of a source before this run; None if there is none."""
        if name in self.store.scenes or _part(self.parts, name, "npz").exists():
            return Built(name, "skipped")
        failed = _part(self.parts, name, "json")
        if reason := self.store.failures.get(name):
            return Built(name, "failed", reason)
        if failed.exists():
            return Built(name, "failed", json.loads(failed.read_text("utf-8")))
        return None

    def commit_now_and_then(self) -> None:
        """Commit if the last time is some seconds ago: the index grows with the store."""
        if time.monotonic() - self.last >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Append every part whose predecessors are all there."""
        scenes, failures = dict(self.store.scenes), dict(self.store.failures)
        rows, touched, moved = Counter(scenes.values()), set(), []
        while self.waiting:
            name = self.waiting[0]
            made, failed = (_part(self.parts, name, suffix) for suffix in ("npz", "json"))
            if made.exists():
                with np.load(made, allow_pickle=False) as arrays:
                    shape = arrays["linear"].shape[1:]
                    touched |= _append(self.store.folder, dict(arrays), shape, rows[shape])
                scenes[name] = shape
                rows[shape] += 1
                moved.append(made)
            elif failed.exists():
                failures[name] = json.loads(failed.read_text("utf-8"))
                moved.append(failed)
            else:
                break
            self.waiting.popleft()
        for path in touched:
            _to_disk(path)
        self.store = PreviewStore(self.store.folder, self.store.settings, scenes, failures)
        self.store.write_index()
        for part in moved:
            part.unlink()
        self.last = time.monotonic()


def _append(
    folder: Path, arrays: dict[str, np.ndarray], shape: tuple[int, int], row: int
) -> set[Path]:
    """Write arrays as row number `row`, over whatever a kill has left there."""
    paths = set()
    for kind, array in arrays.items():
        path, dtype, _ = row_file(folder, kind, shape)
        data = array.astype(dtype).tobytes()
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(row * len(data))
            file.write(data)
        paths.add(path)
    return paths


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _part(parts: Path, name: str, suffix: str) -> Path:
    return parts / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.{suffix}"


def _write_failure(path: Path, reason: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(reason), "utf-8")


# -- inside the worker --


def _make_part(settings: StoreSettings, parts: Path, source: Source) -> None:
    """Write one scene's arrays."""
    shot = source.shoot()
    raw = shot.raw
    side = settings.side
    image = preview(raw, long_side_of_square(raw, side) if settings.square else side)
    height, width = image.rgb.shape[1:]
    arrays = {
        "linear": _cut(image.rgb, settings).numpy().astype(np.float16),
        "capture": np.concatenate(
            [image.noise.numpy().ravel(), raw.as_shot_neutral, [raw.iso or math.nan]]
        ).astype(np.float32),
    }
    if settings.truth:
        if shot.truth is None:
            raise NoPreviewError("its truth is not known")
        truth = torch.from_numpy(shot.truth((height, width)))
        arrays["truth"] = _cut(truth, settings).numpy().astype(np.float16)
    if not all(np.isfinite(arrays[kind]).all() for kind in arrays if kind != "capture"):
        raise NoPreviewError("the preview is not finite")
    with atomic_path(_part(parts, source.name, "npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def _cut(image: Tensor, settings: StoreSettings) -> Tensor:
    """Cut out the central square, or return all of it.

    Raises:
        NoPreviewError: It is smaller.
    """
    if not settings.square:
        return image
    try:
        return central_square(image, settings.side)
    except ValueError as error:
        raise NoPreviewError(str(error)) from error
