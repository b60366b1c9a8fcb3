"""Write the generated parts of the documentation: tables from results and code, stage pictures.

    python experiments/upkeep/document.py
    python experiments/upkeep/document.py --pictures     # renders docs/figures/stages anew, too

A generated part of a page stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is one
of `PARTS`. Results are the JSON files in docs/figures, as their scripts wrote them.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich import print as show

from experiments.iqa.attack_table import HEAD, attack_rows
from experiments.settings import parsed
from isp_env import (
    DEFAULT_PIPELINE,
    Stage,
    read_raw,
    render_raw,
    sample_files,
    to_theta,
)
from isp_env.files import atomic_path

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = DOCS / "figures"
MARKED = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.S)

PLANES = "accepts planes of any shape, so the same code also compiles to the full-size loop"
WHY_OURS = MappingProxyType(
    {
        "color.rgb.srgb_encode": PLANES,
        "color.rgb.srgb_decode": PLANES,
        "color.rgb.luminance": PLANES,
        "isp.guide.gaussian_blur": "faster on previews, which training renders by the million",
        "isp.guide.box_mean": "running sums: the cost does not grow with the window",
        "isp.stages.local_contrast": "as `box_mean`, and the slope and offset are the maps; "
        "borders differ",
        "isp.stages.color.scale_chroma": "keeps lightness and hue",
    }
)

SIDE, GAP, LINE = 256, 6, 18  # pixels of a stage's pictures, between them, and of a caption
SAMPLES = MappingProxyType(
    {
        "denoise": "rocket_night",
        "white balance": "astronaut_clean",
        "exposure": "chelsea_low",
        "tone": "motorcycle_portrait",
        "color": "motorcycle_white",
        "local contrast": "chelsea_low",
        "sharpen": "motorcycle_white",
    }
)
"""Of each stage, the sample that shows its effect."""
CLOSE = {"denoise": (0.35, 0.4, 0.65, 0.7), "sharpen": (0.3, 0.35, 0.6, 0.65)}
"""Where the effect is one of single pixels: the part that is shown (left, top, right, bottom)."""


@dataclass(frozen=True)
class Settings:
    """Write the generated parts of the documentation."""

    docs: Path = DOCS
    """Folder of the pages."""
    pictures: bool = False
    """Render the pictures of the stages, too."""


def main(settings: Settings) -> None:
    """Write what has changed."""
    for page in sorted(settings.docs.rglob("*.md")):
        before = page.read_text("utf-8")
        after = filled(before)
        if after != before:
            with atomic_path(page) as temporary:
                temporary.write_text(after, "utf-8")
            show(f"{page}: written")
    if settings.pictures:
        folder = settings.docs / "figures" / "stages"
        folder.mkdir(parents=True, exist_ok=True)
        for stage in (s for s in DEFAULT_PIPELINE.stages if s.parameters):
            path = folder / f"{stage.name.replace(' ', '_')}.jpg"
            with atomic_path(path) as temporary:
                picture(stage).save(temporary, quality=85)
            show(f"{path}: written")


def filled(page: str) -> str:
    """Return a page with its generated parts anew.

    Raises:
        KeyError: A part has no maker.
    """
    return MARKED.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], page)


# -- tables --


def parameters() -> str:
    """Return the table of what each coordinate of theta does."""
    rows = [
        [str(i), p.name, p.unit, *(f"{v:.3g}" for v in (p.low, p.neutral, p.high)), p.help]
        for i, p in enumerate(DEFAULT_PIPELINE.parameters)
    ]
    return table(["i", "parameter", "unit", "at -1", "at 0", "at 1", "effect"], rows)


def controllers() -> str:
    """Return the table of what controllers gain over neutral on held-out scenes."""
    results = _results("agents.json")
    columns = {"potential": 2, "PSNR": 2, "SSIM": 3, "-CIEDE2000": 2, "attiqa-referee": 2}
    rows = []
    for name, found in results["controls"].items():
        if name == "neutral":
            continue
        share = found["share of the best search"]["score"]
        values = [_interval(found["change"][column], digits) for column, digits in columns.items()]
        renders = f"{found['mean']['renders']:.0f}"
        rows.append([name, str(found["scenes"]), renders, *values, f"{share:.0%}"])
    heads = ["potential", "PSNR, dB", "SSIM", "CIEDE2000, nearer by", "`attiqa-referee`"]
    return table(["controller", "scenes", "renders", *heads, "share of CMA-ES's gain"], rows)


def against_the_prior(name: str = "agents.json") -> str:
    """Return the table of what reinforcement adds to the prior, the same scenes in pairs."""
    columns = {"-CIEDE2000": 2, "PSNR": 2, "SSIM": 4, "potential": 2, "attiqa-referee": 2}
    rows = [
        [agent, *(_interval(found[column], digits) for column, digits in columns.items())]
        for agent, found in _results(name)["against controls"]["prior"].items()
    ]
    heads = ["CIEDE2000, nearer by", "PSNR, dB", "SSIM", "potential", "`attiqa-referee`"]
    return table(["agent", *heads], rows)


def by_distance() -> str:
    """Return the table of the change of CIEDE2000, by how far neutral was from the truth."""
    controls = _results("agents.json")["controls"]
    bins = [name for name in controls["prior"]["by distance of neutral"] if " to " in name]
    heads = [f"{b} ({controls['prior']['by distance of neutral'][b]['scenes']})" for b in bins]
    rows = []
    for name, found in controls.items():
        if found["scenes"] == controls["prior"]["scenes"] and name != "neutral":
            bands = found["by distance of neutral"]
            changes = [f"{bands[b]['change']:+.1f}, {bands[b]['nearer']:.0%}" for b in bins]
            rows.append([name, *changes, f"{bands['worse by more than 2']:.0%}"])
    return table(["controller", *heads, "worse by more than 2"], rows)


def reproduced() -> str:
    """Return the tables of a small reproduction: ours alone, for the paper has no such column."""
    parts = []
    for item in ("table4", "table6", "table7"):
        found = _results(f"biq2021/{item}.json")
        values = [value for value in found["values"] if value["ours"] is not None]
        columns = list(dict.fromkeys((v["column"], v["metric"]) for v in values))
        rows: dict[str, list[str]] = {}
        for value in values:
            row = rows.setdefault(value["row"], [""] * len(columns))
            span = f" ({value['quartile_1']:.3f} to {value['quartile_3']:.3f})"
            text = f"{value['ours']:.3f}{span}"
            row[columns.index((value["column"], value["metric"]))] = text
        heads = [f"{c}, {m}".removeprefix("biq2021-train, ") for c, m in columns]
        lines = table([found["title"], *heads], [[name, *row] for name, row in rows.items()])
        parts.append(lines)
    return "\n\n".join(parts)


def attacks() -> str:
    """Return the table of what small changes of all pixels do to the score."""
    return table(HEAD, attack_rows(_results("attacks.json")))


def beside_kornia() -> str:
    """Return the table of our functions beside Kornia's."""
    rows = []
    for name, found in _results("libraries.json")["kornia"].items():
        ratios = [f"{ratio:.2g}" for ratio in found["time over Kornia's"].values()]
        difference, why = f"{found['largest difference']:.1g}", WHY_OURS[name]
        if moved := found.get("change of L*, hue"):
            (lightness, hue), (its_lightness, its_hue) = moved
            why += f": L* changes by {lightness:.1f} (Kornia's HSV {its_lightness:.1f}), "
            why += f"the hue by {hue:.1f} degrees ({its_hue:.1f}) in the mean at +50 %"
        rows.append([f"`{name}`", f"`{found['kornia']}`", difference, *ratios, why])
    heads = [
        "largest difference",
        "our time / Kornia's, 8 previews",
        "the same, guide of 24 MP",
    ]
    return table(["`isp_env`", "`kornia`", *heads, "why ours"], rows)


def whole_commands() -> str:
    """Return the table of how long commands take, start included, and the machine."""
    results = _results("commands.json")
    rows = []
    for name, seconds in sorted(results["seconds"].items()):
        ratios = (
            f"{ratio['median']:.2g} x {key.removesuffix(f' over {name}').split(': ')[-1]} "
            f"({ratio['range'][0]:.2g} to {ratio['range'][1]:.2g})"
            for key, ratio in results["ratios"].items()
            if key.endswith(f" over {name}")
        )
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        median = results["median seconds"][name]
        rows.append([f"`{name}`", f"{median:.1f} ({spread})", ", ".join(ratios)])
    machine, settings = results["machine"], results["settings"]
    told = (
        f"{machine['processor']}, {machine['cores']} cores; {settings['workers']} processes; "
        f"medians of {settings['rounds']} rounds and their range\n\n"
    )
    return told + table(["command", "seconds", "as fast as ..."], rows)


PARTS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "parameters": parameters,
        "beside kornia": beside_kornia,
        "controllers": controllers,
        "against the prior": against_the_prior,
        "horizon 5": partial(against_the_prior, "agents_horizon_5.json"),
        "by distance": by_distance,
        "reproduced": reproduced,
        "attacks": attacks,
        "whole commands": whole_commands,
    }
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _results(name: str) -> dict[str, Any]:
    return json.loads((FIGURES / name).read_text("utf-8"))


def _interval(change: Mapping[str, float], digits: int) -> str:
    mean, low, high = (f"{change[key]:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


# -- pictures of the stages --


def picture(stage: Stage) -> Image.Image:
    """Return a row for each parameter of a stage: a sample with it low, neutral and high."""
    path = next(path for path in sample_files() if SAMPLES[stage.name] in path.name)
    raw = read_raw(path)
    rows = []
    for knob in stage.parameters:
        cells = []
        for value in (knob.low, knob.neutral, knob.high):
            theta = to_theta(DEFAULT_PIPELINE.parameters, {knob.name: value})[0]
            image = Image.fromarray(render_raw(raw, theta))
            if stage.name in CLOSE:
                box = np.multiply(CLOSE[stage.name], image.size * 2).round()
                image = image.crop(tuple(box.tolist()))
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            cells.append((image, f"{knob.name} {value:.3g} {knob.unit}"))
        rows.append(cells)
    width, height = (max(i.size[axis] for row in rows for i, _ in row) for axis in (0, 1))
    step = (width + GAP, height + LINE + GAP)
    sheet = Image.new("RGB", (3 * step[0] - GAP, len(rows) * step[1]), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for row, cells in enumerate(rows):
        for column, (image, caption) in enumerate(cells):
            place = (column * step[0], row * step[1])
            sheet.paste(image, place)
            draw.text((place[0] + 2, place[1] + image.height + 1), caption, "black", font)
    return sheet


if __name__ == "__main__":
    main(parsed(Settings))
