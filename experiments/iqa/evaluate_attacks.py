"""How far do small changes of all pixels move the score? FGSM, I-FGSM and PGD on photographs.

    python experiments/iqa/evaluate_attacks.py --data BIQ2021

Photographs that the model's card says were kept aside are attacked with its gradient within 2, 4, 8
and 10 levels of 8 bits (`attiqa.evaluation.attacks`), each to raise its score and to lower it, and
the attacked pictures are scored as 8-bit files are. "Against people" raises what people rate below
the median and lowers what they rate above it: the worst for the rank correlation. Writes
attacks.json and attacks.md. What an ISP's own knobs can do to the reward, where no pixel can be
changed by itself, is measured by `experiments/tuning/evaluate_reward_hacking.py`.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from rich import print
from rich.logging import RichHandler
from rich.progress import track
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from attiqa.data.datasets.registry import load_dataset
from attiqa.data.views import resize_short_side
from attiqa.evaluation.attacks import LEVELS, Attack, Score, attacked, fgsm, iterative_fgsm, pgd
from attiqa.evaluation.metrics import srocc
from attiqa.evaluation.protocols import provenance
from attiqa.files import write_atomically
from attiqa.model.inputs import to_tensor
from attiqa.model.quality_model import load_model
from experiments.iqa.attack_table import HEAD, attack_rows
from experiments.iqa.calibrate_uncertainty import chosen
from experiments.settings import parsed, without_paths
from experiments.upkeep.document import table

ATTACKS = {"FGSM": fgsm, "I-FGSM": iterative_fgsm, "PGD": pgd}
DIRECTIONS = {"raised": 1, "lowered": -1}
Picture = Float[torch.Tensor, "1 3 h w"]


@dataclass(frozen=True)
class Settings:
    """Attack photographs."""

    data: Path
    """Folder of the data set."""
    dataset: str = "biq2021-train"
    """Name of its official layout."""
    part: Literal["kept aside", "test", "all"] = "kept aside"
    """Photographs: those that the card says were kept aside, the official test part, or all."""
    count: int = 50
    """So many of them, from the first on."""
    model: str = "embedded"
    """What `load_model` takes."""
    view: Literal["preview", "whole"] = "preview"
    """One small view of the photograph, or the protocol of the model's card."""
    preview: int = 224
    """Short side of the small view, in pixels."""
    levels: tuple[int, ...] = (2, 4, 8, 10)
    """Largest changes of a sample, in levels of 8 bits."""
    seed: int = 0
    """Of the random starts."""
    device: str = "cpu"
    """Where the model runs."""
    out: Path = Path("runs/evaluate_attacks")
    """Folder for attacks.json and attacks.md."""


def main(settings: Settings) -> None:
    """Attack, measure, write."""
    model = load_model(settings.model, settings.device)
    photos = load_dataset(settings.dataset, settings.data, subset=True)
    rows = chosen(photos, model.card, settings.part)[: settings.count]
    seen = model.predict if settings.view == "preview" else model.score_whole

    def score(images: Picture) -> Float[torch.Tensor, " 1"]:
        return seen(images).score

    per_photo = [
        one_photo(score, view(photos.paths[row], settings), settings)
        for row in track(rows, "photographs")
    ]
    results = summary(per_photo, photos.mos[rows], settings) | {
        "model": model.card.name,
        "sha256": model.card.sha256,
        "photographs": [photos.names[row] for row in rows],
        **provenance([photos], without_paths(asdict(settings))),
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / "attacks.json"
    write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())
    text = table(HEAD, attack_rows(results))
    write_atomically(path.with_suffix(".md"), text.encode())
    print(text, f"{path}")


def view(path: Path, settings: Settings) -> Picture:
    """Read a photograph as it is attacked: with whole levels of 8 bits."""
    photo = to_tensor(path)[None].to(settings.device)
    if settings.view == "preview":
        photo = resize_short_side(photo, settings.preview).clamp(0, 1)
    return (photo * LEVELS).round() / LEVELS


def each(settings: Settings) -> Iterator[tuple[str, int, Attack]]:
    """Go through the attacks: name, levels and attack."""
    for name, make in ATTACKS.items():
        for levels in settings.levels:
            yield name, levels, make(levels / LEVELS)


def one_photo(score: Score, photo: Picture, settings: Settings) -> dict[str, Any]:
    """Attack a photograph in every way; measure what has become of it."""
    with torch.no_grad():
        clean = score(photo).item()
    found: dict[str, Any] = {"score": clean, "attacks": []}
    for _, _, attack in each(settings):
        entry = {}
        for name, direction in DIRECTIONS.items():
            changed = attacked(score, photo, attack, direction, settings.seed)
            with torch.no_grad():
                entry[name] = {"score": score(changed).item(), **fidelity(photo, changed)}
        found["attacks"].append(entry)
    return found


def fidelity(photo: Picture, changed: Picture) -> dict[str, float]:
    """Compare an attacked picture with the photograph."""
    first, second = (x[0].movedim(0, -1).cpu().numpy() for x in (photo, changed))
    ssim = structural_similarity(first, second, data_range=1, channel_axis=-1)
    return {
        "psnr": float(peak_signal_noise_ratio(first, second, data_range=1)),
        "ssim": float(cast(Any, ssim)),
    }


def summary(
    per_photo: list[dict[str, Any]], mos: Float[np.ndarray, " n"], settings: Settings
) -> dict[str, Any]:
    """Average over the photographs; correlate what the attacked scores say with people."""
    clean = np.array([found["score"] for found in per_photo])
    below = mos < np.median(mos)
    attacks = []
    for number, (name, levels, attack) in enumerate(each(settings)):
        entry: dict[str, Any] = {"attack": name, "levels": levels, "steps": attack.steps}
        scores = {}
        for direction in DIRECTIONS:
            found = [photo["attacks"][number][direction] for photo in per_photo]
            scores[direction] = np.array([one["score"] for one in found])
            entry[direction] = {
                "change": float((scores[direction] - clean).mean()),
                "psnr": float(np.mean([one["psnr"] for one in found])),
                "ssim": float(np.mean([one["ssim"] for one in found])),
                "srocc": srocc(scores[direction], mos),
                "srocc with the clean scores": srocc(scores[direction], clean),
                "scores": scores[direction].tolist(),
            }
        worst = np.where(below, scores["raised"], scores["lowered"])
        entry["against"] = {"srocc": srocc(worst, mos)}
        attacks.append(entry)
    return {"srocc": srocc(clean, mos), "scores": clean.tolist(), "attacks": attacks}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    main(parsed(Settings))
