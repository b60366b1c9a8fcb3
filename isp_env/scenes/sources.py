"""Where the scenes of a preview store come from: RAW files, FiveK, simulated shots of photographs.

A source is a small picklable description; the worker process that makes its preview opens the file.
"""

import io
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps

from isp_env.errors import RawFileError
from isp_env.raw import RawImage, read_raw
from isp_env.raw.find import find_inputs
from isp_env.scenes.fivek import Expert, FiveKPhoto, read_expert
from isp_env.scenes.samples import truth_of
from isp_env.scenes.simulated_raw import random_shot, reduce_truth

log = logging.getLogger(__name__)

Truth = Callable[[tuple[int, int]], Float[np.ndarray, "3 h w"]]
"""(height, width) -> encoded sRGB in [0, 1] of that size."""

PHOTO_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Shot:
    """What a source gives.

    Attributes:
        raw: Sensor data.
        truth: The known good rendering, or None.
    """

    raw: RawImage
    truth: Truth | None


@runtime_checkable
class Source(Protocol):
    """One scene to be; picklable."""

    @property
    def name(self) -> str:
        """Says which file, and whatever else the scene depends on; no two scenes share it."""
        ...

    def shoot(self) -> Shot:
        """Read or simulate; errors of this package and `OSError` say why that is impossible."""
        ...


@dataclass(frozen=True)
class RawSource:
    """A RAW file, with the truth `STEM.truth.png` where that lies beside it."""

    path: Path

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path.resolve())

    def shoot(self) -> Shot:
        """Read the file."""
        truth = truth_of(self.path)
        return Shot(read_raw(self.path), None if truth is None else partial(_photo_of_size, truth))


@dataclass(frozen=True)
class FiveKSource:
    """A photograph of FiveK; its truth is an expert's rendering."""

    photo: FiveKPhoto
    expert: Expert | None = "c"

    @property
    def name(self) -> str:
        """The DNG and the expert."""
        by = "" if self.expert is None else f", truth by expert {self.expert.upper()}"
        return f"{self.photo.dng.resolve()}{by}"

    def shoot(self) -> Shot:
        """Read the DNG."""
        expert = None if self.expert is None else self.photo.experts[self.expert]
        truth = None if expert is None else partial(read_expert, expert)
        return Shot(read_raw(self.photo.dng), truth)


@dataclass(frozen=True)
class SimulatedSource:
    """A shot of a photograph by a random camera; its truth is the photograph.

    Attributes:
        path: Image file.
        seed: Of all shots.
        number: Of this one; camera, mishaps and noise depend on (seed, number) alone.
        side: Pixels of the photograph's short side, to which larger ones are reduced first.
    """

    path: Path
    seed: int
    number: int
    side: int = 512

    @property
    def name(self) -> str:
        """Everything that the shot depends on."""
        return f"{self.path.resolve()}, shot {self.number} of seed {self.seed} at {self.side}"

    @classmethod
    def named(cls, name: str) -> "SimulatedSource":
        """Return the source of this name.

        Raises:
            ValueError: It is no name of a simulated shot.
        """
        found = re.fullmatch(r"(.+), shot (\d+) of seed (\d+) at (\d+)", name, re.DOTALL)
        if found is None:
            raise ValueError(f"{name!r} is not the name of a simulated shot")
        path, number, seed, side = found.groups()
        return cls(Path(path), int(seed), int(number), int(side))

    def shoot(self) -> Shot:
        """Read the photograph and simulate."""
        photo = Image.fromarray(read_srgb(self.path))
        scale = min(1.0, self.side / min(photo.size))
        photo = photo.resize(
            (round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC
        )
        even = photo.crop((0, 0, photo.width // 2 * 2, photo.height // 2 * 2))
        raw, truth = random_shot(np.asarray(even), self.seed, self.number)
        return Shot(raw, partial(reduce_truth, truth))


def raw_sources(named: Iterable[str | Path]) -> list[RawSource]:
    """Return RAW files, folders of them, and globs (`raw.find.find_inputs`)."""
    return [RawSource(one.path) for one in find_inputs(named)]


def simulated_sources(
    paths: Sequence[Path], count: int, seed: int, side: int = 512
) -> list[SimulatedSource]:
    """List `count` shots of photographs in an order that the seed draws; each in turn, then again.

    Raises:
        ValueError: There is no photograph.
    """
    if not paths:
        raise ValueError("there are no photographs to simulate shots of")
    order = np.random.default_rng(seed).permutation(len(paths))
    drawn = [paths[order[number % len(paths)]] for number in range(count)]
    return [SimulatedSource(path, seed, number, side) for number, path in enumerate(drawn)]


def find_photos(folder: Path) -> list[Path]:
    """Return the image files in a folder and below, in the order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)


def read_srgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as 8-bit sRGB, upright; an embedded RGB profile is obeyed.

    Raises:
        RawFileError: The file is no image.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            profile = image.info.get("icc_profile")
            if profile and upright.mode == "RGB":
                upright = _to_srgb(upright, profile)
            return np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RawFileError(path, f"cannot be read as an image: {error}") from error
    except ImageCms.PyCMSError as error:
        raise RawFileError(path, f"its colour profile is damaged: {error}") from error


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    return image if converted is None else converted


def _photo_of_size(path: Path, size: tuple[int, int]) -> Float[np.ndarray, "3 h w"]:
    pixels = np.moveaxis(read_srgb(path).astype(np.float32) / 255, 2, 0)
    return reduce_truth(pixels, size)
