"""Batches of RAW files to finished photographs, in isolated processes, resumable.

Every file is decoded, rendered and written by a worker process (`workers`, or those of a cluster),
so that a hostile file costs itself alone. A picture appears whole or not at all, with a sidecar of
the parameters that made it; the manifest of the output folder says what is finished.
"""

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from isp_env.batch_inputs import BatchError, RawInput, output_paths
from isp_env.files import atomic_path
from isp_env.full_frame import FULL_SIZE, OutputSize, render_raw
from isp_env.manifest import Entry, Manifest, own_sidecar, recipe_hash, sha256, sidecar_path
from isp_env.outcomes import Limits, Outcome
from isp_env.output_spaces import SPACES
from isp_env.parameters import to_theta
from isp_env.photograph import TIFF_SUFFIXES, camera_exif, write_photograph
from isp_env.pipeline import DEFAULT_PIPELINE, IspPipeline, default_pipeline
from isp_env.raw import RawImage, read_raw
from isp_env.sidecars import FORMAT, SidecarError, check_parameters, find_sidecar, read_parameters
from isp_env.workers import run_isolated

log = logging.getLogger(__name__)

LOG = "render-log.jsonl"
TEMPORARY = re.compile(r"\.(.+)-[a-z0-9_]{8}(\.[^.]+)")  # names of `atomic_path`
Executor = Callable[..., Iterator[Outcome["RenderJob"]]]
"""`run_isolated` with its workers and limits, or its like on a cluster: (function, tasks)."""


@runtime_checkable
class Chooser(Protocol):
    """Chooses parameters for a picture, as an agent does; picklable."""

    @property
    def identity(self) -> str:
        """Says what chooses: a change of it renders a picture again."""
        ...

    def __call__(self, raw: RawImage) -> Mapping[str, float]:
        """Physical values by name; those not named stay as other layers set them."""
        ...


@dataclass(frozen=True)
class RenderSettings:
    """What a batch makes of its files.

    Attributes:
        suffix: ".jpg", ".png" or ".tif" choose the format.
        bits: 8, or 16 for TIFF.
        quality: Of JPEG, 1..100.
        space: Name in `output_spaces.SPACES`.
        size: The photograph is made to fit; it is never enlarged.
        pattern: Names of the photographs (`batch_inputs.output_paths`).
        sidecars: Folder of the sidecars `NAME.dng.json`; None looks beside each RAW file.
        preset: Parameters for all files, over the sidecars.
        parameters: Physical values for all files, over the preset.
        choose: Chooses for each file, over everything else.
        overwrite: Replace pictures that are there, whoever made or changed them.
    """

    suffix: str = ".jpg"
    bits: Literal[8, 16] = 8
    quality: int = 95
    space: str = "srgb"
    size: OutputSize = FULL_SIZE
    pattern: str = "{stem}"
    sidecars: Path | None = None
    preset: Path | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    choose: Chooser | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class RenderJob:
    """One photograph to make; everything that its pixels depend on beside the RAW file."""

    source: Path
    output: Path
    name: str  # of the output in the manifest
    parameters: Mapping[str, float]
    recipe: str
    settings: RenderSettings


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
            or another batch is at work in this folder.
        SidecarError: The preset or the parameters are wrong.
    """
    check_settings(settings)
    if workers < 0:
        raise BatchError(f"workers {workers}: expected 0 or more")
    known = DEFAULT_PIPELINE.parameters
    paths = output_paths(inputs, out, settings.pattern, settings.suffix)
    base = read_parameters(settings.preset, known) if settings.preset else {}
    base |= check_parameters(settings.parameters, known, "parameters")
    if dry_run:
        manifest = Manifest(out)
        for one in inputs:
            found = _plan(one.path, paths[one.path], base, settings, manifest)
            planned = isinstance(found, RenderJob)
            yield Rendered(one.path, found.output, "planned") if planned else found[0]
        return
    out.mkdir(parents=True, exist_ok=True)
    if executor is None:
        executor = partial(run_isolated, workers=affordable(workers, limits), limits=limits)
    with _alone_in(out):
        _sweep(paths.values())
        manifest = Manifest(out)
        jobs: list[RenderJob] = []
        for one in inputs:
            found = _plan(one.path, paths[one.path], base, settings, manifest)
            if isinstance(found, RenderJob):
                jobs.append(found)
                continue
            rendered, entry = found
            if entry is not None:
                manifest.add(entry)
            _log(out, rendered)
            yield rendered
        for outcome in executor(render_file, jobs):
            job = outcome.task
            rendered = Rendered(
                job.source,
                job.output,
                "done" if outcome.kind == "done" else "failed",
                outcome.failure,
                outcome.seconds,
                outcome.peak_rss,
            )
            if outcome.kind == "done":
                manifest.add(outcome.value)
            _log(out, rendered)
            yield rendered


def render_file(job: RenderJob) -> Entry:
    """Render one file and write its photograph and sidecar; runs in a worker.

    Raises:
        RawFileError: The file cannot be rendered.
        OSError: The photograph cannot be written.
    """
    settings = job.settings
    status = job.source.stat()
    digest = sha256(job.source)
    raw = read_raw(job.source)
    pipeline = _pipeline(settings.space)
    values = dict(job.parameters)
    if settings.choose is not None:
        values |= check_parameters(settings.choose(raw), pipeline.parameters, "chosen parameters")
    theta = to_theta(pipeline.parameters, values)[0]
    pixels = render_raw(raw, theta, pipeline=pipeline, size=settings.size, bits=settings.bits)
    units = {p.name: p for p in pipeline.parameters}
    sidecar = {
        "format": FORMAT,
        "parameters": {
            name: {"value": values.get(name, p.neutral), "unit": p.unit}
            for name, p in units.items()
        },
        "source": job.source.name,
        "source_sha256": digest,
        "camera": f"{raw.make} {raw.model}".strip(),
        "fallbacks": list(raw.fallbacks),
        "output": {
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "bits": settings.bits,
            "space": SPACES[settings.space].name,
        },
        "chosen by": settings.choose.identity if settings.choose else None,
        "recipe": job.recipe,
        "version": version("attiqa"),
    }
    job.output.parent.mkdir(parents=True, exist_ok=True)
    exif = camera_exif(job.source)
    space = SPACES[settings.space]
    with atomic_path(job.output) as picture:
        write_photograph(pixels, picture, exif=exif, space=space, quality=settings.quality)
        sidecar["output_sha256"] = sha256(picture)
        # a picture that is there always belongs to the sidecar that is there (`own_sidecar`)
        job.output.unlink(missing_ok=True)
        with atomic_path(sidecar_path(job.output)) as temporary:
            temporary.write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    return _entry(job, status, digest)


def check_settings(settings: RenderSettings) -> None:
    """Whether the settings fit together.

    Raises:
        BatchError: They do not.
    """
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
    """So many workers that all of them can take the most that they may."""
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


@cache
def _pipeline(space: str) -> IspPipeline:
    return DEFAULT_PIPELINE if space == "srgb" else default_pipeline(SPACES[space])


def _plan(
    source: Path,
    output: Path,
    base: Mapping[str, float],
    settings: RenderSettings,
    manifest: Manifest,
) -> RenderJob | tuple[Rendered, Entry | None]:
    """The job of one file, or why there is none, and what the manifest does not know yet."""
    try:
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
                "version": version("attiqa"),
            }
        )
        name = manifest.name_of(output)
        job = RenderJob(source, output, name, parameters, recipe, settings)
        if settings.overwrite:
            return job
        if manifest.is_done(source, recipe, output):
            return Rendered(source, output, "skipped"), None
        if output.exists() and (objection := manifest.objection(source, output)):
            if entry := finished_before(job):
                return Rendered(source, output, "skipped"), entry
            if not own_sidecar(source, output):
                reason = f"{output} exists, and {objection}: not overwritten without --overwrite"
                return Rendered(source, output, "failed", reason), None
    except (SidecarError, OSError) as error:
        return Rendered(source, output, "failed", str(error)), None
    return job


def finished_before(job: RenderJob) -> Entry | None:
    """The entry of a picture whose batch was killed before it could record it."""
    sidecar = own_sidecar(job.source, job.output)
    if sidecar.get("recipe") != job.recipe:
        return None
    return _entry(job, job.source.stat(), sidecar["source_sha256"])


def _entry(job: RenderJob, source: os.stat_result, digest: str) -> Entry:
    return Entry(
        source=str(job.source.resolve()),
        source_size=source.st_size,
        source_mtime_ns=source.st_mtime_ns,
        source_sha256=digest,
        recipe=job.recipe,
        output=job.name,
        output_size=job.output.stat().st_size,
    )


def _sweep(outputs: Iterable[Path]) -> None:
    """Remove what killed workers left: temporary files of `atomic_path`, and of one inside it."""
    files = {path for output in outputs for path in (output, sidecar_path(output))}
    for folder in {path.parent for path in files}:
        for left in folder.glob(".*"):
            name = left.name
            while temporary := TEMPORARY.fullmatch(name):
                name = temporary[1] + temporary[2]
                if folder / name in files:
                    left.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two batches in one folder are the user's to avoid
        yield
        return
    with (out / ".render-lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BatchError(f"{out}: another batch is at work in this folder") from error
        yield


def _log(out: Path, rendered: Rendered) -> None:
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **{k: str(v) if isinstance(v, Path) else v for k, v in asdict(rendered).items()},
    }
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
