"""A folder of scene-linear previews that training reads instead of RAW files.

    index.json              settings; name, height and width of every scene; failures with reasons
    linear_160x240.f16      scene-linear previews of this shape, one after the other: (n, 3, h, w)
    truth_160x240.f16       their truths, encoded sRGB, where the store has truths
    capture_160x240.f32     (n, 10): noise (3 x 2), as-shot neutral (3), ISO (NaN if unknown)

Numbers are little-endian, rows in the order of the index. Rows are written before the index names
them, and the index is replaced at once: who opens the folder sees whole scenes only, even while
others are being added. `store_building` adds them.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from isp_env.errors import IspEnvError
from isp_env.files import atomic_path
from isp_env.scenes.preview_set import PreviewSet

INDEX = "index.json"
FORMAT = 1
FLOAT16, FLOAT32 = np.dtype("<f2"), np.dtype("<f4")
CAPTURE = 10  # numbers
HASHED_ROWS = 256  # at once

Shape = tuple[int, int]


class PreviewStoreError(IspEnvError):
    """A folder that is no preview store, or not the one that was asked for."""


@dataclass(frozen=True)
class StoreSettings:
    """What the previews of a store are like.

    Attributes:
        side: Pixels of the long side; smaller pictures stay as they are.
        square: Only the central square of side x side, so that all scenes have one shape and one
            batch can hold any of them. Smaller pictures are refused.
        truth: Every scene has its truth; pictures without are refused.
    """

    side: int = 160
    square: bool = True
    truth: bool = False


@dataclass(frozen=True)
class PreviewStore:
    """An open store; pictures stay on the disk until they are read.

    Attributes:
        folder: Where it lies.
        settings: What the previews are like.
        scenes: Name and shape (height, width) of each scene, in the order in which they were added.
        failures: Files that gave no preview, with the reasons.
    """

    folder: Path
    settings: StoreSettings
    scenes: Mapping[str, Shape] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> "PreviewStore":
        """Read a store's index.

        Raises:
            PreviewStoreError: There is none, or it is damaged.
        """
        path = folder / INDEX
        try:
            index = json.loads(path.read_text("utf-8"))
            if index["format"] != FORMAT:
                raise PreviewStoreError(
                    f"{path}: format {index['format']}, this version reads {FORMAT}"
                )
            scenes = {name: (height, width) for name, height, width in index["scenes"]}
            return cls(folder, StoreSettings(**index["settings"]), scenes, index["failures"])
        except FileNotFoundError as error:
            raise PreviewStoreError(f"{folder}: no preview store, there is no {INDEX}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise PreviewStoreError(f"{path}: damaged: {error!r}") from error

    @property
    def shapes(self) -> Mapping[Shape, int]:
        """Number of scenes of each shape, the most frequent first."""
        return dict(Counter(self.scenes.values()).most_common())

    def names(self, shape: Shape | None = None) -> tuple[str, ...]:
        """Return names of the scenes of `previews(shape)`, row by row."""
        wanted = self._only_shape(shape)
        return tuple(name for name, each in self.scenes.items() if each == wanted)

    def previews(self, shape: Shape | None = None) -> PreviewSet:
        """Return the scenes of one shape, memory-mapped: what the tuning task takes as its scenes.

        Args:
            shape: Height and width; may be left out where all scenes have the same.

        Raises:
            PreviewStoreError: There are no such scenes, or their files are missing or too short.
        """
        shape = self._only_shape(shape)
        count = self.shapes[shape]
        rows = {kind: self._map(kind, shape, count) for kind in self._kinds}
        capture = rows["capture"]
        return PreviewSet(
            linear=rows["linear"],
            noise=capture[:, :6].reshape(count, 3, 2),
            as_shot_neutral=capture[:, 6:9],
            iso=capture[:, 9],
            truth=rows.get("truth"),
        )

    def sha256(self) -> str:
        """Hash of all previews, truths and captures; reads them all."""
        digest = hashlib.sha256()
        for shape, count in sorted(self.shapes.items()):
            for kind in self._kinds:
                rows = self._map(kind, shape, count)
                for first in range(0, count, HASHED_ROWS):
                    digest.update(rows[first : first + HASHED_ROWS].tobytes())
        return digest.hexdigest()

    def write_index(self) -> None:
        """Replace the index on the disk by this one."""
        index = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "scenes": [[name, *shape] for name, shape in self.scenes.items()],
            "failures": dict(self.failures),
        }
        with atomic_path(self.folder / INDEX) as temporary, temporary.open("w") as file:
            json.dump(index, file, indent=0)
            file.flush()
            os.fsync(file.fileno())

    def _only_shape(self, shape: Shape | None) -> Shape:
        shapes = self.shapes
        if shape is None and len(shapes) == 1:
            return next(iter(shapes))
        if shape is not None and shape in shapes:
            return shape
        held = ", ".join(f"{count} of {h}x{w}" for (h, w), count in shapes.items()) or "none"
        asked = "no shape was named" if shape is None else f"asked for {shape[0]}x{shape[1]}"
        raise PreviewStoreError(f"{self.folder}: holds scenes of (h x w): {held}; {asked}")

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("linear", "capture", "truth") if self.settings.truth else ("linear", "capture")

    def _map(self, kind: str, shape: Shape, count: int) -> np.ndarray:
        path, dtype, row = row_file(self.folder, kind, shape)
        expected = count * int(np.prod(row)) * dtype.itemsize
        size = path.stat().st_size if path.exists() else 0
        if size < expected:
            raise PreviewStoreError(f"{path}: {size} bytes, expected {expected} of {count} scenes")
        return np.memmap(path, dtype, "r", shape=(count, *row))


def row_file(folder: Path, kind: str, shape: Shape) -> tuple[Path, np.dtype, tuple[int, ...]]:
    """Return file, number format and shape of a row of "linear", "truth" or "capture"."""
    height, width = shape
    dtype, row = (FLOAT32, (CAPTURE,)) if kind == "capture" else (FLOAT16, (3, height, width))
    return folder / f"{kind}_{height}x{width}.f{8 * dtype.itemsize}", dtype, row
