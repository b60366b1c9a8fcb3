"""Train the embedded model, `attiqa-mini`: pretrain, fine-tune on BIQ2021, distil, export.

Repeats attiqa/model/weights/attiqa-mini (one CPU core, about an hour):

    python experiments/iqa/train_model.py --data BIQ2021 \
        --init mobilenetv2_100_imagenet.safetensors --expert-init lite0.safetensors

Both are ImageNet weights; `imagenet_weights.py` says where the second come from. Networks that were
trained in different ways agree with people better in the mean than each alone, and a model that is
to know distortions, too, agrees worse than one that learns from people only. So the network learns
from people alone first, as an expert of another architecture does; then it learns, without
forgetting, the mean of what they say of photographs, together with what distortions cost
(`attiqa/training/distillation.py`).

`train_referee.py` trains the other model of the package by these stages. Comparing developments is
taught last, by `iqa/learn_developments.py`, which starts from what this script exports.

A run that was interrupted continues where its last epoch ended. On a CPU, set
MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000: it is then twice as fast.
"""

import copy
import hashlib
import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from rich import print, print_json
from rich.logging import RichHandler

from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.photo_folder import cache_photos
from attiqa.data.rated_photos import Split, random_split
from attiqa.distortions.training_pairs import distorted_pairs
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_backbone, save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from attiqa.teachers.teacher import AttributeTeacher, MeasuredTeacher
from attiqa.training.distillation import committee
from attiqa.training.finetuning import PairMaker, Scorer, finetune
from attiqa.training.pretraining import pretrain
from attiqa.training.regressor_refit import RefitSettings, look_at_noise, refit, remember
from attiqa.training.settings import FinetuneSettings
from experiments.iqa.isp_distortions import developed_pairs
from experiments.iqa.measures import Pixels, measure, measure_ladders, previews, unchosen
from experiments.iqa.model_card import describe
from experiments.iqa.recipes import REWARD, Recipe, Settings
from experiments.settings import parsed


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
    makers = (distorted_pairs, developed_pairs)
    seen = remember(net.attribute_net, photos, good.tolist(), protocol, stage, folder, makers)
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
    """Return the training photographs, a few at a time."""
    return np.array_split(split.train, -(-len(split.train) // 50))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    main(parsed(Settings))
