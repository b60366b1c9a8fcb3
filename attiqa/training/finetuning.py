"""Fine-tuning on human opinion scores (ATTIQA section 3.5), and auxiliary losses.

`FinetuneSettings.paper()` is the paper's. As a reward, the model has to keep its attribute scores
alive (`attribute_weight`, `ladder_weight`) and must not be fooled by the knobs of an ISP
(`ranked_distortions_weight`).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from attiqa.data.crops import Photos, RandomCrops
from attiqa.data.preference_pairs import Preferences
from attiqa.distortions.training_pairs import DistortedPairs, attribute_pairs, distorted_pairs
from attiqa.errors import SettingsError
from attiqa.model.lora import add_lora, merge_lora
from attiqa.model.networks import QualityNet
from attiqa.provenance.identity import array_hash, qualified_name, teacher_record
from attiqa.teachers.teacher import AttributeTeacher
from attiqa.training.loop import Batch, Evaluation, gather, labels_of, train
from attiqa.training.losses import (
    attribute_pairs_loss,
    distortion_ranking_loss,
    margin_ranking_loss,
)
from attiqa.training.opinion_terms import UNRATED, opinions
from attiqa.training.preference_losses import preference_loss
from attiqa.training.settings import FinetuneSettings

PairMaker = Callable[[Tensor, Tensor, Sequence[torch.Generator]], DistortedPairs]
"""(images (b, 3, h, w), rows of those to distort (n,), random numbers of each image) -> pairs."""


@dataclass(frozen=True)
class Scorer:
    """A model that has learnt more than the one in training, which is to learn its scores.

    Attributes:
        name: What tells its weights from others, for the state of the run.
        score: Display RGB in [0, 1] (b, 3, h, w) -> scores (b,).
        scale: Lowest and highest possible score of it.
        data: What it was trained on, for the card of the one that learns from it.
    """

    name: str
    score: Callable[[Tensor], Tensor]
    scale: tuple[float, float]
    data: str = "unknown"


def finetune(
    fabric: Fabric,
    net: QualityNet,
    photos: Photos,
    mos: Float[np.ndarray, " n"],
    teacher: AttributeTeacher | None,
    settings: FinetuneSettings,
    state: Path,
    pair_maker: PairMaker = distorted_pairs,
    evaluate: Evaluation | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
    evaluation: Mapping[str, Any] | None = None,
    sets: Int[np.ndarray, " n"] | None = None,
    scorer: Scorer | None = None,
    deviations: Float[np.ndarray, " n"] | None = None,
    preferences: Preferences | None = None,
) -> list[dict[str, float]]:
    """Fit the network to mean opinion scores.

    Under several processes the MOS and its ranking are compared over all of their photographs, the
    auxiliary terms within each process.

    Args:
        fabric: Launched.
        net: Changed in place.
        photos: 8-bit RGB, (h, w, 3) each.
        mos: Their scores, on the scale that the network will predict.
        teacher: Labels the attributes; needed where `attribute_weight` is not zero.
        settings: Of the run.
        state: File to resume from; one of other photographs, scores, weights, teacher or pairs is
            refused.
        pair_maker: Makes the ranked distortions; by default from the ladders.
        evaluate: Its results join the history of each epoch, so that the last epoch, the best one
            on a validation split and the best one on the test split can be told apart.
        scale: Lowest and highest possible score; training maps it to [0, 1], where the weights and
            margins of the settings are at home.
        evaluation: What the results of `evaluate` depend on, ready for JSON: a state with results
            of another evaluation is refused, too.
        sets: Number of the data set of each photograph; one set without. The squared error is that
            of set 0, whose scale is learnt; the others are compared within themselves alone, by
            PLCC, norm-in-norm, ranking and fidelity. `UNRATED` photographs have a scorer's opinion
            or preferences alone.
        scorer: Sees the very crops that the network sees; needed where `distillation_weight` is not
            zero.
        deviations: Standard deviation of the opinions about each photograph, on the scale of `mos`;
            nan where unknown.
        preferences: Between photographs, by their rows. The two of a pair are drawn together, and
            an epoch goes over all pairs besides the rated photographs. Without any rated
            photographs the unit of the scores is `opinion_deviation`.

    Returns:
        The mean of each term of the loss in each epoch.

    Raises:
        SettingsError: Fewer photographs than a step takes, attributes without a teacher,
            distillation without a scorer, unrated photographs without distillation, further sets
            without a loss that takes them, or quantiles of scores that are all the same.
        BackboneError: LoRA for a backbone without linear layers.
    """
    sets = np.zeros(len(mos), np.int64) if sets is None else sets
    if settings.distillation_weight and scorer is None:
        raise SettingsError(f"distillation_weight {settings.distillation_weight} needs a scorer")
    draws = _draws(sets, preferences)
    settings.schedule.epoch_steps(len(draws), fabric.world_size)
    alone = [draw[0] for draw in draws if len(draw) == 1]
    if (sets[alone] == UNRATED).any() and not settings.distillation_weight:
        raise SettingsError("unrated photographs need a distillation_weight")
    if settings.attribute_weight and teacher is None:
        raise SettingsError(f"attribute_weight {settings.attribute_weight} needs a teacher")
    schedule, names = settings.schedule, net.architecture.attributes
    heads = settings.attribute_weight > 0 or settings.ladder_weight > 0
    net.attribute_net.last.requires_grad_(heads)
    net.dropout.p = settings.dropout
    said = opinions(settings, mos, scale, sets, deviations)
    good = said.above(settings.good_quantile)
    torch.nn.init.constant_(cast(nn.Linear, net.regressor[-1]).bias, said.start)
    if settings.lora_rank:
        seeded = torch.Generator().manual_seed(schedule.seed)
        backbone = net.attribute_net.backbone
        add_lora(backbone, settings.lora_rank, settings.lora_alpha, seeded)
    model = fabric.setup(net)
    ladders = round(settings.ladder_share * schedule.batch_size) if settings.ladder_weight else 0

    def objective(batch: Batch, random: Sequence[torch.Generator]) -> dict[str, Tensor]:
        indices, images = batch
        chosen = torch.nonzero(good[indices]).flatten()
        chosen = chosen[: settings.distorted_photos if settings.ranked_distortions_weight else 0]
        pairs = pair_maker(images, chosen, random)
        less, more, columns = attribute_pairs(images[:ladders], names, random[:ladders])
        views = torch.cat([images, pairs.mild, pairs.strong, less, more])
        prediction = model(views)
        parts = [len(images), len(pairs.sources), len(pairs.sources), ladders, ladders]
        score, mild, strong, _, _ = prediction.score.split(parts)
        truth, own, spread = (
            gather(fabric, known[indices].to(score))
            for known in (said.mos, said.sets, said.deviations)
        )
        terms = dict(said.terms(gather(fabric, score), truth, own.long(), spread))
        if preferences is not None:
            first, second, shares = _within(preferences, indices)
            advantage = score[first] - score[second]
            terms["preferences"] = settings.preference_weight * preference_loss(
                advantage, shares.to(score), said.unit, settings.preference_loss
            )
        if settings.ranked_distortions_weight:
            above = torch.cat([score[pairs.sources], mild])
            steps = torch.cat([pairs.mild_steps, pairs.strong_steps - pairs.mild_steps])
            terms["distortions"] = settings.ranked_distortions_weight * distortion_ranking_loss(
                above, torch.cat([mild, strong]), settings.ranked_distortions_margin * steps
            )
        if settings.distillation_weight and scorer is not None:
            with torch.no_grad():
                opinion = (scorer.score(images) - scorer.scale[0]) / np.ptp(scorer.scale).item()
            off = (score - opinion).square()
            if settings.quantile_weight:
                off = off + settings.quantile_weight * said.quantile_errors(score, opinion)
            terms["distillation"] = settings.distillation_weight * off.mean()
        if settings.attribute_weight and teacher is not None:
            labels = labels_of(teacher, views, names)
            terms["attributes"] = settings.attribute_weight * margin_ranking_loss(
                prediction.attributes, labels, settings.attribute_margin
            )
        if settings.ladder_weight:
            low, high = prediction.attributes[-2 * ladders :].split(ladders)
            terms["ladders"] = settings.ladder_weight * attribute_pairs_loss(
                low, high, columns, settings.attribute_margin
            )
        return terms

    crops = RandomCrops(photos, schedule.crops, schedule.seed)
    record = asdict(settings) | {
        "scale": scale,
        "labels": array_hash(mos),
        "sets": array_hash(sets),
        "deviations": None if deviations is None else array_hash(deviations),
        "preferences": preferences
        and {name: array_hash(part) for name, part in vars(preferences).items()},
        "teacher": teacher_record(teacher),
        "pair_maker": qualified_name(pair_maker),
        "scorer": scorer and {"name": scorer.name, "sees": "photographs"},
        "evaluation": dict(evaluation or {}),
    }

    def finished(net: QualityNet) -> QualityNet:
        if settings.lora_rank:
            merge_lora(net.attribute_net.backbone)
        return _scaled(net, *scale)

    def evaluate_finished(net: nn.Module, epoch: int) -> Mapping[str, float]:
        return cast(Evaluation, evaluate)(finished(copy.deepcopy(cast(QualityNet, net))), epoch)

    asked = evaluate and evaluate_finished
    history = train(fabric, model, crops, objective, schedule, state, record, asked, draws)
    finished(net)
    return history


def _draws(sets: Int[np.ndarray, " n"], preferences: Preferences | None) -> list[tuple[int, ...]]:
    """List what is drawn together: a photograph that is rated, or in no pair; and each pair."""
    rows = np.arange(len(sets))
    if preferences is None:
        return [(row,) for row in rows.tolist()]
    first, second = preferences.first, preferences.second
    alone = (sets != UNRATED) | ~(np.isin(rows, first) | np.isin(rows, second))
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return [*((row,) for row in rows[alone].tolist()), *pairs]


def _within(
    preferences: Preferences, indices: Int[Tensor, " b"]
) -> tuple[Int[Tensor, " q"], Int[Tensor, " q"], Float[Tensor, " q"]]:
    """Find the pairs with both photographs in a batch: their places in it, and the shares."""
    rows = indices.numpy()
    count = 1 + max(part.max() for part in (rows, preferences.first, preferences.second))
    places = np.full(count, -1)
    places[rows] = np.arange(len(rows))
    found = preferences.moved(places)
    there = (found.first >= 0) & (found.second >= 0)
    first, second, shares = (
        torch.from_numpy(part[there]) for part in (found.first, found.second, found.shares)
    )
    return first, second, shares


@torch.no_grad()
def _scaled(net: QualityNet, low: float, high: float) -> QualityNet:
    """Let a network that predicts scores in [0, 1] predict them on their own scale."""
    last = cast(nn.Linear, net.regressor[-1])
    last.weight.mul_(high - low)
    last.bias.mul_(high - low).add_(low)
    return net
