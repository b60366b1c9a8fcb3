"""One RAW file to a finished photograph with its sidecar: what a worker of a batch does."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float

from isp_env.arrays import Array
from isp_env.batch.manifest import Entry, own_sidecar, read_sidecar, sha256, sidecar_path
from isp_env.batch.sidecars import FORMAT, check_parameters
from isp_env.color.output_spaces import SPACES
from isp_env.develop.corrections import corrected
from isp_env.develop.lens_database import lens_correction
from isp_env.errors import RawFileError
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE, default_pipeline
from isp_env.isp.parameters import theta_of, to_theta
from isp_env.isp.pipeline import IspPipeline
from isp_env.raw import RawImage, read_raw
from isp_env.render.frame import FULL_SIZE, OutputSize, render_raw
from isp_env.render.photograph import camera_exif, encode_photograph


@dataclass(frozen=True)
class Choice:
    """Parameters for one picture.

    Attributes:
        parameters: Physical values by name; those not named stay as other layers set them.
        renders: Pictures that were made on the way.
        strength: Share of the change from neutral that is taken, 0 to 1.
        kept: Names of the parameters that were not to be chosen.
    """

    parameters: Mapping[str, float]
    renders: int = 0
    strength: float = 1.0
    kept: tuple[str, ...] = ()


@runtime_checkable
class Chooser(Protocol):
    """Chooses parameters for a picture, as an agent does; picklable."""

    @property
    def identity(self) -> str:
        """Says what chooses: a change of it renders a picture again."""
        ...

    def __call__(self, raw: RawImage, given: Mapping[str, float], /) -> Choice:
        """Parameters for this picture; `given` are the physical values of the other layers."""
        ...


@runtime_checkable
class Review(Protocol):
    """Judges what was chosen, for the sidecar; picklable. The picture does not depend on it."""

    def __call__(self, raw: RawImage, theta: Float[Array, " d"], name: str, /) -> Mapping[str, Any]:
        """Judge the picture `name`: JSON for its sidecar."""
        ...

    def covers(self, judged: Any, name: str, /) -> bool:
        """Tell whether `judged` is what this review says of the picture `name`, complete."""
        ...


@dataclass(frozen=True)
class RenderSettings:
    """What a batch makes of its files.

    Attributes:
        suffix: ".jpg", ".png" or ".tif" choose the format.
        bits: 8, or 16 for TIFF.
        quality: Of JPEG, 1..100.
        space: Name in `color.output_spaces.SPACES`.
        size: The photograph is made to fit; it is never enlarged.
        pattern: Names of the photographs (`raw.find.output_paths`); None tells them apart.
        sidecars: Folder of the sidecars `NAME.dng.json`; None looks beside each RAW file.
        preset: Parameters for all files, over the sidecars.
        parameters: Physical values for all files, over the preset.
        lens: "auto" corrects what the lens does, by lensfun's database where the file names a lens
            that is in it, and has no corrections of its own.
        choose: Chooses for each file, over everything else.
        review: Judges each picture; pictures that it has not seen are rendered again.
        overwrite: Replace pictures that are there, whoever made or changed them.
    """

    suffix: str = ".jpg"
    bits: Literal[8, 16] = 8
    quality: int = 95
    space: str = "srgb"
    size: OutputSize = FULL_SIZE
    pattern: str | None = None
    sidecars: Path | None = None
    preset: Path | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    lens: Literal["auto", "off"] = "off"
    choose: Chooser | None = None
    review: Review | None = None
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
    profile, lens = lens_correction(raw) if settings.lens == "auto" else (None, None)
    raw = corrected(raw, profile)
    pipeline = _pipeline(settings.space)
    values, choice = dict(job.parameters), None
    if settings.choose is not None:
        choice = settings.choose(raw, values)
        values |= check_parameters(choice.parameters, pipeline.parameters, "chosen parameters")
    theta = theta_of(pipeline.parameters, values)
    pixels = render_raw(raw, theta, pipeline=pipeline, size=settings.size, bits=settings.bits)
    if pixels.min() == pixels.max():
        told = f"every pixel of its rendering is {pixels.flat[0]}"
        raise RawFileError(job.source, f"nothing to see: {told} (BaselineExposure, exposure?)")
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
        "simulated": raw.simulated,
        "fallbacks": list(raw.fallbacks),
        "lens correction": lens,
        "output": {
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "bits": settings.bits,
            "space": SPACES[settings.space].name,
        },
        "chosen by": settings.choose.identity if settings.choose else None,
        "strength": choice.strength if choice else None,
        "kept": list(choice.kept) if choice else [],
        "renders": choice.renders if choice else 0,
        "recipe": job.recipe,
        "version": version("attiqa"),
    }
    if settings.review is not None:
        tensor = to_theta(pipeline.parameters, values)[0]
        sidecar["judged"] = settings.review(raw, tensor, job.name)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    exif = camera_exif(job.source)
    space = SPACES[settings.space]
    with atomic_path(job.output) as picture:
        sidecar["metadata left out"] = list(
            encode_photograph(pixels, picture, exif=exif, space=space, quality=settings.quality)
        )
        sidecar["output_sha256"] = sha256(picture)
        # a picture that is there always belongs to the sidecar that is there (`own_sidecar`)
        job.output.unlink(missing_ok=True)
        with atomic_path(sidecar_path(job.output)) as temporary:
            temporary.write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    return _entry(job, status, digest)


def finished_before(job: RenderJob) -> Entry | None:
    """Return the entry of a picture whose batch was killed before it could record it."""
    sidecar = own_sidecar(job.source, job.output)
    if sidecar.get("recipe") != job.recipe or not is_reviewed(job):
        return None
    return _entry(job, job.source.stat(), sidecar["source_sha256"])


def is_reviewed(job: RenderJob) -> bool:
    """Tell whether the sidecar that is there has what the job's review says."""
    if job.settings.review is None:
        return True
    judged = read_sidecar(job.output).get("judged")
    return job.settings.review.covers(judged, job.name)


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


@cache
def _pipeline(space: str) -> IspPipeline:
    return DEFAULT_PIPELINE if space == "srgb" else default_pipeline(SPACES[space])
