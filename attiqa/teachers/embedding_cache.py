"""Features of images, computed once and kept on disk.

A feature's key is what it depends on: the encoder's description and the pixels. The description
names the folder; in it lie shards, each written whole, so that an interruption loses no more than
the features since the last one.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from attiqa.errors import CheckpointError
from attiqa.files import write_atomically

SHARD = 64
"""New features after which a shard is written."""


@runtime_checkable
class Encoder(Protocol):
    """A model that places images and texts in one space."""

    @property
    def encoder(self) -> dict[str, Any]:
        """All that the features of an image depend on, ready for JSON."""
        ...

    def encode_images(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Encode display RGB in [0, 1]."""
        ...

    def encode_prompts(self, prompts: tuple[str, ...]) -> Float[Tensor, "n d"]:
        """Encode texts as features of length 1."""
        ...


class EmbeddingCache:
    """Encodes images that it has not seen before and remembers the others.

    Equal images have equal features, so that a distortion without effect makes an exact tie.

    Args:
        encoder: Computes the features.
        folder: May be shared by encoders.
        batch_size: Images that are encoded at once.

    Raises:
        CheckpointError: A shard cannot be read.
    """

    def __init__(self, encoder: Encoder, folder: Path, batch_size: int = 32) -> None:
        self.encoder = encoder
        self.batch_size = batch_size
        description = json.dumps(encoder.encoder, sort_keys=True, indent=2).encode()
        self.folder = folder / hashlib.sha256(description).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "encoder.json", description)
        self._features: dict[str, np.ndarray] = {}
        self._unwritten: list[str] = []
        for shard in sorted(self.folder.glob("*.npz")):
            self._features |= _read_shard(shard)

    def encode(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[np.ndarray, "b d"]:
        """Look up or compute the float32 features of 8-bit images."""
        keys = [image_hash(image) for image in images]
        new = {k: i for k, i in zip(keys, images, strict=True) if k not in self._features}
        for start in range(0, len(new), self.batch_size):
            batch = list(new)[start : start + self.batch_size]
            pixels = torch.stack([new[key] for key in batch]).float() / 255
            features = self.encoder.encode_images(pixels).cpu().numpy()
            self._features |= dict(zip(batch, features, strict=True))
            self._unwritten += batch
        if len(self._unwritten) >= SHARD:
            self.flush()
        return np.stack([self._features[key] for key in keys])

    def flush(self) -> None:
        """Write the features that are not yet on disk."""
        if not self._unwritten:
            return
        keys = np.array(self._unwritten)
        path = self.folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}.npz"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, keys=keys, features=np.stack([self._features[key] for key in keys]))
        part.replace(path)
        self._unwritten = []


def image_hash(image: UInt8[Tensor, "3 h w"]) -> str:
    """Return the SHA-256 of an image's shape and pixels."""
    pixels = np.ascontiguousarray(image.numpy())
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _read_shard(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
            return dict(zip(shard["keys"].tolist(), shard["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: cannot be read as features ({error}); delete it, they are computed again"
        ) from error
