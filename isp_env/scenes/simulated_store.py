"""Simulated shots of photographs as a preview store: scenes that stay the same."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from isp_env.files import atomic_path
from isp_env.scenes.preview_store import PreviewStore, StoreSettings, row_file
from isp_env.scenes.random_shots import Shots, ShotSettings, random_shots
from isp_env.scenes.truths import random_crops

AT_ONCE = 32


def write_simulated_store(
    folder: Path,
    photos: Mapping[str, UInt8[np.ndarray, "_ _ 3"]],
    count: int,
    size: tuple[int, int],
    settings: ShotSettings,
    seed: int,
) -> PreviewStore:
    """Write a store of `count` shots with their truths, each photograph shot about as often.

    Scene i depends on (seed, i // AT_ONCE) and the photographs alone. The index is written last.

    Args:
        folder: Made where it does not exist.
        photos: Good photographs by name, 8-bit sRGB.
        count: Number of scenes.
        size: Height and width of the previews.
        settings: Cameras and mishaps.
        seed: Of crops, cameras, mishaps and noise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(photos)
    parts = []
    for first in range(0, count, AT_ONCE):
        random = np.random.default_rng((seed, first // AT_ONCE))
        rows = [number % len(names) for number in range(first, min(first + AT_ONCE, count))]
        truth = random_crops([photos[names[row]] for row in rows], size, random)
        numbers = torch.Generator().manual_seed(int(random.integers(2**62)))
        parts.append(random_shots(truth, numbers, settings))
    shots = Shots(*(torch.cat(column) for column in zip(*parts, strict=True)))
    capture = torch.cat([shots.noise.flatten(1), shots.as_shot_neutral, shots.iso[:, None]], dim=1)
    for kind, values in (("linear", shots.linear), ("truth", shots.truth), ("capture", capture)):
        path, dtype, _ = row_file(folder, kind, size)
        with atomic_path(path) as temporary:
            temporary.write_bytes(values.numpy().astype(dtype).tobytes())
    scenes = {f"{names[number % len(names)]}, shot {number}": size for number in range(count)}
    store = PreviewStore(folder, StoreSettings(max(size), square=False, truth=True), scenes)
    store.write_index()
    return store
