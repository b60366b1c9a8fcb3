"""Can the score be fooled? A model on ladders of distortions of clean photographs.

    python experiments/iqa/evaluate_ladders.py PHOTOS

For each ladder: does the head of the attribute that it moves follow it, and does every step away
from the photograph cost score? For each sweep (exposure, saturation, sharpening): is the best level
a moderate one? Writes ladders.json and ladders.png. Photographs that one would not want to change
(such as the 24 of Kodak's PhotoCD sampler) make the answers meaningful.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from jaxtyping import Float
from rich import print
from rich.progress import track
from rich.table import Table

from attiqa.data.photo_folder import content_hash, list_photos
from attiqa.data.views import resize_short_side
from attiqa.distortions.ladders import ATTRIBUTE_LADDERS, LADDERS
from attiqa.evaluation.ladder_response import SWEEPS, attribute_agreement, ladder_responses
from attiqa.files import write_atomically
from attiqa.model.inputs import to_tensor
from attiqa.model.networks import QualityPrediction
from attiqa.model.quality_model import QualityModel, load_model
from experiments.settings import parsed


@dataclass(frozen=True)
class Settings:
    """Settings of the evaluation."""

    photos: tyro.conf.Positional[Path]
    """Folder of clean photographs."""
    model: str = "embedded"
    """What `load_model` takes."""
    view: Literal["whole", "preview"] = "whole"
    """The protocol of the model's card, or one small view of the photograph as an agent sees it."""
    preview: int = 224
    """Short side of that small view, in pixels."""
    device: str = "cpu"
    """Where the model runs."""
    out: Path = Path("runs/evaluate_ladders")
    """Folder for ladders.json and ladders.png."""


def main(settings: Settings) -> None:
    """Measure, print and write."""
    model = load_model(settings.model, settings.device)
    paths = list_photos(settings.photos)
    results = {
        "model": model.card.name,
        "sha256": model.card.sha256,
        "view": asdict(model.card.protocol) if settings.view == "whole" else settings.preview,
        "photos": {"count": len(paths), "sha256": content_hash(paths)},
    } | evaluate(model, paths, settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2) + "\n"
    write_atomically(settings.out / "ladders.json", text.encode())
    draw(results, settings.out / "ladders.png")
    print(table(results))


def evaluate(model: QualityModel, paths: tuple[Path, ...], settings: Settings) -> dict:
    """Measure the means over the photographs, one after the other."""

    def predict(images: Float[torch.Tensor, "b 3 h w"]) -> QualityPrediction:
        parts = [_predict(model, image[None], settings) for image in images]
        score, attributes = zip(*parts, strict=True)
        return QualityPrediction(torch.cat(score), torch.cat(attributes))

    def photos():
        for path in track(paths, "photographs"):
            photo = to_tensor(path).to(settings.device)
            if settings.view == "preview":
                photo = resize_short_side(photo[None], settings.preview)[0].clamp(0, 1)
            yield photo

    heads = attribute_agreement(lambda x: predict(x).attributes, photos())
    ladders = ladder_responses(lambda x: predict(x).score, photos())
    sweeps = ladder_responses(lambda x: predict(x).score, photos(), SWEEPS)
    return {
        "heads": heads,
        "ladders": {name: asdict(response) for name, response in ladders.items()},
        "sweeps": {name: asdict(response) for name, response in sweeps.items()},
    }


@torch.no_grad()
def _predict(
    model: QualityModel, image: Float[torch.Tensor, "1 3 h w"], settings: Settings
) -> QualityPrediction:
    return model.score_whole(image) if settings.view == "whole" else model.predict(image)


def table(results: dict) -> Table:
    """Format the answers."""
    out = Table("ladder", "head, SROCC", "score over distance, SROCC", "best level inside")
    for name, response in results["ladders"].items():
        head = f"{results['heads'][name]:.2f}" if name in results["heads"] else ""
        inside = results["sweeps"].get(name, {}).get("interior_peak")
        share = "" if inside is None else f"{inside:.0%}"
        out.add_row(name, head, f"{response['srocc']:.2f}", share)
    for ladder in ATTRIBUTE_LADDERS.values():
        if ladder not in LADDERS:
            inside = results["sweeps"].get(ladder.name, {}).get("interior_peak")
            share = "" if inside is None else f"{inside:.0%}"
            out.add_row(ladder.name, f"{results['heads'][ladder.name]:.2f}", "", share)
    return out


def draw(results: dict, path: Path) -> None:
    """Draw the mean score over the levels of each ladder and sweep."""
    curves = {ladder.name: (ladder, results["ladders"][ladder.name]) for ladder in LADDERS}
    curves |= {sweep.name: (sweep, results["sweeps"][sweep.name]) for sweep in SWEEPS}
    figure, axes = plt.subplots(2, -(-len(curves) // 2), sharey=True, layout="constrained")
    figure.set_size_inches(15, 5.5)
    for axis, (name, (ladder, response)) in zip(axes.flat, curves.items(), strict=False):
        levels, scores = np.array(ladder.levels), np.array(response["mean_scores"])
        axis.axvline(0, color="0.8", linewidth=1)
        axis.plot(levels, scores, marker="o", markersize=3)
        axis.plot(levels[scores.argmax()], scores.max(), "r*", markersize=10)
        axis.set(title=name, xlabel=ladder.unit)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("mean score")
    count = results["photos"]["count"]
    figure.suptitle(f"{results['model']} on distortions of {count} clean photographs")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(parsed(Settings))
