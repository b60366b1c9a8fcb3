"""Train the embedded model, `attiqa-mini`: pretrain, fine-tune on BIQ2021, distil, export.

Repeats attiqa/model/weights/attiqa-mini (one CPU core, about an hour):

    python experiments/iqa/train_model.py --data BIQ2021 \
        --init mobilenetv2_100_imagenet.safetensors --expert-init lite0.safetensors

Both are ImageNet weights; `imagenet_weights.py` says where the second come from. Networks that were
trained in different ways agree with people better in the mean than each alone, and a model that is
to know distortions, too, agrees worse than one that learns from people only. So the network learns
from people alone first, as an expert of another architecture does; then it learns, without
forgetting, the mean of what they say of photographs, together with what distortions cost
(`experiments/iqa/committee.py`).

`train_referee.py` trains the other model of the package by these stages. Comparing developments is
taught last, by `iqa/learn_developments.py`, which starts from what this script exports.

A run that was interrupted continues where its last epoch ended. On a CPU, set
MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000: it is then twice as fast.
"""

import copy
import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from rich import print, print_json
from rich.logging import RichHandler

from attiqa.data.crops import CropSettings
from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.photo_folder import cache_photos
from attiqa.data.rated_photos import Split, random_split
from attiqa.data.views import CropProtocol
from attiqa.model.checkpoints import load_backbone, save_checkpoint
from attiqa.model.networks import Architecture, AttributeNet, QualityNet
from attiqa.model.quality_model import WEIGHTS, load_model
from attiqa.teachers.teacher import AttributeTeacher, MeasuredTeacher
from attiqa.training.finetuning import FinetuneSettings, PairMaker, Scorer, finetune
from attiqa.training.loop import Schedule
from attiqa.training.pretraining import PretrainSettings, pretrain
from experiments.iqa.committee import committee
from experiments.iqa.isp_distortions import ladders_and_isp, ladders_isp_and_sharpening
from experiments.iqa.measures import Pixels, measure, measure_ladders, previews, unchosen
from experiments.iqa.model_card import describe
from experiments.iqa.regressor_refit import RefitSettings, look_at_noise, refit, remember
from experiments.settings import parsed


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
    """Last, of the regressor alone (`regressor_refit.py`): a touch of sharpening is better than
    none, and none than too much; nothing but noise is bad."""
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


def main(settings: Settings, recipe: Recipe = REWARD) -> None:
    """Run the stages, then measure the exported file.

    Raises:
        ValueError: The last stage is to be run alone, and there is none.
    """
    if settings.start and not settings.refit:
        raise ValueError("start: only `refit` would be run, and its settings are None")
    settings.out.mkdir(parents=True, exist_ok=True)
    photos = read_biq2021(settings.data)
    split = random_split(len(photos.paths), settings.validation, settings.test, settings.split_seed)
    pixels = cache_photos(photos.paths, 512, settings.cache)
    training = [pixels[index] for index in split.train]  # views: nothing is copied
    teacher = MeasuredTeacher()

    fabric = Fabric(loggers=TensorBoardLogger(settings.out, name="tensorboard"))
    fabric.launch()
    mos = photos.mos[split.train]
    if settings.start:
        net, history = load_model(settings.start).net.requires_grad_(True), {}
    else:
        net, history = first_stages(fabric, settings, recipe, training, mos, teacher)
    net.cpu().eval()
    if settings.refit:
        history["refit"] = last_stage(settings, settings.refit, net, pixels, split, mos)
    if not settings.start:  # the last stage leaves the attributes as they are
        standardise(net, pixels, split)

    card = describe(settings, recipe, photos, split)
    model = load_model(save_checkpoint(settings.out, net, card, torch.float16))
    kept = {
        "validation": split.validation,
        "test": split.test,
        "kept from every choice": unchosen(len(pixels), split, settings.chosen_on),
    }
    metrics = {
        f"{name}, {len(part)} photographs": measure(model, teacher, photos, pixels, part)
        for name, part in kept.items()
        if len(part)
    }
    good = split.test[photos.mos[split.test] >= np.median(photos.mos)][:40]
    metrics["test, ladders on good previews"] = measure_ladders(model, previews(pixels, good))
    card = replace(card, metrics=metrics)
    path = save_checkpoint(settings.weights, net, card, torch.float16)
    results = asdict(card) | {"history": history}
    text = json.dumps(results, indent=2, default=str) + "\n"
    (settings.out / "results.json").write_text(text)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print_json(json.dumps(metrics))


def first_stages(
    fabric: Fabric,
    settings: Settings,
    recipe: Recipe,
    training: list[UInt8[np.ndarray, "s s 3"]],
    mos: Float[np.ndarray, " n"],
    teacher: AttributeTeacher,
) -> tuple[QualityNet, dict[str, Any]]:
    """Pretrain on the teacher, then fine-tune on small photographs, larger crops and both."""
    history: dict[str, Any] = {}

    def learn(
        name: str,
        net: QualityNet,
        stage: FinetuneSettings,
        pairs: PairMaker,
        scorer: Scorer | None = None,
    ) -> None:
        state = settings.out / f"{name}.ckpt"
        history[name] = finetune(
            fabric, net, training, mos, teacher, stage, state, pairs, scorer=scorer
        )
        net.cpu()

    net = _network(settings.architecture, settings.init, settings.pretraining.schedule.seed)
    history["pretraining"] = pretrain(
        fabric,
        net.attribute_net,
        training,
        teacher,
        settings.pretraining,
        settings.out / "pretraining.ckpt",
    )
    learn("whole", net, settings.whole, recipe.pairs)
    small = copy.deepcopy(net)
    learn("fine", net, settings.fine, recipe.pairs)
    if recipe.last_pairs is None:
        return net, history
    scorer = None
    if settings.touch.distillation_weight:
        stage = settings.expert_whole
        expert = _network(settings.expert, settings.expert_init, stage.schedule.seed)
        learn("expert", expert, stage, recipe.pairs)
        members = (small, copy.deepcopy(net), expert)
        scorer = committee(members, (0.0, 1.0), fabric.device, "the same photographs")
    learn("touch", net, settings.touch, recipe.last_pairs, scorer)
    return net, history


def _network(architecture: Architecture, init: Path | None, seed: int) -> QualityNet:
    """Create a network whose backbone begins with given weights."""
    torch.manual_seed(seed)
    attribute_net = AttributeNet(architecture)
    net = QualityNet(attribute_net).to(memory_format=torch.channels_last)
    if init:
        load_backbone(attribute_net, init)
    return net


def last_stage(
    settings: Settings,
    stage: RefitSettings,
    net: QualityNet,
    pixels: Pixels,
    split: Split,
    mos: Float[np.ndarray, " n"],
) -> list[dict[str, float]]:
    """Refit the regressor of a network in evaluation mode; `mos` is that of the training part."""
    good = split.train[mos >= np.median(mos)]
    protocol = settings.protocol
    identity = hashlib.sha256(repr((protocol, stage, good.tolist())).encode())
    for value in net.attribute_net.state_dict().values():
        identity.update(value.numpy().tobytes())
    photos = [pixels[index] for index in good]
    folder = settings.out / "features" / identity.hexdigest()[:12]  # another network sees anew
    seen = remember(net.attribute_net, photos, good.tolist(), protocol, stage, folder)
    with torch.no_grad():
        every = [net.perceive(previews(pixels, part)).features for part in _parts(split)]
    noise = look_at_noise(net.attribute_net, protocol, stage)
    return [{"loss": loss} for loss in refit(net.regressor, seen, torch.cat(every), noise, stage)]


@torch.no_grad()
def standardise(net: QualityNet, pixels: Pixels, split: Split) -> None:
    """Fix the scale of the attribute scores on previews of the training photographs."""
    raw = [net.attribute_net(previews(pixels, part)) for part in _parts(split)]
    net.standardise(torch.cat(raw))


def _parts(split: Split) -> list[Int[np.ndarray, " _"]]:
    """The training photographs, a few at a time."""
    return np.array_split(split.train, -(-len(split.train) // 50))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    main(parsed(Settings))
