"""How a quality model is trained: settings of every stage, and what is ranked in the last."""

from dataclasses import dataclass, field
from pathlib import Path

from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.model.architecture import Architecture
from attiqa.model.quality_model import WEIGHTS
from attiqa.training.finetuning import PairMaker
from attiqa.training.regressor_refit import RefitSettings
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule
from experiments.iqa.isp_distortions import ladders_and_isp, ladders_isp_and_sharpening


@dataclass(frozen=True)
class Settings:
    """Settings of the run; the defaults are those of the embedded model."""

    data: Path
    """Folder of BIQ2021: Images/ and "Train (Images and MOS).csv"."""
    init: Path | None = None
    """ImageNet weights of the backbone (safetensors, no classifier); random without."""
    expert: Architecture = field(
        default_factory=lambda: Architecture(
            "tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 256, 256
        )
    )
    """Another network, whose opinion is learnt in `touch`."""
    expert_init: Path | None = None
    """ImageNet weights of its backbone; random without."""
    out: Path = Path("runs/train_reward")
    """Folder for checkpoints, logs and results.json."""
    weights: Path = WEIGHTS
    """Folder that the model and its card are exported to."""
    name: str = "attiqa-mini"
    """Name of the exported files."""
    cache: Path = Path("runs/cache")
    """Folder for the decoded photographs (2.4 GB)."""
    validation: int = 0
    """Photographs kept for choosing settings."""
    test: int = 300
    """Photographs kept aside from training."""
    split_seed: int = 3
    """Fixes the split."""
    chosen_on: tuple[tuple[int, int], ...] = ((0, 300), (1, 300), (2, 600))
    """Seed and test photographs of the splits that stages and settings were chosen on: of the 3,000
    photographs at hand."""
    architecture: Architecture = field(
        default_factory=lambda: Architecture(
            "mobilenetv2_100", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 256, 256
        )
    )
    """The network."""
    protocol: CropProtocol = field(default_factory=lambda: CropProtocol(short_side=384, crop=320))
    """How whole photographs are scored."""
    pretraining: PretrainSettings = field(
        default_factory=lambda: PretrainSettings(
            Schedule(
                epochs=1,
                backbone_lr=3e-5,
                weight_decay=0.05,
                crops=CropSettings(192, (192, 448)),
            ),
            ladder_weight=1.0,
        )
    )
    """On unlabelled photographs: the training part without its scores."""
    whole: FinetuneSettings = field(
        default_factory=lambda: FinetuneSettings(
            Schedule(
                epochs=5,
                backbone_lr=3e-4,
                weight_decay=0.05,
                ema_decay=0.995,
                crops=CropSettings(224, (224, 288)),
            ),
            dropout=0.3,
            quantile_weight=6.0,
        )
    )
    """On human scores, first of small photographs seen nearly whole."""
    fine: FinetuneSettings = field(
        default_factory=lambda: FinetuneSettings(
            Schedule(
                epochs=2,
                backbone_lr=1.5e-4,
                head_lr=5e-4,
                weight_decay=0.05,
                ema_decay=0.99,
                crops=CropSettings(320, (330, 448)),
            ),
            dropout=0.3,
            quantile_weight=6.0,
        )
    )
    """Then of larger crops, at the scales that a photograph is scored at."""
    expert_whole: FinetuneSettings = field(
        default_factory=lambda: FinetuneSettings(
            Schedule(
                epochs=5,
                backbone_lr=2e-4,
                weight_decay=0.05,
                ema_decay=0.99,
                crops=CropSettings(224, (224, 320)),
            ),
            dropout=0.3,
            quantile_weight=6.0,
        )
    )
    """The expert on human scores alone."""
    touch: FinetuneSettings = field(
        default_factory=lambda: FinetuneSettings(
            Schedule(
                epochs=4,
                backbone_lr=1.5e-4,
                head_lr=5e-4,
                weight_decay=0.05,
                ema_decay=0.98,
                crops=CropSettings(224, (224, 416)),
                seed=3,
            ),
            dropout=0.1,
            quantile_weight=3.0,
            attribute_weight=0.15,
            ladder_weight=0.1,
            ladder_share=0.0625,
            ranked_distortions_weight=0.5,
            distillation_weight=10.0,
        )
    )
    """Then, at all scales, what distortions cost; and, where its `distillation_weight` is not zero,
    the mean opinion of the expert, of itself after `whole` and of itself after `fine`."""
    refit: RefitSettings | None = field(
        default_factory=lambda: RefitSettings(touch_weight=0.1, keep_weight=2.0, noise_weight=1.0)
    )
    """Last, of the regressor alone (`attiqa.training.regressor_refit`): a touch of sharpening is
    better than none, and none than too much; nothing but noise is bad."""
    start: str | None = None
    """A model that has gone through all stages but `refit`, which is then run alone: what
    `load_model` takes."""


@dataclass(frozen=True)
class Recipe:
    """What no command line can say: the pairs that are ranked, and the card's words for it all."""

    pairs: PairMaker
    last_pairs: PairMaker | None  # of `touch`; None leaves it out
    ranked: str
    views: str
    selection: str
    limits: str


REWARD = Recipe(
    ladders_and_isp,
    ladders_isp_and_sharpening,
    ranked="in the last stage, good photographs above distorted ones: half from the ladders of "
    "attiqa.distortions.ladders, half developed wrongly by isp_env's ISP (isp_distortions.py); a "
    "touch of sharpening above none, none above too much",
    views="nearly whole photographs of 224 pixels, then crops of 320 pixels at a short side of 330 "
    "to 448, then crops of 224 pixels at a short side of 224 to 416: for five-crop scores and, "
    "less exactly, for small whole previews",
    selection="the last epoch; stages and settings were chosen on other splits (seeds 0 to 2), "
    "which share photographs with the test part of this one; only of the last stage three settings "
    "were tried here (0.827, 0.827 and 0.828 on the test photographs; before it 0.836)",
    limits="Trained on photographs of 512 pixels only. A first opinion on photographs; no measure "
    "of art, content or faces. Its scores hardly mind colour casts and overexposure by two stops: "
    "of two developments of one photograph, its comparison tells which is better.",
)
