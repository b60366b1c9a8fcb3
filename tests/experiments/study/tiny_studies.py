"""Small studies: pictures with enough detail for attention checks, and answers of participants."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.study.key import ANSWERS_FORMAT, Key, read_key
from experiments.study.make_study import Settings, main


def write_pictures(folder: Path, scenes: int, level: int, size: tuple[int, int] = (48, 64)) -> Path:
    """Noise around a grey level; the noise is the scene's."""
    folder.mkdir()
    for scene in range(scenes):
        noise = np.random.default_rng(scene).integers(-40, 40, (*size, 3))
        pixels = (noise + level).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"s{scene}.png")
    return folder


def study_of(
    folder: Path, systems: Sequence[str] = "ab", scenes: int = 9, **settings: Any
) -> tuple[Path, Key]:
    """A study of pictures in folder/SYSTEM, in folder/study."""
    folder.mkdir(exist_ok=True)
    folders = tuple(
        write_pictures(folder / name, scenes, 80 + 20 * i) for i, name in enumerate(systems)
    )
    out = folder / "study"
    few = Settings(folders, out=out, checks=2, repeats=2)
    assert main(replace(few, **settings)) == 0
    return out, read_key(out)


def answered(
    folder: Path,
    key: Key,
    name: str,
    prefers: Callable[[str, str, str], float],
    attentive: bool = True,
    **changes: Any,
) -> Path:
    """The file of a participant who has seen all pairs with the first on the left.

    Args:
        folder: Where it lies.
        key: Of the study.
        name: Of the participant.
        prefers: Of a scene and two systems: 1 for the first, 0 for the second, 0.5 for neither.
        attentive: Passes the checks.
        changes: Other fields of the file.
    """
    rows = []
    for number, files in {**key.checks, **key.pairs}.items():
        left, right = sorted(
            files,
            key=lambda file: (key.pictures[file].degraded, key.pictures[file].system),
        )
        shown = key.pictures[left], key.pictures[right]
        systems = [picture.system for picture in shown]
        value = float(attentive) if number in key.checks else prefers(shown[0].scene, *systems)
        choice = {1.0: "left", 0.0: "right"}.get(value, "none")
        rows.append({"trial": number, "left": left, "right": right, "choice": choice, "ms": 900})
    found = {
        "format": ANSWERS_FORMAT,
        "study": key.study,
        "participant": name,
        "trials": len(rows),
        "answers": rows,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"answers-{key.study}-{name}.json"
    path.write_text(json.dumps(found | changes))
    return path
