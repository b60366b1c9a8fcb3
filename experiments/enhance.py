"""Develop RAW files with an agent that has learned to please a quality model.

    python experiments/enhance.py                       # the embedded samples
    python experiments/enhance.py --raw PHOTOS --out DEVELOPED

For each RAW file: a photograph, a JSON sidecar with the parameters in physical units and the scores
before and after. For the run: `contact_sheet.png` (neutral beside enhanced), `results.json`, a
table. Files that cannot be developed are named with the reason, and the exit status is 1.
"""

import json
import logging
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import track
from rich.table import Table
from stable_baselines3.common.utils import set_random_seed

from agents.policies import Agent, load_agent, warn_of_another_judge
from attiqa.attributes import ATTRIBUTES
from attiqa.model_sources import JUDGE
from attiqa.scoring import QualityModel, load_model
from experiments.agent_chooser import REFINE, choose
from isp_env.batch_inputs import find_inputs
from isp_env.contact_sheet import Pair, write_contact_sheet
from isp_env.development import LinearImage, resize
from isp_env.errors import IspEnvError
from isp_env.fidelity import fidelity
from isp_env.files import atomic_path
from isp_env.full_frame import render_raw
from isp_env.parameters import to_values
from isp_env.photograph import camera_exif, write_photograph
from isp_env.pipeline import DEFAULT_PIPELINE, IspPipeline
from isp_env.raw import read_raw
from isp_env.reduced import preview
from isp_env.rewards import QualityReward
from isp_env.samples import sample_files, truth_of
from isp_env.sidecars import FORMAT

SCORING_SIDE = 640  # renderings are scored and compared with the truth at this size

console = Console()


@dataclass(frozen=True)
class Settings:
    """Develop RAW files with a learned agent."""

    raw: list[Path] = field(default_factory=list)
    """RAW files or folders of them; the embedded samples if none is given."""
    out: Path = Path("outputs/enhance")
    """Folder for the results."""
    agent: str = "embedded"
    """"embedded", or the path of an agent's .json card."""
    reward: str = JUDGE
    """Quality model of the reward, best the one that the agent was trained by."""
    format: Literal["jpg", "png", "tif"] = "jpg"
    """jpg and png have 8 bits, tif has 16."""
    quality: int = 95
    """JPEG quality."""
    refine: int = REFINE
    """Steps of gradient ascent through ISP and reward from the agent's choice, a render each."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> int:
    """Run; returns the exit status."""
    logging.basicConfig(
        format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    # a second thread saves a twelfth of the time; beside another busy process it waits in a spin,
    # and a file takes twenty times as long
    torch.set_num_threads(1)
    set_random_seed(settings.seed)
    settings.out.mkdir(parents=True, exist_ok=True)
    judge = load_model(settings.reward, device=settings.device)
    agent = load_agent(settings.agent, DEFAULT_PIPELINE, settings.device)
    warn_of_another_judge(agent.card, judge.card.sha256)
    pipeline = DEFAULT_PIPELINE.only(agent.card.knobs)
    reward = QualityReward(judge.perceive, agent.card.reward)
    files = [one.path for one in find_inputs(settings.raw)] if settings.raw else sample_files()

    results, failures, pairs = [], [], []
    names = output_names(files)
    for path in track(files, "developing", console=console):
        try:
            photograph = settings.out / f"{names[path]}.{settings.format}"
            result, pair = enhance(path, photograph, pipeline, agent, reward, judge, settings)
        except (IspEnvError, OSError) as error:
            reason = getattr(error, "reason", str(error))
            failures.append({"file": str(path), "reason": reason})
            console.print(f"[red]failed[/red] {path}: {reason}", highlight=False, soft_wrap=True)
            continue
        results.append(result)
        pairs.append(pair)
        write_json(result, photograph.with_suffix(".json"))
    if pairs:
        write_contact_sheet(pairs, settings.out / "contact_sheet.png")
    summary = summarise(results)
    run = {"settings": vars(settings), "version": version("attiqa"), "torch": torch.__version__}
    report = run | {"summary": summary, "results": results, "failures": failures}
    write_json(report, settings.out / "results.json")
    if results:
        print_table(results, summary)
    console.print(f"{len(results)} developed, {len(failures)} failed: {settings.out}")
    return 1 if failures or not results else 0


def enhance(
    path: Path,
    photograph: Path,
    pipeline: IspPipeline,
    agent: Agent,
    reward: QualityReward,
    judge: QualityModel,
    settings: Settings,
) -> tuple[dict[str, Any], Pair]:
    """Develop one file; returns its sidecar and its pair of pictures."""
    raw = read_raw(path)
    found = choose(raw, agent, reward, settings.refine, settings.device)
    theta = torch.from_numpy(found.theta[0])
    values = to_values(pipeline.parameters, theta[None])
    bits = 16 if settings.format == "tif" else 8
    pixels = render_raw(raw, theta, pipeline=pipeline, bits=bits, device=settings.device)
    write_photograph(pixels, photograph, exif=camera_exif(path), quality=settings.quality)
    small = preview(raw, SCORING_SIDE)
    before, after = (render(small, t, pipeline) for t in (torch.zeros_like(theta), theta))
    judged = judge.score([before, after])
    scores, attributes = judged.score.tolist(), judged.attributes.tolist()
    result: dict[str, Any] = {
        "format": FORMAT,
        "source": str(path),
        "photograph": photograph.name,
        "camera": f"{raw.make} {raw.model}".strip(),
        "simulated": raw.simulated,
        "fallbacks": list(raw.fallbacks),
        "parameters": {
            p.name: {"value": round(values[p.name].item(), 4), "unit": p.unit}
            for p in pipeline.parameters
        },
        "renders": int(found.renders[0]),
        "score": {"before": scores[0], "after": scores[1]},
        "attributes": {
            name: {"before": attributes[0][i], "after": attributes[1][i]}
            for i, name in enumerate(ATTRIBUTES)
        },
    }
    if (truth_path := truth_of(path)) is not None:
        truth = load_picture(truth_path)
        truth = resize(LinearImage(truth, torch.zeros(3, 2)), SCORING_SIDE).rgb
        result["fidelity"] = {
            "before": fidelity(before, truth),
            "after": fidelity(after, truth),
        }
    captions = (f"neutral {scores[0]:.3f}", f"enhanced {scores[1]:.3f}")
    return result, Pair(before.cpu(), after.cpu(), path.stem, captions)


def render(linear: LinearImage, theta: torch.Tensor, pipeline: IspPipeline) -> torch.Tensor:
    """(3, H, W) encoded sRGB."""
    with torch.inference_mode():
        return pipeline(linear.rgb[None], theta[None], linear.noise[None])[0]


def output_names(files: list[Path]) -> dict[Path, str]:
    """Names without suffix: the stem, or more of the name where stems are equal."""
    stems = Counter([path.stem for path in files] + ["results"])  # results.json is the run's own
    names = {path: path.stem if stems[path.stem] == 1 else path.name for path in files}
    parts = 1
    while len(set(names.values())) < len(names):
        parts += 1
        names = {path: "_".join(path.resolve().parts[-parts:]).lstrip("/_") for path in files}
    return names


def load_picture(path: Path) -> torch.Tensor:
    """(3, H, W) in [0, 1] of an 8-bit picture."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the files, before and after."""
    with_truth = [r["fidelity"] for r in results if "fidelity" in r]

    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    summary: dict[str, Any] = {
        "score": {when: mean([r["score"][when] for r in results]) for when in ("before", "after")}
    }
    for metric in ("psnr", "ssim", "ciede2000"):
        summary[metric] = {
            when: mean([f[when][metric] for f in with_truth]) for when in ("before", "after")
        }
    return summary


def print_table(results: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """One row for each file and one for the means."""
    table = Table("file", "score", "PSNR to truth", "CIEDE2000 to truth", "renders")

    def change(pair: dict[str, float | None], digits: int) -> str:
        if pair["before"] is None or pair["after"] is None:
            return ""
        return f"{pair['before']:.{digits}f} → {pair['after']:.{digits}f}"

    for result in results:
        near = result.get("fidelity")
        fidelities = (
            [change({k: near[k][m] for k in near}, 1) for m in ("psnr", "ciede2000")]
            if near
            else ["", ""]
        )
        score = change(result["score"], 3)
        table.add_row(Path(result["source"]).name, score, *fidelities, str(result["renders"]))
    table.add_section()
    means = [
        change(summary["score"], 3),
        change(summary["psnr"], 1),
        change(summary["ciede2000"], 1),
    ]
    table.add_row("mean", *means, "")
    console.print(table)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Settings)))
