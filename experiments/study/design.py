"""Which pairs a study has, and under which numbers: all that is drawn before anybody takes part.

The page draws the rest for each participant, from the study's seed and the participant's number:
see `page.js`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Picture:
    """One picture of the study.

    Attributes:
        scene: What it shows.
        system: Who made it.
        degraded: It is the bad copy of an attention check.
    """

    scene: str
    system: str
    degraded: bool = False


@dataclass(frozen=True)
class Design:
    """The trials of a study in the order of their drawing.

    Attributes:
        pictures: File of each picture; its name tells nothing.
        pairs: Trials of two systems by their number: two files in random order. Consecutive
            participants see consecutive parts of this list, and go round it.
        checks: Trials of a picture and its degraded copy, two files in random order; all
            participants see them all.
        seed: What the page draws from; other numbers cannot be concluded from it.
    """

    pictures: dict[str, Picture]
    pairs: dict[int, tuple[str, str]]
    checks: dict[int, tuple[str, str]]
    seed: str


def draw_scenes(scenes: Sequence[str], count: int | None, seed: int) -> list[str]:
    """Draw scenes in random order; all of them where `count` is None or larger."""
    order = np.random.default_rng((seed, 0)).permutation(len(scenes))
    return [scenes[int(i)] for i in order[:count]]


def draw_design(
    scenes: Sequence[str], systems: Sequence[str], checked: Sequence[str], suffix: str, seed: int
) -> Design:
    """Draw a design: all pairs of systems in each scene, and checks.

    Args:
        scenes: All systems have a picture of each.
        systems: Names of two or more.
        checked: Scenes that an attention check is made of; the system is drawn.
        suffix: Of the files.
        seed: The same seed and names give the same design.
    """
    random = np.random.default_rng((seed, 1))
    pictures = [Picture(scene, system) for scene in scenes for system in systems]
    originals = [Picture(scene, systems[int(random.integers(len(systems)))]) for scene in checked]
    copies = [Picture(one.scene, one.system, degraded=True) for one in originals]
    every = pictures + copies
    numbers = random.permutation(len(every)) + 1
    digits = len(str(len(every)))
    files = {
        picture: f"{number:0{digits}}{suffix}"
        for picture, number in zip(every, numbers, strict=True)
    }
    compared = [
        (Picture(scene, first), Picture(scene, second))
        for scene in scenes
        for first, second in combinations(systems, 2)
    ]
    trials = [*compared, *zip(originals, copies, strict=True)]
    drawn = random.permutation(len(trials))
    pairs: dict[int, tuple[str, str]] = {}
    checks: dict[int, tuple[str, str]] = {}
    for number, index in enumerate(drawn, start=1):
        one, other = (files[picture] for picture in trials[index])
        kind = pairs if index < len(compared) else checks
        kind[number] = (one, other) if random.random() < 0.5 else (other, one)
    named = sorted((file, picture) for picture, file in files.items())
    return Design(dict(named), pairs, checks, f"{random.integers(2**32):08x}")
