"""Fine-tuning on a few small photographs with a tiny network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from scipy.stats import norm

from attiqa.data.crop_protocol import CropSettings
from attiqa.data.preference_pairs import Preferences
from attiqa.distortions.ladders import LADDERS, distort
from attiqa.distortions.training_pairs import DistortedPairs
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training import finetuning
from attiqa.training.finetuning import Scorer, finetune
from attiqa.training.losses import distribution, empirical_cdf
from attiqa.training.opinion_terms import UNRATED
from attiqa.training.preference_losses import preference_loss
from attiqa.training.settings import FinetuneSettings, PretrainSettings
from tests.attiqa.tiny_runs import REWARD, SCHEDULE, fabric, fresh, weights


def test_finetuning_fits_the_scores(tiny, photos, mos, tmp_path):
    net, settings = fresh(tiny), FinetuneSettings(replace(SCHEDULE, epochs=30))
    history = finetune(fabric(), net, photos, mos, MeasuredTeacher(), settings, tmp_path / "state")
    assert history[-1]["mos"] < 0.5 * history[0]["mos"]
    assert set(history[0]) == {"mos"}  # with both weights at zero: the paper's


def test_a_further_set_is_compared_within_itself(tiny, photos, mos, tmp_path):
    """How its people used their scale makes no difference; which photographs they liked does."""
    sets = np.arange(len(mos)) % 2
    settings = FinetuneSettings(SCHEDULE, plcc_weight=0.5, norm_in_norm_weight=0.1)

    def trained(name: str, scores: np.ndarray, settings=settings) -> torch.Tensor:
        net = fresh(tiny)
        finetune(fabric(), net, photos, scores, None, settings, tmp_path / name, sets=sets)
        return weights(net)

    whole = trained("whole", mos)
    stretched = trained("stretched", np.where(sets, 0.3 + 0.5 * mos, mos))
    turned = trained("turned", np.where(sets, 1 - mos, mos))
    rounding, learnt = (stretched - whole).norm(), (turned - whole).norm()
    assert rounding < 0.1 * learnt
    assert learnt > 1e-3
    with pytest.raises(ValueError, match="further sets need plcc_weight"):
        trained("paper", mos, replace(settings, plcc_weight=0.0, norm_in_norm_weight=0.0))


@pytest.mark.parametrize("quantile_weight", [0.0, 0.5])
def test_distillation_costs_the_squared_difference_on_the_very_views(
    quantile_weight, tiny, photos, mos, tmp_path
):
    seen = []

    def score(images):
        seen.append(images)
        return torch.full((len(images),), 4.0)  # of 1 to 5: 0.75 of the network's own scale

    still = replace(SCHEDULE, epochs=1, backbone_lr=0.0, head_lr=0.0, freeze_batch_statistics=True)
    settings = FinetuneSettings(
        still,
        distillation_weight=0.3,
        quantile_weight=quantile_weight,
        ranked_distortions_weight=0.1,
        good_quantile=0.0,
    )
    scorer, net = Scorer("four", score, (1.0, 5.0)), fresh(tiny)
    (means,) = finetune(fabric(), net, photos, mos, None, settings, tmp_path / "s", scorer=scorer)
    net.eval()
    steps = distribution(torch.from_numpy(mos).float())

    def cost(score: torch.Tensor) -> float:
        opinion = torch.full_like(score, 0.75)
        quantiles = empirical_cdf(score, *steps) - empirical_cdf(opinion, *steps)
        off = (score - opinion).square() + quantile_weight * quantiles.square()
        return off.mean().item()

    with torch.no_grad():
        costs = [cost(net(views).score) for views in seen]
    assert means["distillation"] == pytest.approx(0.3 * np.mean(costs), rel=1e-4)
    assert {len(views) for views in seen} == {SCHEDULE.batch_size}  # no distorted version


def test_photographs_that_nobody_rated_are_learnt_from_the_scorer(tiny, photos, mos, tmp_path):
    sets = np.where(np.arange(len(mos)) % 2, UNRATED, 0)
    unknown = np.where(sets == UNRATED, np.nan, mos)
    settings = FinetuneSettings(SCHEDULE, plcc_weight=0.1, rank_weight=0.1, distillation_weight=1.0)
    scorer = Scorer("red", lambda images: images[:, 0].mean((1, 2)), (0.0, 1.0))

    def trained(name: str, scores: np.ndarray) -> tuple[torch.Tensor, list[dict[str, float]]]:
        net, state = fresh(tiny), tmp_path / name
        history = finetune(
            fabric(), net, photos, scores, None, settings, state, sets=sets, scorer=scorer
        )
        return weights(net), history

    first, history = trained("nan", unknown)
    other, _ = trained("numbers", np.where(sets == UNRATED, 0.9, mos))
    assert torch.equal(first, other)  # their scores, whatever they be, are looked at nowhere
    assert history[-1]["distillation"] < history[0]["distillation"]


def test_distillation_without_what_it_needs(tiny, photos, mos, tmp_path):
    sets = np.where(np.arange(len(mos)) % 2, UNRATED, 0)
    asked = FinetuneSettings(SCHEDULE, distillation_weight=1.0)
    with pytest.raises(ValueError, match=r"distillation_weight 1\.0 needs a scorer"):
        finetune(fabric(), fresh(tiny), photos, mos, None, asked, tmp_path / "state")
    plain = FinetuneSettings(SCHEDULE)
    with pytest.raises(ValueError, match="unrated photographs need a distillation_weight"):
        finetune(fabric(), fresh(tiny), photos, mos, None, plain, tmp_path / "state", sets=sets)


def test_the_papers_finetuning_leaves_the_last_layers_alone(tiny, photos, mos, tmp_path):
    net, settings = fresh(tiny), FinetuneSettings(SCHEDULE)
    before = weights(net.attribute_net.last)
    finetune(fabric(), net, photos, mos, MeasuredTeacher(), settings, tmp_path / "paper")
    assert torch.equal(weights(net.attribute_net.last), before)
    history = finetune(fabric(), net, photos, mos, MeasuredTeacher(), REWARD, tmp_path / "reward")
    assert not torch.equal(weights(net.attribute_net.last), before)
    assert set(history[0]) == {"mos", "distortions", "attributes"}


def test_ranked_distortions_teach_that_distortions_harm(tiny, photos, mos, small, tmp_path):
    settings = replace(
        REWARD, schedule=replace(SCHEDULE, epochs=30, head_lr=3e-3), ranked_distortions_weight=3.0
    )
    net = fresh(tiny)
    finetune(fabric(), net, photos, mos, MeasuredTeacher(), settings, tmp_path / "state")
    noise = next(ladder for ladder in LADDERS if ladder.name == "noise")
    with torch.no_grad():
        clean, noisy = (net.eval()(distort(small, noise, v)).score.mean() for v in (0.0, 0.12))
    assert clean > noisy + 0.03


def test_other_pairs_can_be_ranked(tiny, photos, mos, tmp_path):
    made = []

    def extremes(images, sources, random):
        black = torch.zeros_like(images[sources])
        steps = torch.ones(len(sources))
        made.append(len(sources))
        return DistortedPairs(sources, black, black + 1, steps, 2 * steps)

    net = fresh(tiny)
    settings = replace(REWARD, schedule=replace(SCHEDULE, epochs=3), ranked_distortions_weight=3.0)
    state = tmp_path / "state"
    finetune(fabric(), net, photos, mos, MeasuredTeacher(), settings, state, extremes)
    assert sum(made) > 0


def test_scores_keep_the_scale_of_the_data_set(tiny, photos, mos, tmp_path):
    settings, images, found = FinetuneSettings(SCHEDULE), torch.rand(3, 3, 48, 48), {}

    def evaluate(net, epoch):
        return {"mean": net(images).score.mean().item()}

    for low, high in ((0.0, 1.0), (-50.0, 150.0)):
        net = fresh(tiny)
        history = finetune(
            fabric(),
            net,
            photos,
            low + (high - low) * mos,
            None,
            settings,
            tmp_path / str(high),
            evaluate=evaluate,
            scale=(low, high),
        )
        score = net.eval()(images).score
        assert history[-1]["mean"] == score.mean().item()  # an evaluation sees the scale, too
        found[high] = score, history[-1]["mos"]
    assert torch.allclose(found[150.0][0], -50 + 200 * found[1.0][0], atol=0.01)
    assert found[150.0][1] == pytest.approx(found[1.0][1], rel=1e-4)


def test_a_teacher_of_other_attributes_than_the_network(tiny, photos, mos, tmp_path):
    net = QualityNet(AttributeNet(replace(tiny, attributes=("quality",))))
    settings = FinetuneSettings(SCHEDULE, attribute_weight=0.1)
    with pytest.raises(ValueError, match=r"measured labels 5 attributes; the network has 1"):
        finetune(fabric(), net, photos, mos, MeasuredTeacher(), settings, tmp_path / "state")


@pytest.mark.parametrize(
    ("weight", "term", "left"),
    [("norm_in_norm_weight", "norm in norm", 0.5), ("quantile_weight", "quantiles", 0.75)],
)
def test_a_further_loss_joins_the_squared_error(weight, term, left, tiny, photos, mos, tmp_path):
    settings = replace(FinetuneSettings(replace(SCHEDULE, epochs=30)), **{weight: 0.5})
    history = finetune(fabric(), fresh(tiny), photos, mos, None, settings, tmp_path / "state")
    assert set(history[0]) == {"mos", term}
    assert 0 < history[-1][term] < left * history[0][term]


def test_the_fidelity_of_a_further_set_knows_no_scale(tiny, photos, mos, tmp_path):
    """How its people used their scale makes no difference; how far they disagree does."""
    sets = np.arange(len(mos)) % 2
    spread = np.full(len(mos), 0.1)
    settings = FinetuneSettings(SCHEDULE, plcc_weight=0.0, fidelity_weight=1.0)

    def trained(name: str, scores: np.ndarray, deviations: np.ndarray | None) -> torch.Tensor:
        net, state = fresh(tiny), tmp_path / name
        history = finetune(
            fabric(), net, photos, scores, None, settings, state, sets=sets, deviations=deviations
        )
        assert set(history[0]) == {"mos", "fidelity"}
        return weights(net)

    whole = trained("whole", mos, spread)
    further = np.where(sets, 0.3 + 0.5 * mos, mos)
    stretched = trained("stretched", further, np.where(sets, 0.5, 1.0) * spread)
    disagreeing = trained("disagreeing", mos, np.where(sets, 10.0, 1.0) * spread)
    unknown = trained("unknown", mos, np.full(len(mos), np.nan))
    assert torch.equal(unknown, trained("none", mos, None))
    assert torch.equal(unknown, trained("assumed", mos, np.full(len(mos), 0.15)))
    rounding, learnt = (stretched - whole).norm(), (disagreeing - whole).norm()
    assert rounding < 0.1 * learnt
    assert learnt > 1e-3


def test_preferences_alone_teach_an_order(tiny, photos, tmp_path):
    """Photographs as they are are preferred to the same ones darkened; nobody rated them."""
    nobody = np.full(len(photos), UNRATED)
    unknown = np.full(len(photos), np.nan)
    bright, dark = np.arange(0, 12, 3), np.arange(2, 12, 3)
    pairs = Preferences(bright, dark, np.ones(4))
    schedule = replace(SCHEDULE, epochs=12, batch_size=2)
    settings = FinetuneSettings(schedule, plcc_weight=0.1)
    net = fresh(tiny)
    kept = [photos[row] for row in sorted([*bright, *dark])]
    places = np.full(len(photos), -1)
    places[sorted([*bright, *dark])] = np.arange(8)
    history = finetune(
        fabric(),
        net,
        kept,
        unknown[:8],
        None,
        settings,
        tmp_path / "state",
        sets=nobody[:8],
        preferences=pairs.moved(places),
    )
    assert set(history[0]) == {"preferences"}
    assert history[-1]["preferences"] < 0.5 * history[0]["preferences"]
    with pytest.raises(ValueError, match="unrated photographs need a distillation_weight"):
        finetune(
            *(fabric(), fresh(tiny), photos, unknown, None, settings, tmp_path / "other"),
            sets=nobody,
            preferences=pairs,
        )  # the third photograph of each four is in no pair


def test_a_batch_holds_both_photographs_of_its_pairs(tiny, photos, mos, tmp_path, monkeypatch):
    sets = np.where(np.arange(len(mos)) < 6, 0, UNRATED)
    pairs = Preferences(np.array([6, 8, 10, 0]), np.array([7, 9, 11, 1]), np.full(4, 0.75))
    seen: list[tuple[list[float], list[float]]] = []

    def spy(advantage, shares, unit, kind):
        seen.append((advantage.tolist(), shares.tolist()))
        return preference_loss(advantage, shares, unit, kind)

    monkeypatch.setattr(finetuning, "preference_loss", spy)
    still = replace(SCHEDULE, epochs=1, batch_size=5, backbone_lr=0.0, head_lr=0.0)
    settings = FinetuneSettings(still, preference_weight=0.5, preference_loss="fidelity")
    (means,) = finetune(
        *(fabric(), fresh(tiny), photos, mos, None, settings, tmp_path / "state"),
        sets=sets,
        preferences=pairs,
        deviations=np.full(len(mos), 0.2),
    )
    assert len(seen) == 2  # six rated photographs and four pairs, five draws a step
    assert sum(len(advantage) for advantage, _ in seen) >= 4
    p = [norm.cdf(np.array(advantage) / (0.2 * 2**0.5)) for advantage, _ in seen]
    cost = [1 - np.sqrt(0.75 * p) - np.sqrt(0.25 * (1 - p)) for p in p]
    expected = np.mean([each.mean() if len(each) else 0 for each in cost])
    assert means["preferences"] == pytest.approx(0.5 * expected, rel=1e-4)


def test_quantiles_in_bfloat16(tiny, photos, mos, tmp_path):
    half = Fabric(accelerator="cpu", precision="bf16-mixed")
    settings = FinetuneSettings(SCHEDULE, quantile_weight=0.5)
    history = finetune(half, fresh(tiny), photos, mos, None, settings, tmp_path / "state")
    assert all(np.isfinite(epoch["quantiles"]) for epoch in history)


def test_quantiles_of_equal_scores_are_refused(tiny, photos, mos, tmp_path):
    settings = FinetuneSettings(SCHEDULE, quantile_weight=0.5)
    with pytest.raises(ValueError, match="quantiles need different scores"):
        finetune(fabric(), fresh(tiny), photos, 0 * mos, None, settings, tmp_path / "state")


def test_the_papers_settings():
    settings = FinetuneSettings.paper()
    assert settings.schedule.epochs == 100
    assert settings.schedule.crops == CropSettings(320, (340, 340))
    assert settings.plcc_weight == settings.rank_weight == settings.attribute_weight == 0
    assert settings.ranked_distortions_weight == settings.ladder_weight == 0
    assert settings.norm_in_norm_weight == settings.quantile_weight == 0
    assert settings.fidelity_weight == 0
    pretraining = PretrainSettings.paper()
    assert (pretraining.margin, pretraining.loss, pretraining.distorted) == (0.1, "ranking", 0.0)
