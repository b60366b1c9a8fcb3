r"""Teach a quality model to compare developments of one shot: the last stage of `attiqa-mini`.

    python experiments/iqa/learn_developments.py --start MODEL \
        --truths.photos PHOTOS --truths.biq2021 BIQ2021

The model goes on scoring photographs as it did. Truths are those of `tuning/train_prior.py`: a
fifth of them is held out, a fifth is for referees. Half an hour of one CPU core; a run that
was interrupted goes on. The referee compares with neutral renderings, and knows no prior:

    python experiments/iqa/learn_developments.py --start attiqa-referee --name attiqa-referee \
        --part referee --prior none --truths.photos PHOTOS --truths.biq2021 BIQ2021
"""

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from rich import print, print_json
from rich.logging import RichHandler

from agents.policies import load_prior
from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.photo_folder import cache_photos
from attiqa.data.rated_photos import random_split
from attiqa.evaluation.metrics import correlations
from attiqa.evaluation.predictions import quality_scores
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import QualityNet
from attiqa.model.quality_model import WEIGHTS, load_model
from attiqa.provenance.versions import versions
from attiqa.training.learn_developments import (
    DevelopmentLesson,
    Predict,
    learn_developments,
    with_development_head,
)
from experiments.iqa.developments import (
    DevelopmentSettings,
    Prior,
    simulated_developments,
)
from experiments.iqa.evaluate_developments import answering, pair_accuracy
from experiments.settings import parsed, without_paths
from experiments.simulated_scenes import TruthSettings
from isp_env.scenes.random_shots import ShotSettings
from isp_env.scenes.truths import Part, read_truths

COMPARES = "It compares developments of one shot"
LIMITS = (
    COMPARES + " in previews of some 128 pixels, beside {}, and has learned that from simulated "
    "shots alone."
)


@dataclass(frozen=True)
class Settings:
    """Settings of the run; the defaults are those of the embedded model."""

    truths: TruthSettings
    """Photographs that are shot; of BIQ2021, what is said of the photographs is kept."""
    prior: str = "prior"
    """Whose developments the model sees others beside: "prior", the embedded one, the path of a
    card, or "none" for neutral renderings."""
    start: str = "embedded"
    """The model that is taught: what `load_model` takes."""
    part: Part = "training"
    """Which of the truths: "referee" for a referee."""
    out: Path = Path("runs/learn_developments")
    """Checkpoint, history and results."""
    weights: Path = WEIGHTS
    """Folder that the model and its card are exported to."""
    name: str = "attiqa-mini"
    """Name of the exported files."""
    cache: Path = Path("runs/cache")
    """Folder for the decoded photographs (2.4 GB)."""
    lesson: DevelopmentLesson = field(default_factory=DevelopmentLesson)
    """Length and speed."""
    developments: DevelopmentSettings = field(default_factory=DevelopmentSettings)
    """What is compared."""
    shots: ShotSettings = field(default_factory=lambda: ShotSettings(fine_share=0.15))
    """Cameras and mishaps."""
    watched: int = 80
    """Held-out shots that are looked at while training."""
    threads: int = 0
    """Of torch; 0 leaves its own choice."""


def main(settings: Settings) -> None:
    """Teach, measure, export."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    if settings.threads:
        torch.set_num_threads(settings.threads)
    start = load_model(settings.start)
    lesson = settings.lesson
    net = with_development_head(start.net, lesson.features, lesson.seed)
    if settings.truths.biq2021 is None:
        raise ValueError("truths.biq2021: needed for what is not to be forgotten")
    rated = read_biq2021(settings.truths.biq2021, subset=True)
    own, (seed, test) = start.card.settings, settings.truths.mos_test
    seed, test = own.get("split_seed", seed), own.get("test", test)  # what it was not trained on
    split = random_split(len(rated.paths), 0, min(test, len(rated.paths) // 2), seed)
    pixels = cache_photos(rated.paths, 512, settings.cache)
    long_side = settings.developments.long_side
    photos = read_truths(settings.truths.paths(settings.part), 2 * long_side)
    held_out = read_truths(settings.truths.paths("held out"), 2 * long_side)

    agent = load_prior(settings.prior)
    prior = None if agent is None else answering(agent)

    def source(number: int, predict: Predict) -> tuple[torch.Tensor, torch.Tensor]:
        return simulated_developments(
            photos, settings.shots, settings.developments, lesson.seed, number, predict, prior
        )

    def watch(net: QualityNet) -> dict[str, float]:
        return accuracy(net, held_out[: settings.watched], prior)

    kept = [pixels[row] for row in split.train]
    history = learn_developments(net, source, kept, lesson, settings.out, watch)
    tested = [pixels[row] for row in split.test]
    scores = quality_scores(net, tested, start.card.protocol)
    metrics = {
        "developments of held-out photographs": accuracy(net, held_out, prior),
        f"test, {len(tested)} photographs": {
            "five crops": correlations(scores, rated.mos[split.test])
        },
    }
    begun = f"{start.card.name} {start.card.sha256[:16]}"
    card = replace(
        start.card,
        name=settings.name,
        architecture=net.architecture,
        training=dict(start.card.training)
        | {
            "developments": f"shots of {len(photos)} clean photographs, among them the best of "
            "BIQ2021's training part; others are held out or left to others by name "
            f"(isp_env.scenes.truths.part_of, {settings.part}); started from {begun}"
        },
        settings=dict(start.card.settings)
        | {"developments": without_paths(asdict(settings)) | {"start": begun}},
        metrics=dict(start.card.metrics) | metrics,
        versions=versions(),
        limits=limits(start.card.limits, agent is not None),
    )
    path = save_checkpoint(settings.weights, net, card, torch.float16)
    results = asdict(card) | {"history": history}
    (settings.out / "results.json").write_text(json.dumps(results, indent=1, default=str) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print_json(json.dumps(metrics))


def limits(before: str, beside_prior: bool) -> str:
    """Return the metrics of a model's card, those of its comparisons included."""
    reference = "a prior's development of it" if beside_prior else "its neutral rendering"
    return " ".join([before.split(COMPARES)[0].strip(), LIMITS.format(reference)]).strip()


def accuracy(net: QualityNet, photos: list, prior: Prior | None) -> dict[str, float]:
    """Ask a network about pairs of developments."""

    def judge(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return -net.development(net.see(images), net.see(reference))

    return pair_accuracy(judge, photos, prior=prior)


if __name__ == "__main__":
    main(parsed(Settings))
