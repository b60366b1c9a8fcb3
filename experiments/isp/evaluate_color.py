"""Are the colours right? A ColorChecker, lens shading, and real cameras beside LibRaw's rendering.

    python experiments/isp/evaluate_color.py --chart CHART.dng --cameras A.dng B.dng

The chart is balanced on one of its greys. Its 24 patches are compared with X-Rite's published
values in CIEDE2000: in the neutral rendering; in scene-linear light with the transfer function of
sRGB alone, which is what LibRaw renders; and in LibRaw's rendering, with the same white balance.
The exposure of each is the one that fits best. For files with GainMap opcodes, brightness and
colour of the corners relative to the centre are measured with and without them. Writes color.json,
chart.png and cameras.png.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import rawpy
import torch
from jaxtyping import Float
from matplotlib.patches import Rectangle
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize_scalar
from skimage.color import deltaE_ciede2000, xyz2lab

from experiments.settings import parsed
from isp_env.color.output_spaces import D50_FROM_D65
from isp_env.color.rgb import XYZ_FROM_REC709, srgb_decode, srgb_encode
from isp_env.develop.reference import develop, develop_area
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.raw import RawImage, read_raw
from isp_env.render.frame import OutputSize, render_raw

console = Console()
Picture = Float[np.ndarray, "h w 3"]

# X-Rite, CIELAB of the ColorChecker Classic (before November 2014), D50, 2 degrees
PUBLISHED = np.array(
    [
        *([37.986, 13.555, 14.059], [65.711, 18.130, 17.810], [49.927, -4.880, -21.925]),
        *([43.139, -13.095, 21.905], [55.112, 8.844, -25.399], [70.719, -33.397, -0.199]),
        *([62.661, 36.067, 57.096], [40.020, 10.410, -45.964], [51.124, 48.239, 16.248]),
        *([30.325, 22.976, -21.587], [72.532, -23.709, 57.255], [71.941, 19.363, 67.857]),
        *([28.778, 14.179, -50.297], [55.261, -38.342, 31.370], [42.101, 53.378, 28.190]),
        *([81.733, 4.039, 79.819], [51.935, 49.986, -14.574], [51.038, -28.631, -28.638]),
        *([96.539, -0.425, 1.186], [81.257, -0.638, -0.335], [66.766, -0.734, -0.504]),
        *([50.867, -0.153, -0.270], [35.656, -0.421, -1.231], [20.461, -0.079, -0.973]),
    ]
)
GREYS = slice(18, 24)


@dataclass(frozen=True)
class Settings:
    """Measure colours."""

    chart: Path | None = None
    """RAW file with a ColorChecker Classic."""
    corners: tuple[tuple[float, float], ...] = (
        (0.412, 0.538),
        (0.721, 0.531),
        (0.405, 0.804),
        (0.7255, 0.798),
    )
    """Centres of its patches 1, 6, 19 and 24: x and y as fractions of the picture."""
    patch: float = 0.011
    """Half the side of what is measured of a patch, as a fraction of the picture's width."""
    grey: int = 20
    """Patch that the white balance is taken from: 20, 21 or 22; 20 after a look at all three."""
    cameras: list[Path] = field(default_factory=list)
    """RAW files for the figure, and for the measurement of lens shading."""
    out: Path = Path("runs/evaluate_color")
    """Folder for the results."""


def main(settings: Settings) -> None:
    """Measure, print and write."""
    settings.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "versions": {name: version(name) for name in ("attiqa", "rawpy", "scikit-image")},
        "libraw": ".".join(map(str, rawpy.libraw_version)),
    }
    if settings.chart:
        results["chart"] = measure_chart(settings.chart, settings)
    results["shading"] = {
        path.name: shading for path in settings.cameras if (shading := measure_shading(path))
    }
    with atomic_path(settings.out / "color.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    show(results)
    if settings.cameras:
        draw_cameras(settings)


def measure_chart(path: Path, settings: Settings) -> dict[str, Any]:
    """Return CIEDE2000 of the patches in four renderings, each at its best exposure.

    Also what colour the greys have in the sensor's samples, before any matrix or curve.
    """
    raw = read_raw(path)
    unbalanced = replace(raw, as_shot_neutral=np.ones(3), camera_to_rec709=np.eye(3))
    camera = patches(develop(unbalanced).rgb.permute(1, 2, 0).numpy(), settings)
    neutral = camera[settings.grey - 1] / camera[settings.grey - 1, 1]
    raw = replace(raw, as_shot_neutral=neutral)
    linear = patches(develop(raw).rgb.permute(1, 2, 0).numpy(), settings)
    of_libraw = patches(libraw_linear(path, neutral), settings)

    def neutral_rendering(exposure: float) -> np.ndarray:
        exposed = replace(raw, baseline_exposure=raw.baseline_exposure + exposure)
        theta = torch.zeros(len(DEFAULT_PIPELINE.parameters))
        pixels = render_raw(exposed, theta, bits=16, size=OutputSize(long_side=1000))
        return patches(pixels / 65535, settings)

    def encoded(values: np.ndarray) -> Callable[[float], np.ndarray]:
        return lambda exposure: srgb_encode(
            torch.from_numpy(np.clip(values * 2**exposure, 0, 1))
        ).numpy()

    renderings: dict[str, tuple[Callable[[float], np.ndarray], tuple[float, float]]] = {
        "neutral rendering": (neutral_rendering, (-3, 5)),
        "LibRaw, its gamma": (lambda e: bt709_encode(of_libraw * 2**e), (-3, 5)),
        "ours without tone curve": (encoded(linear), (-3, 5)),
        "LibRaw, sRGB transfer": (encoded(of_libraw), (-3, 5)),
    }
    found: dict[str, Any] = {}
    for name, (render, bounds) in renderings.items():
        best: Any = minimize_scalar(
            lambda exposure, render=render: differences(render(exposure)).mean(),
            bounds=bounds,
            method="bounded",
            options={"xatol": 0.02},
        )
        colors = render(float(best.x))
        errors, lab = differences(colors), to_lab(colors)
        found[name] = {
            "exposure": float(best.x),
            "mean ciede2000": float(errors.mean()),
            "largest": float(errors.max()),
            "chroma of the greys": np.hypot(lab[GREYS, 1], lab[GREYS, 2]).round(2).tolist(),
            "ciede2000": errors.round(2).tolist(),
        }
    draw_chart(read_raw(path), settings)
    balanced = camera[GREYS] / neutral
    return {
        "renderings": found,
        "greys in the balanced samples": {
            "R/G": _rounded(balanced[:, 0] / balanced[:, 1]),
            "B/G": _rounded(balanced[:, 2] / balanced[:, 1]),
        },
    }


def bt709_encode(linear: np.ndarray) -> np.ndarray:
    """Return LibRaw's transfer function where none is asked for: that of ITU-R BT.709."""
    x = linear.clip(0, 1)
    return np.where(x < 0.018, 4.5 * x, 1.099 * x**0.45 - 0.099)


def patches(picture: Picture, settings: Settings) -> Float[np.ndarray, "24 3"]:
    """Return means of the 24 patches."""
    height, width, _ = picture.shape
    first, second, third, fourth = (np.array(corner) for corner in settings.corners)
    found = []
    for row in np.linspace(0, 1, 4):
        for column in np.linspace(0, 1, 6):
            above = first + column * (second - first)
            below = third + column * (fourth - third)
            x, y = (above + row * (below - above)) * (width, height)
            r = settings.patch * width
            part = picture[round(y - r) : round(y + r), round(x - r) : round(x + r)]
            found.append(part.reshape(-1, 3).mean(0))
    return np.array(found)


def libraw_linear(path: Path, neutral: Float[np.ndarray, "3"]) -> Picture:
    """Return LibRaw's linear sRGB with this white balance."""
    red, green, blue = 1 / neutral
    with rawpy.imread(str(path)) as file:
        pixels = file.postprocess(
            user_wb=[red, green, blue, green],
            no_auto_bright=True,
            adjust_maximum_thr=0,
            gamma=(1, 1),
            output_bps=16,
        )
    return pixels / 65535


def to_lab(encoded: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Return CIELAB of D50 of encoded sRGB, adapted from D65 by Bradford."""
    linear = srgb_decode(torch.from_numpy(np.asarray(encoded, np.float64))).numpy()
    xyz = linear @ (D50_FROM_D65 @ XYZ_FROM_REC709).T
    return xyz2lab(xyz[None], illuminant="D50")[0]


def differences(encoded: Float[np.ndarray, "24 3"]) -> Float[np.ndarray, " 24"]:
    """Return CIEDE2000 to the published values."""
    return deltaE_ciede2000(to_lab(encoded), PUBLISHED)


def measure_shading(path: Path) -> dict[str, Any] | None:
    """Corners relative to the centre, with and without the file's gain maps; None without any."""
    raw = read_raw(path)
    if not raw.gain_maps:
        return None
    return {
        name: corners(image)
        for name, image in (("with", raw), ("without", replace(raw, gain_maps=())))
    }


def corners(raw: RawImage) -> dict[str, list[float]]:
    """Luminance, R/G and B/G of the four corners (8 % of the sides) relative to the centre's."""
    rgb = develop_area(raw, half=True)
    height, width = rgb.shape[1:]
    h, w = round(0.08 * height), round(0.08 * width)
    boxes = [
        rgb[:, y, x] for y in (slice(0, h), slice(-h, None)) for x in (slice(0, w), slice(-w, None))
    ]
    middle = rgb[:, height // 2 - h : height // 2 + h, width // 2 - w : width // 2 + w]
    found = np.array([box.flatten(1).median(1).values.numpy() for box in boxes])
    centre = middle.flatten(1).median(1).values.numpy()
    return {
        "green": _rounded(found[:, 1] / centre[1]),
        "R/G": _rounded(found[:, 0] / found[:, 1] / (centre[0] / centre[1])),
        "B/G": _rounded(found[:, 2] / found[:, 1] / (centre[2] / centre[1])),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    if "chart" in results:
        table = Table("rendering", "mean CIEDE2000", "largest", "chroma of the greys")
        for name, found in results["chart"]["renderings"].items():
            greys = " ".join(f"{c:.1f}" for c in found["chroma of the greys"])
            table.add_row(name, f"{found['mean ciede2000']:.2f}", f"{found['largest']:.1f}", greys)
        console.print(table)
        for ratio, values in results["chart"]["greys in the balanced samples"].items():
            console.print(f"{ratio} of the greys in the samples:", *values)
    if results["shading"]:
        table = Table("file", "gain maps", "green in the corners", "R/G", "B/G")
        for name, both in results["shading"].items():
            for which, found in both.items():
                table.add_row(name, which, *(" ".join(map(str, v)) for v in found.values()))
        console.print(table)


def draw_chart(raw: RawImage, settings: Settings) -> None:
    """Draw the patches that are measured."""
    picture = render_raw(raw, torch.zeros(len(DEFAULT_PIPELINE.parameters)), size=OutputSize(1000))
    height, width, _ = picture.shape
    figure, axis = plt.subplots(figsize=(9, 6))
    axis.imshow(picture)
    first, second, third, fourth = (np.array(corner) for corner in settings.corners)
    for row in np.linspace(0, 1, 4):
        for column in np.linspace(0, 1, 6):
            above, below = first + column * (second - first), third + column * (fourth - third)
            x, y = (above + row * (below - above)) * (width, height)
            r = settings.patch * width
            axis.add_patch(Rectangle((x - r, y - r), 2 * r, 2 * r, fill=False, color="w"))
    axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(settings.out / "chart.png", dpi=90)
    plt.close(figure)


def draw_cameras(settings: Settings) -> None:
    """Draw neutral renderings beside LibRaw's own."""
    figure, axes = plt.subplots(
        2, len(settings.cameras), figsize=(4.2 * len(settings.cameras), 6.4), squeeze=False
    )
    for column, path in enumerate(settings.cameras):
        raw = read_raw(path)
        neutral = torch.zeros(len(DEFAULT_PIPELINE.parameters))
        axes[0, column].imshow(render_raw(raw, neutral, size=OutputSize(long_side=800)))
        with rawpy.imread(str(path)) as file:
            theirs = file.postprocess(use_camera_wb=True, half_size=True)
        axes[1, column].imshow(theirs)
        axes[0, column].set_title(f"{path.stem}\nneutral", fontsize=10)
        axes[1, column].set_title("LibRaw (auto-bright)", fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(settings.out / "cameras.png", dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main(parsed(Settings))
