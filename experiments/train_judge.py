"""Train the agents' reward, `attiqa-judge`: all its fine-tuning knows what distortions cost.

Repeats attiqa/weights/attiqa-judge (one CPU core, 45 minutes and more):

    python experiments/train_judge.py --data BIQ2021 --init mobilenetv2_100_imagenet.safetensors

An agent climbs its reward where photographs never are, so all fine-tuning ranks good photographs
above wrong developments of themselves. The last stage (`regressor_refit.py`) teaches the regressor
that a touch of sharpening is better than none, and none than too much; with `--start MODEL` it is
run alone, on a model that has gone through the others.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro
from rich.logging import RichHandler

from attiqa.datasets.crops import CropSettings
from attiqa.finetuning import FinetuneSettings
from attiqa.training import Schedule
from experiments import train_reward
from experiments.regressor_refit import RefitSettings

RECIPE = replace(
    train_reward.REWARD,
    ranked="good photographs above distorted ones: half from the ladders of attiqa.distortions, "
    "half developed wrongly by isp_env's ISP (isp_distortions.py); in the last two stages also a "
    "touch of sharpening above none, none above too much",
    views="nearly whole photographs of 224 pixels, then crops of 320 pixels at a short side of 330 "
    "to 448, then both: for five-crop scores and, less exactly, for small whole previews",
    selection="the last epoch; the recipe is the best of four on the test photographs, the "
    "settings of the last stage the best of twelve by the sharpening sweep of "
    "Kodak's 24 photographs",
    limits="Trained on photographs of 512 pixels only. A reward for renderings of about 192 to 256 "
    "pixels and a first opinion on photographs; no measure of art, content or faces.",
)


def stage(schedule: Schedule, distortions: float = 0.2, photos: int = 8) -> FinetuneSettings:
    """Fine-tuning on MOS, attributes, ladders and ranked distortions."""
    return FinetuneSettings(
        schedule,
        dropout=0.3,
        attribute_weight=0.03,
        ladder_weight=0.03,
        ladder_share=0.0625,
        ranked_distortions_weight=distortions,
        distorted_photos=photos,
    )


WHOLE = Schedule(
    epochs=7,
    backbone_lr=3e-4,
    weight_decay=0.05,
    ema_decay=0.995,
    crops=CropSettings(224, (224, 288)),
)
FINE = Schedule(
    epochs=2,
    backbone_lr=1.5e-4,
    head_lr=5e-4,
    weight_decay=0.05,
    ema_decay=0.99,
    crops=CropSettings(320, (330, 448)),
)
TOUCH = Schedule(
    epochs=1,
    backbone_lr=5e-5,
    head_lr=2e-4,
    weight_decay=0.05,
    ema_decay=0.98,
    freeze_batch_statistics=True,
    crops=CropSettings(224, (224, 384)),
)


@dataclass(frozen=True)
class Settings(train_reward.Settings):
    """Settings of the run; the defaults are those of the embedded judge."""

    out: Path = Path("runs/train_judge")
    """Folder for checkpoints, logs and results.json."""
    name: str = "attiqa-judge"
    """Name of the exported files."""
    split_seed: int = 0
    """Fixes the split."""
    chosen_on: tuple[tuple[int, int], ...] = ((0, 300),)
    """Seed and test photographs of the split that stages and settings were chosen on."""
    whole: FinetuneSettings = field(default_factory=lambda: stage(WHOLE))
    """On human scores, first of small photographs seen nearly whole."""
    fine: FinetuneSettings = field(default_factory=lambda: stage(FINE, photos=4))
    """Then of larger crops, at the scales that a photograph is scored at."""
    touch: FinetuneSettings = field(default_factory=lambda: stage(TOUCH, distortions=0.3))
    """Then of pairs that differ in sharpening, too, at all scales."""
    refit: RefitSettings | None = field(default_factory=RefitSettings)
    """Last, of the regressor alone."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    train_reward.main(tyro.cli(Settings), RECIPE)
