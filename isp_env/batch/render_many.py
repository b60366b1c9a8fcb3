"""Batches of RAW files to finished photographs, in isolated processes, resumable.

Every file is decoded, rendered and written by a worker process (`workers`, or those of a cluster),
so that a hostile file costs itself alone. A picture appears whole or not at all, with a sidecar of
the parameters that made it; the manifest of the output folder says what is finished.
"""

import contextlib
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from isp_env.batch.manifest import Entry, Manifest, own_sidecar, recipe_hash, sidecar_path
from isp_env.batch.render_job import (
    RenderJob,
    RenderSettings,
    finished_before,
    is_reviewed,
    render_file,
)
from isp_env.batch.sidecars import SidecarError, check_parameters, find_sidecar, read_parameters
from isp_env.color.output_spaces import SPACES
from isp_env.develop.lens_database import require_lensfun
from isp_env.files import alone_in, shown, temporary_prefix
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.raw.find import BatchError, RawInput, output_paths
from isp_env.render.photograph import TIFF_SUFFIXES
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits, Outcome

log = logging.getLogger(__name__)

LOG = "render-log.jsonl"
WARM_START = "isp_env.batch.warm_start"  # a module that workers begin with
Executor = Callable[..., Generator[Outcome[RenderJob], None, None]]
"""`run_isolated` with its workers and limits, or its like on a cluster: (function, tasks, preload).
"""


@dataclass(frozen=True)
class Rendered:
    """What became of one file of a batch.

    Attributes:
        source: RAW file.
        output: Its photograph.
        status: "done", "skipped" (it is there already), "planned" (dry run) or "failed".
        reason: Why it failed, or None.
        seconds: That the worker took.
        peak_rss: Most memory that the worker had in use, in bytes; None where nobody knows.
    """

    source: Path
    output: Path
    status: Literal["done", "skipped", "planned", "failed"]
    reason: str | None = None
    seconds: float = 0.0
    peak_rss: int | None = None


DEFAULT_SETTINGS, DEFAULT_LIMITS = RenderSettings(), Limits()


def render_many(
    inputs: Sequence[RawInput],
    out: Path,
    settings: RenderSettings = DEFAULT_SETTINGS,
    *,
    workers: int = 2,
    limits: Limits = DEFAULT_LIMITS,
    executor: Executor | None = None,
    dry_run: bool = False,
) -> Generator[Rendered, None, None]:
    """Render files to photographs; yields what became of each as it becomes known.

    Args:
        inputs: From `find_inputs`.
        out: Folder of the photographs, the manifest and the log.
        settings: What is made of them.
        workers: Processes; fewer where the memory does not hold so many. 0 renders in this process,
            without limits.
        limits: Memory and time of each file.
        executor: Runs the jobs; by default `run_isolated` with `workers` and `limits`.
        dry_run: Nothing is rendered or written.

    Raises:
        BatchError: Before anything is rendered: names collide, the settings contradict each other,
            `out` is no folder that can be written, or another batch is at work in it. Later: the
            disk is full; what is done is recorded, and the same batch goes on from there.
        OSError: Manifest or log cannot be written; with the same consequence.
        SidecarError: The preset or the parameters are wrong.
    """
    check_settings(settings)
    if workers < 0:
        raise BatchError(f"workers {workers}: expected 0 or more")
    known = DEFAULT_PIPELINE.parameters
    paths = output_paths(inputs, out, settings.pattern, settings.suffix)
    base = read_parameters(settings.preset, known) if settings.preset else {}
    base |= check_parameters(settings.parameters, known, "parameters")
    if out.exists() and not out.is_dir():
        raise BatchError(f"{shown(out)} is a file: expected a folder for the photographs")
    if dry_run:
        manifest = Manifest(out)
        for one in inputs:
            found = _plan(one.path, paths[one.path], base, settings, manifest)
            planned = isinstance(found, RenderJob)
            yield Rendered(one.path, found.output, "planned") if planned else found[0]
        return
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise BatchError(f"{shown(out)}: this folder is not yours to write in")
    if executor is None:
        executor = partial(run_isolated, workers=affordable(workers, limits), limits=limits)
    choosers = [type(x).__module__ for x in (settings.choose, settings.review) if x]
    preload = [WARM_START, *choosers]
    with alone_in(out, BatchError(f"{out}: another batch is at work in this folder")):
        _sweep(paths.values())
        manifest = Manifest(out)
        known_before: list[Rendered] = []

        def jobs() -> Iterator[RenderJob]:
            """Plan while the first files are rendered."""
            for one in inputs:
                found = _plan(one.path, paths[one.path], base, settings, manifest)
                if isinstance(found, RenderJob):
                    yield found
                    continue
                rendered, entry = found
                if entry is not None:
                    manifest.add(entry)
                _log(out, rendered)
                known_before.append(rendered)

        with contextlib.closing(executor(render_file, jobs(), preload=preload)) as outcomes:
            for outcome in outcomes:
                yield from _drained(known_before)
                rendered = _rendered(outcome)
                if outcome.kind == "done":
                    manifest.add(outcome.value)
                _log(out, rendered)
                yield rendered
                if outcome.kind == "disk":
                    raise BatchError(
                        f"stopped: {rendered.reason}; what is done stays, and the same command "
                        "goes on from there"
                    )
        yield from _drained(known_before)


def _drained(results: list[Rendered]) -> Iterator[Rendered]:
    while results:
        yield results.pop(0)


def check_settings(settings: RenderSettings) -> None:
    """Tell whether the settings fit together.

    Raises:
        BatchError: They do not.
        MissingLensfunError: Lenses are to be corrected, and lensfunpy is not installed.
    """
    if settings.lens == "auto":
        require_lensfun()
    if settings.space not in SPACES:
        raise BatchError(f"space {settings.space!r}: expected one of {', '.join(SPACES)}")
    if settings.bits == 16 and settings.suffix not in TIFF_SUFFIXES:
        raise BatchError(f"16 bits need {' or '.join(TIFF_SUFFIXES)}, not {settings.suffix}")
    if not 1 <= settings.quality <= 100:
        raise BatchError(f"quality {settings.quality}: expected 1 to 100")
    sides = asdict(settings.size)
    if wrong := [name for name, side in sides.items() if side is not None and side < 1]:
        raise BatchError(f"{wrong[0]} {sides[wrong[0]]}: expected at least 1 pixel")


def affordable(workers: int, limits: Limits) -> int:
    """Limit the workers so that all of them can take the most that they may."""
    info = Path("/proc/meminfo")  # Linux; elsewhere the number is taken as it is
    lines = info.read_text().splitlines() if info.exists() else []
    available = next((int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")), 0)
    if not available or workers * limits.memory <= available:
        return workers
    fewer = max(1, available // limits.memory)
    log.warning(
        "%d workers instead of %d: %.1f GB of memory are available, each may take %.1f GB",
        *(fewer, workers, available / 1e9, limits.memory / 1e9),
    )
    return fewer


def _plan(
    source: Path,
    output: Path,
    base: Mapping[str, float],
    settings: RenderSettings,
    manifest: Manifest,
) -> RenderJob | tuple[Rendered, Entry | None]:
    """Return the job of one file, or why there is none, and what the manifest does not know yet."""
    try:
        if not source.is_file():
            reason = "no regular file" if os.path.lexists(source) else "no such file"
            return Rendered(source, output, "failed", reason), None
        return _job(source, output, base, settings, manifest)
    except (SidecarError, OSError) as error:
        return Rendered(source, output, "failed", str(error)), None
    except Exception as error:  # whatever it is, the other files must be done
        log.exception("%s: unexpected error", shown(source))
        reason = f"unexpected {type(error).__name__}: {error}"
        return Rendered(source, output, "failed", reason), None


def _job(
    source: Path,
    output: Path,
    base: Mapping[str, float],
    settings: RenderSettings,
    manifest: Manifest,
) -> RenderJob | tuple[Rendered, Entry | None]:
    sidecar = find_sidecar(source, settings.sidecars)
    own = read_parameters(sidecar, DEFAULT_PIPELINE.parameters) if sidecar else {}
    parameters = {**own, **base}
    recipe = recipe_hash(
        {
            "parameters": parameters,
            "chosen by": settings.choose.identity if settings.choose else None,
            "size": asdict(settings.size),
            "bits": settings.bits,
            "quality": settings.quality,
            "space": settings.space,
            "lens": settings.lens,
            "version": version("attiqa"),
        }
    )
    name = manifest.name_of(output)
    job = RenderJob(source, output, name, parameters, recipe, settings)
    if settings.overwrite:
        return job
    if manifest.is_done(source, recipe, output):
        return (Rendered(source, output, "skipped"), None) if is_reviewed(job) else job
    if output.exists() and (objection := manifest.objection(source, output)):
        if entry := finished_before(job):
            return Rendered(source, output, "skipped"), entry
        if not own_sidecar(source, output):
            reason = f"{output} exists, and {objection}: not overwritten without --overwrite"
            return Rendered(source, output, "failed", reason), None
    return job


def _rendered(outcome: Outcome[RenderJob]) -> Rendered:
    return Rendered(
        outcome.task.source,
        outcome.task.output,
        "done" if outcome.kind == "done" else "failed",
        outcome.failure,
        outcome.seconds,
        outcome.peak_rss,
    )


def _sweep(outputs: Iterable[Path]) -> None:
    """Remove the temporary files of `atomic_path` that killed workers left."""
    prefixes: defaultdict[Path, set[str]] = defaultdict(set)
    for output in outputs:
        for path in (output, sidecar_path(output)):
            prefixes[path.parent].add(temporary_prefix(path))
    for folder, ours in prefixes.items():
        for left in folder.glob(".*-*"):
            if left.name[: left.name.index("-") + 1] in ours:
                left.unlink(missing_ok=True)


def _log(out: Path, rendered: Rendered) -> None:
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **{k: str(v) if isinstance(v, Path) else v for k, v in asdict(rendered).items()},
    }
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
