"""Develop RAW files with a policy that has learned from photographs what to mend.

    python experiments/enhance.py                       # the embedded samples
    python experiments/enhance.py --raw PHOTOS --out DEVELOPED

The photographs are those of `render.py --agent embedded`, made in the same way: in worker
processes with limits, so that a broken file fails alone; and run again, a batch goes on where it
was stopped. The sidecar of each (`PICTURE.json`) has the scores before and after beside the
parameters. For the run: `index.html`, a page to look at them (`experiments.review_page`; its
pictures are in `page/`), `contact_sheet.png` (neutral beside enhanced), `results.json`, a table.

Exit status: 0 if every file is developed, 1 if any failed, 2 if the batch could not begin or go on
(a full disk), 130 after Ctrl-C. What is done stays done.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.early_workers import start_workers
from experiments.settings import parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.score_review import ScoreReview
    from isp_env.batch.render_many import Rendered

PAIRS = 400  # on a contact sheet; for more files there are several


@dataclass(frozen=True)
class Settings:
    """Develop RAW files with a learned agent."""

    raw: list[str] = field(default_factory=list)
    """Files, folders (with all folders below) or globs in quotes; the embedded samples if none is
    given."""
    listed: Path | None = None
    """File with one name in each line, "-" for the standard input; UTF-8, UTF-16 with a mark, or
    the bytes of the file system."""
    out: Path = Path("outputs/enhance")
    """Folder for the results."""
    agent: str = "embedded"
    """"embedded", or the path of an agent's .json card."""
    reward: str = "embedded"
    """Quality model of the reward, best the one that the agent was trained by."""
    refine: int = 0
    """Steps of gradient ascent through ISP and reward from the agent's choice, a render each."""
    strength: float = 1.0
    """Share of the chosen change that is made, 0 to 1; 0 renders neutral."""
    keep: tuple[str, ...] = ()
    """Knobs or stages that the agent leaves alone, such as exposure white-balance: they stay as
    the sidecar of the RAW file has them, or neutral."""
    workers: int = 2
    """Processes; 0 renders in this one, without limits."""
    format: Literal["jpg", "png", "tif"] = "jpg"
    """jpg and png have 8 bits, tif has 16."""
    quality: int = 95
    """JPEG quality."""
    lens: Literal["auto", "off"] = "off"
    """"auto" corrects distortion, lateral chromatic aberration and vignetting by lensfun's profile
    of the lens; needs the extra attiqa[lens]."""
    pattern: str | None = None
    """Names: {stem} {name} {suffix} {parent} {relative} {index}. If not given {stem}, and where
    two are equal what tells them apart."""
    overwrite: bool = False
    """Render again what is there, and replace pictures of other programs and other RAW files."""
    memory: float = 1.5
    """Gigabytes that the development of a file may take."""
    seconds: float = 120.0
    """Time that the development of a file may take."""


def main(settings: Settings) -> int:
    """Run; returns the exit status."""
    from experiments.batch_commands import guarded  # slow to import: --help does without

    return guarded(lambda: _enhance(settings))


def _enhance(settings: Settings) -> int:
    from experiments.agent_chooser import AgentChooser
    from experiments.batch_commands import concluded, followed, named_inputs, say
    from experiments.score_review import ScoreReview
    from isp_env.batch.render_job import RenderSettings
    from isp_env.batch.render_many import render_many
    from isp_env.raw.find import find_inputs
    from isp_env.scenes.samples import sample_files
    from isp_env.workers.outcomes import Limits

    if settings.raw or settings.listed:
        inputs = named_inputs(settings.raw, settings.listed)
    else:
        inputs = find_inputs(sample_files())
    if not inputs:
        say("nothing to develop: name files with --raw or --listed")
        return 2
    review = ScoreReview.of(settings.reward, settings.out)
    batch = render_many(
        inputs,
        settings.out,
        RenderSettings(
            suffix=f".{settings.format}",
            bits=16 if settings.format == "tif" else 8,
            quality=settings.quality,
            lens=settings.lens,
            pattern=settings.pattern,
            choose=AgentChooser.of(
                settings.agent,
                settings.reward,
                settings.refine,
                settings.strength,
                settings.keep,
            ),
            review=review,
            overwrite=settings.overwrite,
        ),
        workers=settings.workers,
        limits=Limits(memory=round(settings.memory * 1e9), seconds=settings.seconds),
    )
    order = {one.path: place for place, one in enumerate(inputs)}
    results = sorted(followed(batch, len(inputs)), key=lambda result: order[result.source])
    _report(settings, results, review)
    return concluded(results, settings.out)


def _report(settings: Settings, results: "Sequence[Rendered]", review: "ScoreReview") -> None:
    """Write the page, the contact sheet and `results.json`, and print the table."""
    import json
    from importlib.metadata import version

    import torch

    from experiments.review_page import page_data, write_review_page
    from isp_env.files import atomic_path
    from isp_env.isp.default import DEFAULT_PIPELINE

    failed = [r for r in results if r.status == "failed"]
    failures = [{"file": str(r.source), "reason": r.reason or ""} for r in failed]
    there = [_told(r, settings.out) for r in results if r.status != "failed"]
    previews = {one["photograph"]: review.previews(one["photograph"]) for one in there}
    page = page_data(there, failures, previews, DEFAULT_PIPELINE.parameters)
    write_review_page(page, settings.out / "index.html")
    _contact_sheets(there, settings.out, review)
    summary = summarise(there)
    report = {
        "settings": vars(settings),
        "version": version("attiqa"),
        "torch": torch.__version__,
        "summary": summary,
        "results": there,
        "failures": failures,
    }
    with atomic_path(settings.out / "results.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2, default=str) + "\n")
    if there:
        print_table(there, summary)


def _told(rendered: "Rendered", out: Path) -> dict[str, Any]:
    """Turn the sidecar of a picture into an entry of `results.json`."""
    from isp_env.batch.manifest import read_sidecar

    sidecar = read_sidecar(rendered.output)
    keys = (
        *("camera", "simulated", "fallbacks", "metadata left out", "output", "parameters"),
        *("strength", "kept", "renders"),
    )
    return {
        "source": str(rendered.source),
        "photograph": rendered.output.relative_to(out).as_posix(),
        **{key: sidecar[key] for key in keys if key in sidecar},
        **sidecar.get("judged", {}),
    }


def _contact_sheets(results: list[dict[str, Any]], out: Path, review: "ScoreReview") -> None:
    from experiments.contact_sheet import Pair, thumbnail, write_contact_sheet
    from isp_env.files import shown

    pairs = []
    for result in results:
        score = result.get("score")
        captions = (
            (f"neutral {score['before']:.3f}", f"enhanced {score['after']:.3f}")
            if score
            else ("neutral", "enhanced")
        )
        title = shown(Path(result["source"]).stem)
        before, after = (thumbnail(out / path) for path in review.previews(result["photograph"]))
        pairs.append(Pair(before, after, title, captions))
    for number, first in enumerate(range(0, len(pairs), PAIRS), 1):
        name = "contact_sheet.png" if number == 1 else f"contact_sheet_{number}.png"
        write_contact_sheet(pairs[first : first + PAIRS], out / name)


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over the files, before and after; None where no file has the number."""
    scores = [r["score"] for r in results if "score" in r]
    near = [r["fidelity"] for r in results if "fidelity" in r]

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    whens = ("before", "after")
    return {"score": {when: mean([s[when] for s in scores]) for when in whens}} | {
        metric: {when: mean([f[when][metric] for f in near]) for when in whens}
        for metric in ("psnr", "ssim", "ciede2000")
    }


def print_table(results: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Print one row for each file and one for the means."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from isp_env.files import shown

    table = Table("file", "score", "PSNR to truth", "CIEDE2000 to truth", "renders")

    def change(pair: dict[str, float | None], digits: int) -> str:
        if pair["before"] is None or pair["after"] is None:
            return ""
        return f"{pair['before']:.{digits}f} → {pair['after']:.{digits}f}"

    for result in results:
        near = result.get("fidelity")
        table.add_row(
            escape(shown(Path(result["source"]).name)),
            change(result["score"], 3) if "score" in result else escape(result["reason"]),
            change({when: near[when]["psnr"] for when in near}, 1) if near else "",
            change({when: near[when]["ciede2000"] for when in near}, 1) if near else "",
            str(result["renders"]),
        )
    table.add_section()
    means = (change(summary[key], n) for key, n in (("score", 3), ("psnr", 1), ("ciede2000", 1)))
    table.add_row("mean", *means, "")
    Console().print(table)


def command(program: str | None = "attiqa-enhance") -> None:
    """Run as the installed program `attiqa-enhance`."""
    start_workers(Settings, sys.argv[1:], ["experiments.agent_chooser", "experiments.score_review"])
    sys.exit(main(parsed(Settings, program)))


if __name__ == "__main__":
    command(None)
