"""Train a quality model that no agent ever climbs: the judge's referee.

Repeats attiqa/model/weights/attiqa-referee (one CPU core, about 45 minutes) from ImageNet weights
that `imagenet_weights.py` fetches:

    python experiments/iqa/train_referee.py --data BIQ2021 --init lite0.safetensors

An agent that learned to please `attiqa-mini` has not pleased this one unless the photographs are
better. What can differ from the judge does: the architecture, the initial weights, the seed,
the scale of the views and most of the ranked pairs. The photographs and their scores are the same,
with the same ones kept aside.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from rich.logging import RichHandler

from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.model.architecture import Architecture
from attiqa.training.regressor_refit import RefitSettings
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule
from experiments.iqa import recipes, train_model
from experiments.iqa.isp_distortions import developed_distorted_and_overdone
from experiments.settings import parsed

SEED = 1
RECIPE = recipes.Recipe(
    developed_distorted_and_overdone,
    None,
    ranked="good photographs above distorted ones: an eighth from the ladders of "
    "attiqa.distortions.ladders, the others developed wrongly by isp_env's ISP "
    "(isp_distortions.py), of these two sevenths distorted besides and four overdone (saturation, "
    "exposure, halos of random amounts: the kinds of edits of the referees' trial)",
    views="nearly whole photographs of 128 pixels, then of 160: previews as an agent's reward sees",
    selection="the last epoch; its pairs are the best of three choices by the referees' trial on "
    "100 training scenes, made with a smaller network from random weights",
    limits="A referee for small renderings that were optimised against another model. Both models "
    "began with ImageNet and learned from the same photographs and scores: what those lack, both "
    "lack. Never train or choose anything by this model, or it is a referee no more.",
)


def stage(epochs: int, side: int, rate: float) -> Schedule:
    """Return a schedule on nearly whole photographs of `side` pixels."""
    return Schedule(
        epochs=epochs,
        batch_size=16,
        backbone_lr=rate,
        head_lr=1e-3,
        weight_decay=0.05,
        ema_decay=0.98,
        crops=CropSettings(side, (side, side * 5 // 4)),
        workers=1,
        seed=SEED,
    )


def human_scores(schedule: Schedule) -> FinetuneSettings:
    """Return fine-tuning on MOS, on ladders and on ranked distortions."""
    return FinetuneSettings(
        schedule,
        dropout=0.2,
        rank_weight=0.1,
        ladder_weight=0.03,
        ladder_share=0.0625,
        ranked_distortions_weight=1.0,
        distorted_photos=16,
    )


@dataclass(frozen=True)
class Settings(recipes.Settings):
    """Settings of the run; the defaults are those of the embedded referee."""

    out: Path = Path("runs/train_referee")
    """Folder for checkpoints, logs and results.json."""
    name: str = "attiqa-referee"
    """Name of the exported files."""
    split_seed: int = 0
    """Fixes the split: the judge's."""
    chosen_on: tuple[tuple[int, int], ...] = ((0, 300),)
    """Seed and test photographs of the split that choices were made on: the judge's."""
    architecture: Architecture = field(
        default_factory=lambda: Architecture(
            "tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 128, 128
        )
    )
    """The network."""
    protocol: CropProtocol = field(default_factory=lambda: CropProtocol(short_side=192, crop=160))
    """How whole photographs are scored."""
    pretraining: PretrainSettings = field(
        default_factory=lambda: PretrainSettings(stage(1, 128, 3e-5), ladder_weight=1.0)
    )
    """On unlabelled photographs: the training part without its scores."""
    whole: FinetuneSettings = field(default_factory=lambda: human_scores(stage(5, 128, 3e-4)))
    """On human scores, first of small photographs."""
    fine: FinetuneSettings = field(default_factory=lambda: human_scores(stage(1, 160, 1e-4)))
    """Then of photographs of the previews' size."""
    refit: RefitSettings | None = None
    """It has no last stage."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    train_model.main(parsed(Settings), RECIPE)
