"""Make a user study: a web page of blind pairs, from two or more folders of pictures.

    python experiments/study/make_study.py OURS THEIRS --out STUDY
    python experiments/study/make_study.py OURS --fivek FIVEK --scenes 200 --out STUDY

Pictures are matched by the stems of their names and brought to one size. Writes STUDY/index.html
and STUDY/pictures, which work without a server, and STUDY-key.json: it says which system made which
picture, so participants must not have it. `experiments/study/analyse_study.py` reads it.
"""

import hashlib
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import track
from tyro.conf import Positional

from attiqa.files import write_atomically
from experiments.html_pages import embedded_json, filled, part
from experiments.settings import parsed
from experiments.study import StudyError, status_of
from experiments.study.design import Design, Picture, draw_design, draw_scenes
from experiments.study.key import KEY_FORMAT, key_of
from experiments.study.pictures import (
    System,
    alike,
    degraded,
    expert_system,
    folder_system,
    plainly_differ,
    save,
    shared_scenes,
)
from isp_env.scenes.fivek import Expert

log = logging.getLogger(__name__)

PACKAGE = "experiments.study"

INTRO = (
    "You will see pairs of pictures of the same scene. Choose the one that you like better: with "
    "the arrow keys, with the buttons, or by a click on it. There is no right answer; go by your "
    "first impression.\n\n"
    "The Backspace key takes the last choice back. You can stop at any time and go on later in "
    "this browser. Your answers stay on this machine until you hand them in as a file."
)


@dataclass(frozen=True)
class Settings:
    """Make a user study of blind pairs."""

    folders: Positional[tuple[Path, ...]]
    """Folders of pictures, one for each system; two or more, or one or more with --fivek."""
    out: Path = Path("runs/study")
    """New folder for the page; the key is written beside it."""
    names: tuple[str, ...] = ()
    """Of the systems, in the order of the folders; the folders' names if not given."""
    fivek: Path | None = None
    """MIT-Adobe FiveK: an expert's renderings are one more system. The folders' pictures then have
    the names of FiveK's photographs."""
    expert: Expert = "c"
    """Whose renderings."""
    scenes: int | None = None
    """Scenes drawn at random; all if not given. The paper has 200."""
    per_participant: int | None = None
    """Pairs for each participant, without checks and repetitions; all if not given."""
    checks: int = 5
    """Attention checks for each participant: a picture beside a blurred copy."""
    repeats: int = 5
    """Pairs that each participant sees again, sides swapped: how consistent are they?"""
    ties: bool = False
    """Offer "No preference"."""
    title: str = "Which picture do you prefer?"
    """Above the introduction."""
    question: str = "Which picture do you prefer?"
    """Above each pair."""
    intro: Path | None = None
    """Text file with what participants read first, paragraphs apart by empty lines; a short
    introduction in English if not given."""
    consent: str = (
        "I take part voluntarily, and agree that my answers are analysed and published without my "
        "name."
    )
    """What participants tick before they begin."""
    long_side: int = 900
    """Pixels of the pictures' long side; none is enlarged, and both of a pair are the same size."""
    lossless: bool = False
    """Write PNG instead of JPEG of quality 95."""
    seed: int = 0
    """Of all that is drawn: scenes, numbers of pictures, order, sides, checks."""

    @property
    def key(self) -> Path:
        """File that says which system made which picture."""
        return self.out.with_name(f"{self.out.name}-key.json")


def main(settings: Settings) -> int:
    """Make the study; return the exit status."""
    return status_of(lambda: make(settings))


def make(settings: Settings) -> None:
    """Read the pictures, draw the design, write page and key."""
    check(settings)
    systems, scenes = find_pictures(settings)
    names = [system.name for system in systems]
    count = per_participant(settings, len(scenes) * len(names) * (len(names) - 1) // 2)
    checked = scenes_for_checks(systems, scenes, settings)
    suffix = ".png" if settings.lossless else ".jpg"
    design = draw_design(scenes, names, checked, suffix, settings.seed)
    data = page_data(settings, design, count)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    part_folder = Path(tempfile.mkdtemp(prefix=f".{settings.out.name}-", dir=settings.out.parent))
    try:
        (part_folder / "pictures").mkdir()
        write_pictures(systems, scenes, design, settings, part_folder / "pictures")
        write_page(data, part_folder / "index.html")
        part_folder.chmod(0o755)  # mkdtemp's 0700 would lock a web server out
        key = key_of(design, data["study"], names, settings.out.name, asdict(settings))
        write_atomically(settings.key, (json.dumps(key, indent=1, default=str) + "\n").encode())
        part_folder.replace(settings.out)
    finally:
        shutil.rmtree(part_folder, ignore_errors=True)
    Console().print(
        f"{len(scenes)} scenes, {len(design.pairs)} pairs of {len(names)} systems; a participant "
        f"sees {count}, {settings.repeats} of them twice, and {settings.checks} checks",
        f"{settings.out / 'index.html'}: for participants, with its folder",
        f"{settings.key}: for you alone",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )


def check(settings: Settings) -> None:
    """Refuse settings that make no study, before any picture is read.

    Raises:
        StudyError: The message names the setting.
    """
    if len(settings.folders) + (settings.fivek is not None) < 2:
        raise StudyError(
            "a study compares two or more systems: give two folders, or one and --fivek"
        )
    if settings.names and len(settings.names) != len(settings.folders):
        raise StudyError(
            f"--names: expected {len(settings.folders)}, one for each folder, got "
            f"{len(settings.names)}"
        )
    names = system_names(settings)
    if len(set(names)) < len(names):
        raise StudyError(f"systems need different names, got {', '.join(names)}; use --names")
    for name in ("scenes", "per_participant"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise StudyError(f"--{name.replace('_', '-')}: expected 1 or more, got {value}")
    for name in ("checks", "repeats"):
        if getattr(settings, name) < 0:
            raise StudyError(f"--{name}: expected 0 or more, got {getattr(settings, name)}")
    if settings.long_side < 16:
        raise StudyError(f"--long-side: expected 16 pixels or more, got {settings.long_side}")
    for path in (settings.out, settings.key):
        if path.exists():
            raise StudyError(
                f"{path} is there already; a study that has participants must not change: choose "
                "another --out, or remove both folder and key"
            )


def system_names(settings: Settings) -> list[str]:
    """Return names of the folders' systems."""
    return list(settings.names or (folder.resolve().name for folder in settings.folders))


def find_pictures(settings: Settings) -> tuple[list[System], list[str]]:
    """Find the systems, and the scenes of the study in random order."""
    systems = [
        folder_system(name, folder)
        for name, folder in zip(system_names(settings), settings.folders, strict=True)
    ]
    scenes = draw_scenes(shared_scenes(systems), settings.scenes, settings.seed)
    if settings.scenes is not None and len(scenes) < settings.scenes:
        raise StudyError(f"--scenes {settings.scenes}: only {len(scenes)} are there in all folders")
    if settings.fivek is not None:
        systems.append(expert_system(settings.fivek, scenes, settings.expert))
    return systems, scenes


def per_participant(settings: Settings, pairs: int) -> int:
    """Return how many pairs each participant sees.

    Raises:
        StudyError: There are not so many, or too few for the repetitions.
    """
    count = pairs if settings.per_participant is None else settings.per_participant
    if count > pairs:
        raise StudyError(f"--per-participant {count}: the study has only {pairs} pairs")
    if settings.repeats > count // 3:
        raise StudyError(
            f"--repeats {settings.repeats}: at most a third of the {count} pairs of a participant "
            "can come again"
        )
    return count


def scenes_for_checks(
    systems: Sequence[System], scenes: Sequence[str], settings: Settings
) -> list[str]:
    """Return the first scenes whose degraded copies differ plainly from all their pictures.

    Raises:
        StudyError: There are not enough.
    """
    found: list[str] = []
    for scene in scenes:
        if len(found) == settings.checks:
            break
        if all(plainly_differ(x, degraded(x)) for x in scene_pictures(systems, scene, settings)):
            found.append(scene)
    if len(found) < settings.checks:
        raise StudyError(
            f"--checks {settings.checks}: only {len(found)} scenes have enough detail for a copy "
            "that is plainly worse; ask for fewer"
        )
    return found


def scene_pictures(systems: Sequence[System], scene: str, settings: Settings) -> list[Image.Image]:
    """Read the pictures of a scene, and bring them to one size."""
    paths = [system.pictures[scene] for system in systems]
    pixels = [system.read(path) for system, path in zip(systems, paths, strict=True)]
    return alike(pixels, settings.long_side, [str(path) for path in paths])


def write_pictures(
    systems: Sequence[System],
    scenes: Sequence[str],
    design: Design,
    settings: Settings,
    folder: Path,
) -> None:
    """Write pictures and degraded copies under their numbers."""
    files = {picture: file for file, picture in design.pictures.items()}
    for scene in track(scenes, "pictures"):
        pictures = scene_pictures(systems, scene, settings)
        for system, picture in zip(systems, pictures, strict=True):
            save(picture, folder / files[Picture(scene, system.name)])
            if bad := files.get(Picture(scene, system.name, degraded=True)):
                save(degraded(picture), folder / bad)
        if len({picture.tobytes() for picture in pictures}) < len(pictures):
            log.warning("%s: two systems have the same picture", scene)


def page_data(settings: Settings, design: Design, count: int) -> dict[str, Any]:
    """Gather what the page has; "study" is a hash of all the rest.

    Raises:
        StudyError: The introduction cannot be read.
    """

    def trials(drawn: Mapping[int, tuple[str, str]]) -> list[dict[str, Any]]:
        return [{"trial": number, "pictures": list(files)} for number, files in drawn.items()]

    data = {
        "title": settings.title,
        "question": settings.question,
        "intro": [" ".join(text.split()) for text in introduction(settings).split("\n\n")],
        "consent": settings.consent,
        "ties": settings.ties,
        "perParticipant": count,
        "repeats": settings.repeats,
        "pairs": trials(design.pairs),
        "checks": trials(design.checks),
        "seed": design.seed,
    }
    text = json.dumps([KEY_FORMAT, data, {f: asdict(p) for f, p in design.pictures.items()}])
    return data | {"study": hashlib.sha256(text.encode()).hexdigest()[:12]}


def introduction(settings: Settings) -> str:
    """Return what participants read first."""
    if settings.intro is None:
        return INTRO
    try:
        return settings.intro.read_text("utf-8").replace("\r\n", "\n").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{settings.intro}: cannot be read as UTF-8 text: {error}") from error


def write_page(data: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    parts = {
        "title": escape(data["title"]),
        "style": part(PACKAGE, "page.css"),
        "script": part(PACKAGE, "page.js"),
        "data": embedded_json(data),
    }
    path.write_text(filled(part(PACKAGE, "page.html"), parts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(parsed(Settings)))
