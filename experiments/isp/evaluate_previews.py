"""Does a preview show what the full rendering will look like? And a file of half the size?

    python experiments/isp/evaluate_previews.py --raw PHOTOS

What an agent sees is a rendering of a small scene-linear picture. Here the same random settings are
rendered from the preview and at full resolution, the latter is reduced to the preview's size, and
both are compared in CIEDE2000. So are files of half the size, which are rendered from halved
scene-linear pictures. Writes previews.json.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from skimage.color import deltaE_ciede2000, rgb2lab
from torch.nn.functional import interpolate

from experiments.settings import parsed
from isp_env.color.rgb import srgb_decode, srgb_encode
from isp_env.develop.downsized import preview
from isp_env.develop.linear_image import LinearImage
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.raw import RawImage, read_raw
from isp_env.raw.find import find_inputs
from isp_env.render.frame import OutputSize, render_raw
from isp_env.scenes.samples import SAMPLES, sample_files, simulated_sample

console = Console()


@dataclass(frozen=True)
class Settings:
    """Compare previews with full renderings."""

    raw: list[str] = field(default_factory=list)
    """RAW files or folders; the embedded samples come as well."""
    samples: int = 10
    """So many of the embedded samples."""
    enlarged: int = 1
    """So many times as wide and high, with the same noise in each pixel (Bayer samples alone)."""
    thetas: int = 50
    """Random settings for each file, each knob uniform over its range."""
    side: int = 256
    """Long side of the previews."""
    finer: float = 1.0
    """They are rendered so many times as wide and high, and reduced in linear light."""
    seed: int = 0
    """Of the settings."""
    out: Path = Path("runs/evaluate_previews")
    """Folder for the results."""


def main(settings: Settings) -> None:
    """Measure, print and write."""
    raws: list[tuple[str, Callable[[], RawImage]]] = [
        (one.path.name, partial(read_raw, one.path)) for one in find_inputs(settings.raw)
    ]
    for path in sample_files()[: settings.samples]:
        if settings.enlarged == 1:
            raws.append((path.name, partial(read_raw, path)))
        elif len(SAMPLES[path.stem].camera.cfa) == 2:  # LibRaw demosaics the others
            enlarged = f"{path.stem} x {settings.enlarged}"
            raws.append((enlarged, partial(enlarged_sample, path.stem, settings.enlarged)))
    generator = torch.Generator().manual_seed(settings.seed)
    count = len(DEFAULT_PIPELINE.parameters)
    thetas = 2 * torch.rand(settings.thetas, count, generator=generator) - 1
    found: dict[str, Any] = {}
    for name, read in track(raws, "files", console=console):
        raw = read()
        small = preview(raw, round(settings.finer * settings.side))
        *each, neutral = (
            differences(raw, small, theta, settings.finer)
            for theta in (*thetas, torch.zeros(count))
        )
        of_preview, of_half = np.transpose(each)
        found[name] = {
            "neutral": neutral[0],
            "mean": float(of_preview.mean()),
            "worst": float(of_preview.max()),
            "half size, mean": float(of_half.mean()),
        }
    table = Table("file", "neutral", f"mean of {settings.thetas}", "worst", "half size, mean")
    for name, row in found.items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    console.print(table)
    results = {
        "mean CIEDE2000": found,
        "settings": asdict(settings) | {"raw": [name for name, _ in raws]},
        "versions": {name: version(name) for name in ("attiqa", "torch", "scikit-image")},
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    with atomic_path(settings.out / "previews.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2, default=str) + "\n")


def enlarged_sample(name: str, times: int) -> RawImage:
    """Return an embedded sample as a larger frame."""
    raw, _ = simulated_sample(name, times)
    return raw


@torch.no_grad()
def differences(
    raw: RawImage, small: LinearImage, theta: torch.Tensor, finer: float = 1.0
) -> tuple[float, float]:
    """Compare the preview's rendering and one of half the size with the full rendering."""
    pixels = render_raw(raw, theta)
    full = as_tensor(pixels)
    shown = DEFAULT_PIPELINE(small.rgb[None], theta[None], small.noise[None])[0]
    height, width = (round(side / finer) for side in shown.shape[1:])
    if finer != 1:
        shown = averaged(shown, (height, width), mode="bilinear", antialias=True)
    expected = averaged(full, (height, width), mode="bilinear", antialias=True)
    half = as_tensor(render_raw(raw, theta, size=OutputSize(long_side=max(pixels.shape) // 2)))
    means = averaged(full, (half.shape[1], half.shape[2]), mode="area")
    return difference(shown, expected), difference(half, means)


def averaged(picture: torch.Tensor, size: tuple[int, int], **how: Any) -> torch.Tensor:
    """Reduce to (height, width) in light: that is what an eye at a distance averages."""
    return srgb_encode(interpolate(srgb_decode(picture)[None], size, **how)[0])


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Return finished pixels as encoded RGB in [0, 1], channels first."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def difference(shown: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the mean CIEDE2000 of two pictures, encoded RGB in [0, 1], channels first."""
    labs = [rgb2lab(picture.permute(1, 2, 0).double().numpy()) for picture in (shown, expected)]
    return float(deltaE_ciede2000(*labs).mean())


if __name__ == "__main__":
    main(parsed(Settings))
