"""A page to look at what an agent made of photographs: neutral and enhanced under a divider.

One file of HTML that opens without a network or a server; the pictures lie beside it. The view can
be linked, by its fragment: `index.html#sort=gain&order=asc&filter=IMG_12&hide=unchanged`. It knows
`sort` (name, gain, score, before, change, or an attribute or parameter), `order` (asc, desc),
`filter` (words of name, folder and camera), `only=failures`, `hide=unchanged`, `open=parameters`,
`size=large`, and `split` and `strength` (0 to 100).
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np

from attiqa.attributes import ATTRIBUTES
from experiments.html_pages import embedded_json, filled, part
from isp_env.files import atomic_path, shown
from isp_env.isp.parameters import Parameter

SPREADS = "in standard deviations of the training photographs; higher is better"
HELP = {"noisiness": f"{SPREADS}, that is cleaner"}
DIGITS = 5  # of numbers in the page


def write_review_page(data: Mapping[str, Any], path: Path) -> None:
    """Write the page of `page_data`, whole or not at all."""
    parts = {
        "style": part(__name__, "page.css"),
        "script": part(__name__, "page.js"),
        "data": embedded_json(data),
    }
    page = filled(part(__name__, "page.html"), parts)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def page_data(
    results: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, str]],
    previews: Mapping[str, tuple[PurePosixPath, PurePosixPath]],
    knobs: Sequence[Parameter],
) -> dict[str, Any]:
    """Gather the content of the page, for JSON.

    Args:
        results: Photographs as `results.json` has them.
        failures: Each with its "file" and "reason".
        previews: Neutral and enhanced picture of each photograph, relative to the page.
        knobs: Of the ISP; parameters that a photograph does not name are neutral.
    """
    return {
        "attributes": [{"name": name, "help": HELP.get(name, SPREADS)} for name in ATTRIBUTES],
        "knobs": [asdict(knob) for knob in knobs],
        "photos": [_photo(result, previews[result["photograph"]], knobs) for result in results],
        "failures": [
            {"file": shown(failure["file"]), "reason": shown(failure["reason"])}
            for failure in failures
        ],
    }


def relative_url(path: PurePosixPath | str) -> str:
    """Return the address of a file below the page, whatever bytes its name has."""
    return quote(os.fsencode(path), safe="/")


def _photo(
    result: Mapping[str, Any],
    previews: tuple[PurePosixPath, PurePosixPath],
    knobs: Sequence[Parameter],
) -> dict[str, Any]:
    source = Path(result["source"])
    neutral, enhanced = map(relative_url, previews)
    values = {name: knob["value"] for name, knob in result["parameters"].items()}
    size = result["output"]
    attributes = [_change(result.get("attributes", {}).get(name)) for name in ATTRIBUTES]
    return {
        "name": shown(source.name),
        "folder": shown(source.parent),
        "photograph": relative_url(result["photograph"]),
        "neutral": neutral,
        "enhanced": enhanced,
        "size": [size["width"], size["height"]],
        "score": _change(result.get("score")),
        "reason": result.get("reason", "not scored"),
        "attributes": None if None in attributes else attributes,
        "theta": [_theta(knob, values.get(knob.name, knob.neutral)) for knob in knobs],
        "strength": result["strength"],
        "kept": result["kept"],
        "camera": result["camera"],
        "fallbacks": result["fallbacks"],
    }


def _theta(knob: Parameter, value: float) -> float:
    return round(float(knob.to_theta(np.float64(value))), DIGITS)


def _change(pair: Mapping[str, float] | None) -> list[float] | None:
    """Before and after; None where there is a number that is none."""
    if pair is None or not all(math.isfinite(pair[when]) for when in ("before", "after")):
        return None
    return [round(pair["before"], DIGITS), round(pair["after"], DIGITS)]
