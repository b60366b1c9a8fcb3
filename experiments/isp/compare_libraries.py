"""Compare the ISP's own functions with libraries': how far apart, how fast beside each other.

    python experiments/isp/compare_libraries.py

Kornia's functions; imagecodecs' decoder of lossless JPEG; torch.compile beside the fused loops.
Writes docs/figures/libraries.json, of which `experiments/upkeep/document.py` makes a table in
docs/isp.md. Three minutes of one CPU core, most of them torch.compile's.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import imagecodecs
import kornia
import numpy as np
import torch
from rich import print_json
from skimage.data import chelsea
from torch import Tensor

from attiqa.provenance.versions import versions
from experiments.settings import parsed
from isp_env.color.rgb import luminance, srgb_decode, srgb_encode
from isp_env.dng import lossless_jpeg
from isp_env.files import atomic_path
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused.compiled_pipeline import compiled
from isp_env.isp.guide import Guide, box_mean, gaussian_blur, window
from isp_env.isp.stages import local_contrast, sharpen
from isp_env.isp.stages.color import scale_chroma

SHAPES = MappingProxyType({"8 previews": (8, 112, 112), "guide of 24 MP": (1, 400, 600)})
WINDOW = 9
GAIN = 0.5  # of chroma, of saturation


@dataclass(frozen=True)
class Settings:
    """Compare with libraries."""

    out: Path = Path(__file__).parents[2] / "docs" / "figures" / "libraries.json"
    """JSON file."""
    rounds: int = 20
    """Alternating calls of each."""
    threads: int = 1
    """Of PyTorch."""


def _guided(images: Tensor) -> Tensor:
    """Return the local contrast's surroundings: luma filtered by itself."""
    planes, long_side = images.unbind(1), float(max(images.shape[-2:]))
    guide = Guide(planes, torch.zeros_like(images), long_side, 1)
    maps = local_contrast.measure(guide, images.new_zeros(len(images), 3, 2), {})
    return (maps["local slope"] * luminance(planes) + maps["local offset"])[:, None]


def _kornia_guided(images: Tensor) -> Tensor:
    luma = luminance(images.unbind(1))[:, None]
    side = window(local_contrast.RADIUS * max(images.shape[-2:]))
    return kornia.filters.guided_blur(luma, luma, side, local_contrast.EDGE**2)


def _kornia_blur(images: Tensor) -> Tensor:
    sigma = sharpen.SIGMA * images.shape[-1]
    side = 2 * int(3 * sigma + 0.5) + 1
    return kornia.filters.gaussian_blur2d(images[:, :1], side, (sigma, sigma))


def _saturated(images: Tensor) -> Tensor:
    gain = torch.full((len(images), 1, 1), GAIN)
    linear = scale_chroma(srgb_decode(images).unbind(1), gain, torch.zeros_like(gain))
    return srgb_encode(torch.stack(linear, 1)).clamp(0, 1)


PAIRS: Mapping[str, tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = (
    MappingProxyType(
        {
            "color.rgb.srgb_encode": (
                "color.linear_rgb_to_rgb",
                srgb_encode,
                kornia.color.linear_rgb_to_rgb,
            ),
            "color.rgb.srgb_decode": (
                "color.rgb_to_linear_rgb",
                srgb_decode,
                kornia.color.rgb_to_linear_rgb,
            ),
            "color.rgb.luminance": (
                "color.rgb_to_grayscale",
                lambda x: luminance(x.unbind(1), (0.299, 0.587, 0.114))[:, None],
                kornia.color.rgb_to_grayscale,
            ),
            "isp.guide.gaussian_blur": (
                "filters.gaussian_blur2d",
                lambda x: gaussian_blur(x[:, :1], sharpen.SIGMA * x.shape[-1]),
                _kornia_blur,
            ),
            "isp.guide.box_mean": (
                "filters.box_blur",
                lambda x: box_mean(x, WINDOW),
                lambda x: kornia.filters.box_blur(x, WINDOW, "replicate", separable=True),
            ),
            "isp.stages.local_contrast": ("filters.guided_blur", _guided, _kornia_guided),
            "isp.stages.color.scale_chroma": (
                "enhance.adjust_saturation",
                _saturated,
                lambda x: kornia.enhance.adjust_saturation(x, 1 + GAIN),
            ),
        }
    )
)
"""Ours -> (Kornia's name, ours, Kornia's), both of encoded RGB (B, 3, H, W)."""


def main(settings: Settings) -> None:
    """Measure, write, show."""
    torch.set_num_threads(settings.threads)
    picture = torch.from_numpy(chelsea()).permute(2, 0, 1)[None].float() / 255
    rows = {}
    for name, (theirs, own, other) in PAIRS.items():
        ratios, differences = {}, []
        for shape, (count, height, width) in SHAPES.items():
            small = torch.nn.functional.interpolate(picture, (height, width), mode="bilinear")
            images = small.repeat(count, 1, 1, 1)
            seconds = _seconds(own, other, images, settings.rounds)
            ratios[shape] = seconds[0] / seconds[1]
            differences.append((own(images) - other(images)).abs().max().item())
        rows[name] = {
            "kornia": theirs,
            "largest difference": max(differences),
            "time over Kornia's": ratios,
        }
    rows["isp.stages.color.scale_chroma"]["change of L*, hue"] = [
        _shift(picture, change(picture))
        for change in (_saturated, PAIRS["isp.stages.color.scale_chroma"][2])
    ]
    results = {
        "kornia": rows,
        "imagecodecs.ljpeg_decode": compare_jpeg(settings.rounds),
        "torch.compile": compare_compiler(settings.rounds),
        "settings": asdict(settings),
        "versions": versions() | {"imagecodecs": version("imagecodecs")},
    }
    text = json.dumps(results, indent=1, default=str) + "\n"
    with atomic_path(settings.out) as temporary:
        temporary.write_text(text)
    print_json(text)


def compare_jpeg(rounds: int) -> dict[str, float]:
    """Decode a mosaic of six megapixels."""
    random = np.random.default_rng(0)
    smooth = np.cumsum(random.normal(0, 3, (2048, 3072)), 1) % 3000 + 500
    mosaic = (smooth + random.normal(0, 20, smooth.shape)).clip(0, 16383).astype(np.uint16)
    content = lossless_jpeg.encode_mosaic(mosaic, 14)
    segment, decoded = np.frombuffer(content, np.uint8), np.empty((2048, 1536, 2), np.uint16)
    seconds = _seconds(
        lambda _: lossless_jpeg.decode(segment, decoded),
        lambda _: imagecodecs.ljpeg_decode(content),
        None,
        rounds,
    )
    different = np.any(decoded.ravel() != np.asarray(imagecodecs.ljpeg_decode(content)).ravel())
    return {
        "different samples": float(different),
        "time over imagecodecs'": seconds[0] / seconds[1],
    }


@torch.no_grad()
def compare_compiler(rounds: int) -> dict[str, float]:
    """Render eight previews with all knobs off neutral."""
    random = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 112, 112, generator=random)
    theta = torch.rand(8, len(DEFAULT_PIPELINE.parameters), generator=random) - 0.5
    noise = torch.full((8, 3, 2), 1e-5)
    ours, theirs = compiled(DEFAULT_PIPELINE), torch.compile(DEFAULT_PIPELINE.__call__)
    found = {}
    for name, function in {"ours": ours, "torch.compile": theirs}.items():
        start = time.perf_counter()
        picture = function(images, theta, noise)
        found[f"first call of {name}, s"] = time.perf_counter() - start
        eager = DEFAULT_PIPELINE(images, theta, noise)
        found[f"largest difference of {name} from eager"] = (picture - eager).abs().max().item()
    for name, function in {"torch.compile": theirs, "eager": DEFAULT_PIPELINE}.items():
        seconds = _seconds(
            lambda x: ours(x, theta, noise),
            lambda x, f=function: f(x, theta, noise),
            images,
            rounds,
            torch.no_grad(),  # torch.compile fails in inference mode
        )
        found[f"time over that of {name}"] = seconds[0] / seconds[1]
    return found


def _seconds(
    own: Callable[[Any], Any],
    other: Callable[[Any], Any],
    given: Any,
    rounds: int,
    mode: AbstractContextManager | None = None,
) -> list[float]:
    """Return the median times of two functions called in turn."""
    found = []
    for _ in range(rounds + 1):
        times = [time.perf_counter()]
        for function in (own, other):
            with mode or torch.inference_mode():
                function(given)
            times.append(time.perf_counter())
        found.append(np.diff(times))
    return np.median(found[1:], axis=0).tolist()


def _shift(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Average the change of L*, and of the hue of CIELAB in degrees where there is chroma."""
    first, second = (kornia.color.rgb_to_lab(x)[0] for x in (before, after))
    turn = torch.atan2(second[2], second[1]) - torch.atan2(first[2], first[1])
    turn = torch.rad2deg(torch.atan2(turn.sin(), turn.cos())).abs()
    vivid = first[1:].square().sum(0).sqrt() > 5
    return (second[0] - first[0]).abs().mean().item(), turn[vivid].mean().item()


if __name__ == "__main__":
    main(parsed(Settings))
