"""Pictures of a study: those of each system by the name of the scene, brought to one size."""

import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter, ImageOps

from attiqa.data.photos.decoding import read_photo
from attiqa.data.photos.formats import photo_suffixes
from experiments.study import StudyError
from isp_env.scenes.fivek import Expert, read_expert, read_fivek

log = logging.getLogger(__name__)

SAME_SHAPE = 0.02
"""Relative difference of two aspect ratios that is cropped away: raw converters crop a few pixels
differently."""
JPEG_QUALITY = 95
BLUR = 0.02
"""Standard deviation of the blur of a degraded copy, relative to the long side."""
DEGRADED_QUALITY = 8
"""Of a degraded copy's JPEG compression."""
PLAIN_DIFFERENCE = 3.0
"""Mean change of a level, of 255, from which a degraded copy is told from its original at once."""
NAMED = 5


@dataclass(frozen=True)
class System:
    """What made a set of pictures: a model, an agent, an expert.

    Attributes:
        name: In the key and the report; the page does not have it.
        pictures: File of each scene.
        read: Decodes one as upright 8-bit sRGB.
    """

    name: str
    pictures: Mapping[str, Path]
    read: Callable[[Path], UInt8[np.ndarray, "h w 3"]] = read_photo


def folder_system(name: str, folder: Path) -> System:
    """Find the pictures that lie directly in a folder, by the stems of their names.

    Raises:
        StudyError: There are none, or two share a stem.
    """
    if not folder.is_dir():
        raise StudyError(f"{folder}: no such folder; expected one of pictures")
    suffixes = photo_suffixes()
    pictures: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in pictures:
            raise StudyError(
                f"{folder}: {pictures[path.stem].name} and {path.name} share a stem; pictures are "
                "matched by it, so remove one"
            )
        pictures[path.stem] = path
    if not pictures:
        raise StudyError(f"{folder}: no pictures; expected files such as .jpg, .png or .tif")
    return System(name, pictures)


def expert_system(root: Path, scenes: Sequence[str], expert: Expert) -> System:
    """Find an expert's renderings in MIT-Adobe FiveK of scenes such as a0001-jmac_DSC1459.

    Raises:
        StudyError: A name is none of FiveK's.
        FiveKError: Something is missing from the data set.
    """
    numbers = [re.match(r"a(\d{4})-", scene) for scene in scenes]
    if strange := [name for name, number in zip(scenes, numbers, strict=True) if number is None]:
        raise StudyError(
            f"{len(strange)} pictures have no name of FiveK (such as a0001-jmac_DSC1459.jpg): "
            + some(strange)
        )
    ids = [int(number[1]) for number in numbers if number is not None]
    photos = read_fivek(root, ids, (expert,))
    named = {scene: photo.experts[expert] for scene, photo in zip(scenes, photos, strict=True)}
    return System(f"expert {expert.upper()}", named, _read_expert)


def shared_scenes(systems: Sequence[System]) -> list[str]:
    """Return names of the scenes that all systems have; others are left out with a warning.

    Raises:
        StudyError: There are none.
    """
    every = [set(system.pictures) for system in systems]
    shared = set.intersection(*every)
    if not shared:
        examples = "; ".join(
            f"{system.name}: {some(sorted(system.pictures))}" for system in systems
        )
        raise StudyError(f"no name is shared by all folders; their pictures are {examples}")
    if alone := sorted(set.union(*every) - shared):
        log.warning("%d pictures lack a partner and are left out: %s", len(alone), some(alone))
    return sorted(shared)


def alike(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]], long_side: int, names: Sequence[str]
) -> list[Image.Image]:
    """Bring pictures of one scene to exactly the same size.

    Their long side becomes `long_side`, or that of the smallest where it is shorter: nothing is
    enlarged. What aspect ratios differ by is cropped at the borders.

    Args:
        pictures: Upright sRGB.
        long_side: In pixels, at most.
        names: Of their files, for the message.

    Raises:
        StudyError: Their aspect ratios differ by more than `SAME_SHAPE`.
    """
    shapes = np.array([picture.shape[:2] for picture in pictures])
    ratios = shapes[:, 1] / shapes[:, 0]
    if ratios.max() / ratios.min() - 1 > SAME_SHAPE + 1 / shapes.min():
        found = ", ".join(f"{n} {w}x{h}" for n, (h, w) in zip(names, shapes, strict=True))
        raise StudyError(f"pictures of a scene differ in shape: {found}; crop them alike")
    height, width = shapes[shapes.max(1).argmin()]
    scale = min(1.0, long_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return [
        ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.LANCZOS)
        for picture in pictures
    ]


def degraded(picture: Image.Image) -> Image.Image:
    """Return a copy that nobody who looks would prefer: blurred, then compressed to blocks."""
    blurred = picture.filter(ImageFilter.GaussianBlur(BLUR * max(picture.size)))
    buffer = io.BytesIO()
    blurred.save(buffer, "JPEG", quality=DEGRADED_QUALITY)
    return Image.open(buffer).convert("RGB")


def plainly_differ(first: Image.Image, second: Image.Image) -> bool:
    """Tell whether two pictures of one size differ at first sight, not in flat areas alone."""
    levels = np.asarray(first, np.float32) - np.asarray(second, np.float32)
    return bool(np.abs(levels).mean() >= PLAIN_DIFFERENCE)


def save(picture: Image.Image, path: Path) -> None:
    """Write sRGB without metadata, as the suffix says: JPEG with full chroma, or PNG."""
    if path.suffix == ".png":
        picture.save(path, optimize=True)
    else:
        picture.save(path, quality=JPEG_QUALITY, subsampling=0, optimize=True)


def some(names: Sequence[str]) -> str:
    """Name the first few."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _read_expert(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    return np.round(np.moveaxis(read_expert(path), 0, 2) * 255).astype(np.uint8)
