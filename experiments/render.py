"""Render RAW files to photographs, in batches.

    python experiments/render.py --raw PHOTOS --out RENDERED
    python experiments/render.py --raw "2024-*/*.NEF" --out WEB --long-side 2048 --space p3
    python experiments/render.py --raw PHOTOS --out RENDERED --parameters exposure=0.5 shadows=0.3
    python experiments/render.py --raw PHOTOS --out RENDERED --agent embedded

Every file is rendered in a process of its own kind, with limits on memory and time: a broken file
is named with its reason, and all others are done. Run again, a batch goes on where it was stopped.
Beside each picture lies `PICTURE.json` with its parameters; given as a sidecar (`PHOTO.dng.json`)
or a preset it renders the same picture again. Parameters come from the sidecar, the preset, the
command line and the agent; the later ones win, but for knobs that the agent is to `--keep`.
`render-log.jsonl` in the output folder says what became of each file.

Exit status: 0 if every file is rendered, 1 if any failed, 2 if the batch could not begin or go on
(a full disk), 130 after Ctrl-C. What is done stays done.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from experiments.early_workers import start_workers
from experiments.settings import parsed


@dataclass(frozen=True)
class Settings:
    """Render RAW files to photographs."""

    out: Path
    """Folder for the photographs."""
    raw: list[str] = field(default_factory=list)
    """Files, folders (with all folders below) or globs in quotes."""
    listed: Path | None = None
    """File with one name in each line, "-" for the standard input; UTF-8, UTF-16 with a mark, or
    the bytes of the file system."""
    workers: int = 2
    """Processes; 0 renders in this one, without limits."""
    format: Literal["jpg", "png", "tif"] = "jpg"
    """Of the photographs."""
    bits: Literal[8, 16] = 8
    """16 for TIFF."""
    quality: int = 95
    """Of JPEG, 1 to 100."""
    space: Literal["srgb", "p3", "prophoto"] = "srgb"
    """Colour space; its profile is embedded."""
    width: int | None = None
    """At most so many pixels wide; photographs are never enlarged. Smaller is faster."""
    height: int | None = None
    """At most so many pixels high."""
    long_side: int | None = None
    """At most so many pixels on the longer side."""
    pattern: str | None = None
    """Names: {stem} {name} {suffix} {parent} {relative} {index}. If not given {stem}, and where
    two are equal what tells them apart."""
    lens: Literal["auto", "off"] = "off"
    """"auto" corrects distortion, lateral chromatic aberration and vignetting by lensfun's profile
    of the lens; needs the extra attiqa[lens]."""
    sidecars: Path | None = None
    """Folder of the sidecars; beside the RAW files if not given."""
    preset: Path | None = None
    """Parameters for all files, as JSON."""
    parameters: tuple[str, ...] = ()
    """Parameters for all files, as NAME=VALUE in physical units."""
    agent: str | None = None
    """An agent that chooses: "embedded" or the path of its .json card."""
    refine: int = 0
    """Steps of gradient ascent through ISP and reward from the agent's choice."""
    strength: float = 1.0
    """Share of the agent's change that is made, 0 to 1; 0 renders neutral."""
    keep: tuple[str, ...] = ()
    """Knobs or stages that the agent leaves alone, such as exposure white-balance: they stay as
    sidecar, preset or --parameters have them, or neutral."""
    overwrite: bool = False
    """Render again what is there, and replace pictures of other programs and other RAW files."""
    dry_run: bool = False
    """Say what would be rendered, and write nothing."""
    memory: float = 1.5
    """Gigabytes that the rendering of a file may take."""
    seconds: float = 120.0
    """Time that the rendering of a file may take."""
    cluster: str | None = None
    """Render on a Ray cluster: "auto", "local" or HOST:PORT; `out` is then a shared folder."""


def main(settings: Settings) -> int:
    """Run; returns the exit status."""
    from experiments.batch_commands import guarded  # slow to import: --help does without

    return guarded(lambda: _render(settings))


def _render(settings: Settings) -> int:
    from experiments.batch_commands import concluded, followed, named_inputs, say
    from isp_env.batch.render_job import RenderSettings
    from isp_env.batch.render_many import render_many
    from isp_env.render.frame import OutputSize
    from isp_env.workers.outcomes import Limits

    limits = Limits(memory=round(settings.memory * 1e9), seconds=settings.seconds)
    inputs = named_inputs(settings.raw, settings.listed)
    if not inputs:
        say("nothing to render: name files with --raw or --listed")
        return 2
    batch = render_many(
        inputs,
        settings.out,
        RenderSettings(
            suffix=f".{settings.format}",
            bits=settings.bits,
            quality=settings.quality,
            space=settings.space,
            size=OutputSize(settings.width, settings.height, settings.long_side),
            lens=settings.lens,
            pattern=settings.pattern,
            sidecars=settings.sidecars,
            preset=settings.preset,
            parameters=_parameters(settings.parameters),
            choose=_chooser(settings),
            overwrite=settings.overwrite,
        ),
        workers=settings.workers,
        limits=limits,
        executor=_cluster(settings, limits),
        dry_run=settings.dry_run,
    )
    return concluded(followed(batch, len(inputs)), settings.out)


def _parameters(pairs: tuple[str, ...]) -> dict[str, float]:
    from isp_env.batch.sidecars import SidecarError

    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise SidecarError(f"--parameters {pair}: expected NAME=NUMBER") from error
    return found


def _chooser(settings: Settings):
    if settings.agent is None:
        if settings.strength != 1.0 or settings.keep:
            from isp_env.raw.find import BatchError

            raise BatchError("--strength and --keep need an --agent that chooses")
        return None
    from experiments.agent_chooser import AgentChooser

    return AgentChooser.of(
        settings.agent, refine=settings.refine, strength=settings.strength, keep=settings.keep
    )


def _cluster(settings: Settings, limits):
    if settings.cluster is None:
        return None
    from functools import partial

    from isp_env.batch.render_job import finished_before
    from isp_env.workers.ray_cluster import run_on_cluster

    return partial(
        run_on_cluster, address=settings.cluster, limits=limits, already_done=finished_before
    )


def command(program: str | None = "attiqa-render") -> None:
    """Run as the installed program `attiqa-render`."""
    agent = any(argument.startswith("--agent") for argument in sys.argv)
    start_workers(Settings, sys.argv[1:], ["experiments.agent_chooser"] if agent else [])
    sys.exit(main(parsed(Settings, program)))


if __name__ == "__main__":
    command(None)
