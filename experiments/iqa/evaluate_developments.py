"""How often a model orders two developments of one shot as their distance to the truth does.

    python experiments/iqa/evaluate_developments.py --photos PHOTOS --model embedded

The model sees each development beside a prior's of the same shot, or beside the neutral rendering
(`--prior none`).

Clean photographs that no training saw at 128 pixels, each shot once by a random camera with a
random mishap; six developments of each shot: neutral, and five with theta drawn from N(0, 0.25).
Of two developments the one with the smaller mean CIEDE2000 to the photograph is the better.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from rich import print_json
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from agents.policies import Agent, load_prior
from agents.policies.looks import choices
from attiqa.model.quality_model import load_model
from experiments.iqa.developments import Prior
from experiments.settings import parsed
from isp_env.color.difference import cie94
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.random_shots import ShotSettings, random_shots
from isp_env.scenes.truths import part_of, photographs_in, random_crops, random_size, read_truths

Judge = Callable[[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]], Float[Tensor, " b"]]
"""(developments, reference of their shots) -> higher is better."""

DEVELOPMENTS = 6
SPREAD = 0.25
GAPS = (2.0, 5.0)


@dataclass(frozen=True)
class Settings:
    """Ask a model about pairs of developments."""

    photos: Path
    """Folder of clean photographs; those held out are used."""
    prior: str = "prior"
    """Whose developments are the reference: "prior", the embedded one, the path of a card, or
    "none" for neutral renderings."""
    model: str = "embedded"
    """What `attiqa.model.quality_model.load_model` takes."""
    count: int = 240
    """Photographs, at most."""
    long_side: int = 128
    """Pixels of the developments."""
    seed: int = 7
    """Of cameras, mishaps and developments."""
    out: Path | None = None
    """JSON file for the result."""


def main(settings: Settings) -> None:
    """Measure and report."""
    logging.basicConfig(level="INFO", format="%(message)s")
    paths = [p for p in photographs_in(settings.photos) if part_of(p.name) == "held out"]
    photos = read_truths(paths[: settings.count], 2 * settings.long_side)
    model = load_model(settings.model)
    agent = load_prior(settings.prior)
    prior = None if agent is None else answering(agent)
    result: dict[str, Any] = {
        "model": f"{model.card.name} {model.card.sha256[:16]}"
    } | pair_accuracy(model.nearness, photos, settings.seed, settings.long_side, prior)
    if prior is not None:
        alone = pair_accuracy(nearness_to_reference, photos, settings.seed, prior=prior)
        result["by colour difference to the prior's development alone"] = alone
    if settings.out:
        settings.out.write_text(json.dumps(result, indent=1) + "\n")
    print_json(json.dumps(result))


@torch.inference_mode()
def pair_accuracy(
    judge: Judge,
    photos: list[UInt8[np.ndarray, "_ _ 3"]],
    seed: int = 7,
    long_side: int = 128,
    prior: Prior | None = None,
) -> dict[str, float]:
    """Return the share of pairs that a judge orders rightly, by how far they are apart.

    Args:
        judge: Higher is better.
        photos: Clean ones, 8-bit sRGB.
        seed: Shot i depends on (seed, i) alone.
        long_side: Pixels of the developments.
        prior: Whose development is the reference; the neutral rendering if not given.
    """
    right: dict[float, list[np.ndarray]] = {gap: [] for gap in GAPS}
    for number, photo in enumerate(photos):
        images, truth, reference = developments(photo, seed, number, long_side, prior)
        said = judge(images, reference[None].expand_as(images)).numpy()
        labs = [rgb2lab(x.permute(0, 2, 3, 1).numpy()) for x in (images, truth[None])]
        distance = deltaE_ciede2000(labs[1], labs[0]).mean((1, 2))
        first, second = np.triu_indices(len(images), 1)
        gaps = distance[first] - distance[second]
        better = said[first] - said[second]
        correct = better * gaps < 0  # equals and what is no number are not right
        for gap, found in right.items():
            found.append(correct[np.abs(gaps) > gap])
    return {
        key: value
        for gap, found in right.items()
        for key, value in (
            (f"right where they differ by more than {gap:g}", float(np.concatenate(found).mean())),
            (f"pairs that differ by more than {gap:g}", float(len(np.concatenate(found)))),
        )
    }


def developments(
    photo: UInt8[np.ndarray, "_ _ 3"],
    seed: int,
    number: int,
    long_side: int,
    prior: Prior | None = None,
) -> tuple[Float[Tensor, "k 3 h w"], Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]]:
    """Make the developments of one shot, the neutral one first, the truth, and the reference."""
    random = np.random.default_rng((seed, number))
    truth = random_crops([photo], random_size(random, long_side), random)
    numbers = torch.Generator().manual_seed(int(random.integers(2**62)))
    shot = random_shots(truth, numbers, ShotSettings(fine_share=0.0))
    theta = SPREAD * torch.randn(DEVELOPMENTS, len(DEFAULT_PIPELINE.parameters), generator=numbers)
    theta[0] = 0
    linear, noise = (x.expand(DEVELOPMENTS, *x.shape[1:]) for x in (shot.linear, shot.noise))
    images = DEFAULT_PIPELINE(linear, theta.clamp(-1, 1), noise)
    if prior is None:
        return images, truth[0], images[0]
    return images, truth[0], DEFAULT_PIPELINE(shot.linear, prior(shot), shot.noise)[0]


def answering(agent: Agent) -> Prior:
    """Return the theta of a supervised policy for shots."""
    return lambda shots: choices(agent, DEFAULT_PIPELINE, shots)


def nearness_to_reference(
    images: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, " b"]:
    """Return the negative colour difference (CIE94) to the reference."""
    return -cie94(images, reference).mean((1, 2))


if __name__ == "__main__":
    main(parsed(Settings))
