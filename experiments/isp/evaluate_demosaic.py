"""How good is the demosaicing? Known photographs, sampled by a simulated sensor and put together.

    python experiments/isp/evaluate_demosaic.py --data PHOTOS

Each photograph is taken to linear light, divided by white-balance gains as a sensor sees daylight,
sampled in the four Bayer phases with 14 bits, and written as DNG. It is put together again by this
project, by LibRaw's AHD from the same file, and by Kornia's bilinear `raw_to_rgb`. PSNR is that of
sRGB-encoded values, without a border of 8 pixels. The 24 photographs of Kodak's PhotoCD sampler are
the usual ones. Writes demosaic.json and demosaic.png.
"""

import json
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import kornia
import matplotlib.pyplot as plt
import numpy as np
import rawpy
import torch
from jaxtyping import Float
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.settings import parsed
from isp_env.color.rgb import srgb_decode, srgb_encode
from isp_env.develop.reference import develop_area
from isp_env.files import atomic_path
from isp_env.raw import RawImage, read_raw
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.simulation import BGGR, GBRG, GRBG, RGGB

PHASES = {"RGGB": RGGB, "GRBG": GRBG, "GBRG": GBRG, "BGGR": BGGR}
# Kornia's names are OpenCV's, which name the second pixel of the second row
KORNIA = {
    "RGGB": kornia.color.CFA.BG,
    "GRBG": kornia.color.CFA.GB,
    "GBRG": kornia.color.CFA.GR,
    "BGGR": kornia.color.CFA.RG,
}
METHODS = ("ours", "LibRaw AHD", "Kornia bilinear")
BLACK, WHITE, BORDER = 512, 16383, 8
REC709_FROM_XYZ = np.linalg.inv(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.072175],
        [0.0193339, 0.119192, 0.9503041],
    ]
)

Picture = Float[np.ndarray, "h w 3"]
console = Console()


@dataclass(frozen=True)
class Settings:
    """Compare demosaicing methods."""

    data: Path
    """Folder of photographs that were not demosaicked themselves, or far reduced since."""
    out: Path = Path("runs/evaluate_demosaic")
    """Folder for the results."""
    neutral: tuple[float, float, float] = (0.513, 1.0, 0.744)
    """Camera RGB of grey: a Nikon D750 in daylight."""
    crop: tuple[str, int, int, int] = ("19.png", 420, 100, 160)
    """Photograph, top, left and side of the figure's detail."""


def main(settings: Settings) -> None:
    """Measure, print and write."""
    settings.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(settings.data.glob("*.png"))
    rows = [measure(path, settings) for path in track(paths, "photographs", console=console)]
    mean = {
        method: {p: float(np.mean([row["psnr"][method][p] for row in rows])) for p in PHASES}
        for method in METHODS
    }
    summary = {method: float(np.mean(list(by_phase.values()))) for method, by_phase in mean.items()}
    results = {
        "settings": {"neutral": settings.neutral, "border": BORDER, "bits": 14},
        "versions": {name: version(name) for name in ("attiqa", "rawpy", "kornia", "torch")},
        "libraw": ".".join(map(str, rawpy.libraw_version)),
        "mean psnr": summary,
        "above": {m: summary["ours"] - summary[m] for m in METHODS[1:]},
        "by phase": mean,
        "photographs": rows,
    }
    with atomic_path(settings.out / "demosaic.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    table = Table("method", *PHASES, "mean PSNR, dB")
    for method, by_phase in mean.items():
        table.add_row(method, *(f"{v:.2f}" for v in by_phase.values()), f"{summary[method]:.2f}")
    console.print(table)
    draw(settings)


def measure(path: Path, settings: Settings) -> dict:
    """PSNR of each method and phase, and how long it took on this photograph, of one path."""
    photo = load(path)
    found: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    for phase in PHASES:
        for method, picture in put_together(photo, phase, settings).items():
            found[method][phase] = psnr(picture, photo)
    return {"name": path.name, "psnr": found}


def put_together(photo: Picture, phase: str, settings: Settings) -> dict[str, Picture]:
    """Return encoded sRGB by each method."""
    raw = sample(photo, phase, settings)
    with tempfile.TemporaryDirectory() as folder:
        write_dng(raw, Path(folder) / "shot.dng")
        read = read_raw(Path(folder) / "shot.dng")
        ours = develop_area(read).permute(1, 2, 0).double().numpy()
        ahd = libraw(Path(folder) / "shot.dng", settings)
    gains = 1 / np.array(settings.neutral)
    assert read.mosaic is not None
    rows, columns = (np.arange(side) % 2 for side in read.mosaic.shape)
    balanced = (read.mosaic - BLACK) / (WHITE - BLACK) * gains[read.cfa][np.ix_(rows, columns)]
    bilinear = kornia.color.raw_to_rgb(torch.from_numpy(balanced)[None, None], KORNIA[phase])
    pictures = (ours, ahd, bilinear[0].permute(1, 2, 0).numpy())
    return {m: encode(p) for m, p in zip(METHODS, pictures, strict=True)}


def sample(photo: Picture, phase: str, settings: Settings) -> RawImage:
    """A sensor of sRGB primaries under a light that makes grey `neutral`, below saturation."""
    linear = srgb_decode(torch.from_numpy(photo)).numpy() * np.array(settings.neutral)
    height, width, _ = photo.shape
    cfa = np.array(PHASES[phase], np.uint8)
    color = cfa[np.ix_(np.arange(height) % 2, np.arange(width) % 2)]
    mosaic = np.take_along_axis(linear, color[..., None].astype(int), 2)[..., 0]
    levels = (BLACK + mosaic * (WHITE - BLACK)).round().astype(np.uint16)
    return RawImage(
        mosaic=levels,
        linear=None,
        cfa=cfa,
        black=np.full((2, 2), BLACK, np.float32),
        black_rows=None,
        black_columns=None,
        white=float(WHITE),
        as_shot_neutral=np.array(settings.neutral),
        xyz_to_camera=REC709_FROM_XYZ,
        camera_to_rec709=np.eye(3),
        noise_profile=None,
        baseline_exposure=0.0,
        gain_maps=(),
        orientation=1,
        iso=100.0,
        exposure_time=None,
        active_area=(0, 0, height, width),
        crop=(0, 0, height, width),
        make="Simulated",
        model="sRGB sensor",
        path=None,
        simulated=True,
        fallbacks=(),
    )


def libraw(path: Path, settings: Settings) -> Picture:
    """Return linear RGB by LibRaw's AHD with the same white balance; camera RGB is sRGB here."""
    red, green, blue = 1 / np.array(settings.neutral)
    with rawpy.imread(str(path)) as file:
        linear = file.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,
            user_wb=[red, green, blue, green],
            output_color=rawpy.ColorSpace.raw,
            highlight_mode=rawpy.HighlightMode.Ignore,  # the largest gain is 1: nothing clips
            adjust_maximum_thr=0,
            no_auto_bright=True,
            gamma=(1, 1),
            output_bps=16,
        )
    return linear / 65535 * max(red, green, blue)


def encode(linear: Picture) -> Picture:
    """Convert linear to encoded sRGB, clipped."""
    return srgb_encode(torch.from_numpy(np.clip(linear, 0, 1))).numpy()


def load(path: Path) -> Picture:
    """Return encoded sRGB of a file, with even sides."""
    with Image.open(path) as image:
        photo = np.asarray(image.convert("RGB"), np.float64) / 255
    return photo[: photo.shape[0] // 2 * 2, : photo.shape[1] // 2 * 2]


def psnr(picture: Picture, photo: Picture) -> float:
    """Return the peak signal to noise ratio in dB, without the border."""
    inside = slice(BORDER, -BORDER)
    return float(-10 * np.log10(np.mean((picture - photo)[inside, inside] ** 2)))


def draw(settings: Settings) -> None:
    """Draw a detail by each method beside the original."""
    name, top, left, side = settings.crop
    if not (settings.data / name).exists():
        return
    photo = load(settings.data / name)
    pictures = {"original": photo} | put_together(photo, "RGGB", settings)
    figure, axes = plt.subplots(1, len(pictures), figsize=(4 * len(pictures), 4.3))
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture[top : top + side, left : left + side], interpolation="nearest")
        if title != "original":
            title += f", {psnr(picture, photo):.1f} dB"
        axis.set_title(title)
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(settings.out / "demosaic.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main(parsed(Settings))
