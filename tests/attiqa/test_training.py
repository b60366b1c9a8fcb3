"""Pretraining and fine-tuning on a few small photographs with a tiny network."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from attiqa.datasets.crops import CropSettings
from attiqa.distortions import LADDERS, distort
from attiqa.errors import CheckpointError
from attiqa.finetuning import UNRATED, FinetuneSettings, Scorer, finetune
from attiqa.models import AttributeNet, QualityNet
from attiqa.pretraining import PretrainSettings, pretrain
from attiqa.random_distortions import DistortedPairs, sharpened_pairs
from attiqa.teachers import MeasuredTeacher
from attiqa.training import Schedule

SCHEDULE = Schedule(
    epochs=2, batch_size=6, backbone_lr=1e-3, crops=CropSettings(48, (64, 96)), workers=0
)
REWARD = FinetuneSettings(SCHEDULE, attribute_weight=0.1, ranked_distortions_weight=1.0)


@pytest.fixture(scope="module")
def photos(small) -> list[np.ndarray]:
    pixels = (small * 255).byte().permute(0, 2, 3, 1).numpy()
    return [np.ascontiguousarray(view) for p in pixels for view in (p, p[::-1], p // 2)]


@pytest.fixture(scope="module")
def mos() -> np.ndarray:
    return np.tile([0.9, 0.8, 0.2], 4)  # the third view is darkened


def fabric() -> Fabric:
    return Fabric(accelerator="cpu")


def fresh(tiny) -> QualityNet:
    torch.manual_seed(0)
    return QualityNet(AttributeNet(tiny))


def weights(net) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_pretraining_learns_the_teachers_order(tiny, photos, tmp_path):
    net = fresh(tiny).attribute_net
    settings = PretrainSettings(replace(SCHEDULE, epochs=12))
    history = pretrain(fabric(), net, photos, MeasuredTeacher(), settings, tmp_path / "state")
    losses = [epoch["ranking"] for epoch in history]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


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


def test_distillation_costs_the_squared_difference_on_the_very_views(tiny, photos, mos, tmp_path):
    seen = []

    def score(images):
        seen.append(images)
        return torch.full((len(images),), 4.0)  # of 1 to 5: 0.75 of the network's own scale

    still = replace(SCHEDULE, epochs=1, backbone_lr=0.0, head_lr=0.0, freeze_batch_statistics=True)
    settings = FinetuneSettings(
        still, distillation_weight=0.3, ranked_distortions_weight=0.1, good_quantile=0.0
    )
    scorer, net = Scorer("four", score, (1.0, 5.0)), fresh(tiny)
    (means,) = finetune(fabric(), net, photos, mos, None, settings, tmp_path / "s", scorer=scorer)
    net.eval()
    with torch.no_grad():
        costs = [(net(views).score - 0.75).square().mean().item() for views in seen]
    assert means["distillation"] == pytest.approx(0.3 * np.mean(costs), rel=1e-4)
    assert len(seen[0]) == 3 * SCHEDULE.batch_size  # photographs, mild and strong distortions


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


def test_every_epoch_has_new_crops(tiny, photos, tmp_path):
    class Recorder(MeasuredTeacher):
        def __init__(self):
            self.seen = []

        def __call__(self, images):
            self.seen += [image.sum().item() for image in images]
            return super().__call__(images)

    settings, teacher = PretrainSettings(SCHEDULE, distorted=0.0), Recorder()
    pretrain(fabric(), fresh(tiny).attribute_net, photos, teacher, settings, tmp_path / "state")
    assert len(teacher.seen) == len(set(teacher.seen)) == 24


def test_the_same_seed_gives_the_same_weights(tiny, photos, mos, tmp_path):
    results = []
    for run in ("a", "b"):
        net = fresh(tiny)
        finetune(fabric(), net, photos, mos, MeasuredTeacher(), REWARD, tmp_path / run)
        results.append(weights(net))
    assert torch.equal(*results)


def test_a_run_that_stops_continues_as_if_it_had_not(
    tiny, photos, mos, tmp_path, interrupted_teacher
):
    whole = fresh(tiny)
    teacher = MeasuredTeacher()
    history = finetune(fabric(), whole, photos, mos, teacher, REWARD, tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        finetune(
            fabric(), fresh(tiny), photos, mos, interrupted_teacher(3), REWARD, tmp_path / "part"
        )
    resumed = fresh(tiny)
    found = finetune(fabric(), resumed, photos, mos, teacher, REWARD, tmp_path / "part")
    assert found == history
    assert torch.equal(weights(resumed), weights(whole))


def test_a_state_of_other_settings_is_refused(tiny, photos, tmp_path):
    settings = PretrainSettings(replace(SCHEDULE, epochs=1))
    net = fresh(tiny).attribute_net
    pretrain(fabric(), net, photos, MeasuredTeacher(), settings, tmp_path / "state")
    other = PretrainSettings(replace(SCHEDULE, epochs=1, seed=1))
    with pytest.raises(CheckpointError, match="state"):
        pretrain(fabric(), net, photos, MeasuredTeacher(), other, tmp_path / "state")


@pytest.mark.parametrize("other", ["photographs", "labels", "initial weights", "pair_maker"])
def test_a_state_of_another_finetuning_is_refused(tiny, photos, mos, tmp_path, other):
    state, settings = tmp_path / "state", FinetuneSettings(SCHEDULE)

    def run(photos=photos, mos=mos, seed=0, **more):
        torch.manual_seed(seed)
        net = QualityNet(AttributeNet(tiny))
        return finetune(fabric(), net, photos, mos, None, settings, state, **more)

    run()
    before = state.read_bytes()
    changes = {
        "photographs": {"photos": [*photos[:-1], photos[0]]},  # one of another split
        "labels": {"mos": np.roll(mos, 1)},
        "initial weights": {"seed": 1},
        "pair_maker": {"pair_maker": sharpened_pairs},
    }
    with pytest.raises(CheckpointError, match=rf"state: of another.*{other} was .*another folder"):
        run(**changes[other])
    assert state.read_bytes() == before
    assert len(run()) == 2  # its own run may still have it


def test_results_of_another_evaluation_are_not_mixed_in(tiny, photos, mos, tmp_path):
    settings, state = FinetuneSettings(SCHEDULE), tmp_path / "state"
    for crop, refused in ((64, False), (72, True)):
        with pytest.raises(CheckpointError, match="64, now 72") if refused else nullcontext():
            finetune(
                fabric(), fresh(tiny), photos, mos, None, settings, state, evaluation={"crop": crop}
            )


def test_a_state_of_another_teacher_or_of_other_labels_is_refused(tiny, photos, tmp_path):
    class Described(MeasuredTeacher):
        prompts = "Sharp image"

        def describe(self):
            return {"teacher": "CLIP", "prompts": self.prompts}

    labels, settings = np.eye(12)[:, :5], PretrainSettings(SCHEDULE, distorted=0.0)
    other = Described()
    other.prompts = "Crisp image"
    for name, first, second, message in (
        ("prompts", Described(), other, "prompts was 'Sharp image', now 'Crisp image'"),
        ("labels", labels, labels[::-1].copy(), "labels was"),
        ("kind", MeasuredTeacher(), labels, "teacher was 'measured', now None"),
    ):
        state = tmp_path / name
        pretrain(fabric(), fresh(tiny).attribute_net, photos, first, settings, state)
        with pytest.raises(CheckpointError, match=message):
            pretrain(fabric(), fresh(tiny).attribute_net, photos, second, settings, state)


def test_a_checkpoint_within_an_epoch_continues_the_means_exactly(tiny, photos, mos, tmp_path):
    schedule = replace(SCHEDULE, batch_size=2, checkpoint_steps=2, ema_decay=0.9)
    settings = replace(REWARD, schedule=schedule, dropout=0.3)
    whole = fresh(tiny)
    history = finetune(
        fabric(), whole, photos, mos, MeasuredTeacher(), settings, tmp_path / "whole"
    )

    class Stop(Exception):
        pass

    class StoppingTeacher(MeasuredTeacher):
        def __init__(self, calls):
            self.calls = calls

        def __call__(self, images):
            self.calls -= 1
            if self.calls < 0:
                raise Stop
            return super().__call__(images)

    state = tmp_path / "part"
    for calls in (5, 3):  # to step 4 of the first epoch's six, then to step 1 of the second's
        with pytest.raises(Stop):
            finetune(fabric(), fresh(tiny), photos, mos, StoppingTeacher(calls), settings, state)
    assert torch.load(state)["step"] == 0
    resumed, teacher = fresh(tiny), StoppingTeacher(6)
    assert finetune(fabric(), resumed, photos, mos, teacher, settings, state) == history
    assert torch.equal(weights(resumed), weights(whole))


def test_a_broken_state_is_named(tiny, photos, tmp_path):
    (tmp_path / "state").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="state"):
        pretrain(
            fabric(),
            fresh(tiny).attribute_net,
            photos,
            MeasuredTeacher(),
            PretrainSettings(SCHEDULE),
            tmp_path / "state",
        )


def test_other_workers_and_checkpoints_may_continue_a_run(tiny, photos, tmp_path):
    net, state = fresh(tiny).attribute_net, tmp_path / "state"
    pretrain(fabric(), net, photos, MeasuredTeacher(), PretrainSettings(SCHEDULE), state)
    again = fresh(tiny).attribute_net
    settings = PretrainSettings(replace(SCHEDULE, workers=1, checkpoint_steps=7))
    pretrain(fabric(), again, photos, MeasuredTeacher(), settings, state)
    assert torch.equal(weights(again), weights(net))
    other = PretrainSettings(SCHEDULE, margin=0.2)
    with pytest.raises(CheckpointError, match="margin"):
        pretrain(fabric(), again, photos, MeasuredTeacher(), other, state)


def test_fewer_photographs_than_a_step_takes(tiny, photos, tmp_path):
    settings = PretrainSettings(replace(SCHEDULE, accumulate=3))
    with pytest.raises(ValueError, match="takes 18 photographs"):
        pretrain(
            fabric(),
            fresh(tiny).attribute_net,
            photos,
            MeasuredTeacher(),
            settings,
            tmp_path / "state",
        )


def test_accumulated_squared_errors_are_those_of_the_large_batch(tiny, photos, mos, tmp_path):
    plain = replace(tiny, backbone="test_convnext")  # without batch statistics
    results = []
    for size, accumulate in ((12, 1), (3, 4)):
        net = fresh(plain)
        schedule = replace(SCHEDULE, batch_size=size, accumulate=accumulate)
        settings = FinetuneSettings(schedule, plcc_weight=0.0)
        history = finetune(fabric(), net, photos, mos, None, settings, tmp_path / f"{size}")
        results.append((weights(net), history))
    (large, expected), (small, found) = results
    assert torch.allclose(small, large, atol=1e-5)
    assert found[-1]["mos"] == pytest.approx(expected[-1]["mos"], rel=1e-4)


def test_evaluation_sees_the_averaged_network_after_each_epoch(tiny, photos, mos, tmp_path):
    seen = []

    def evaluate(net, epoch):
        assert not net.training
        seen.append(weights(net).clone())
        return {"validation srocc": epoch / 10}

    net = fresh(tiny)
    settings = FinetuneSettings(replace(SCHEDULE, ema_decay=0.9))
    state = tmp_path / "state"
    history = finetune(fabric(), net, photos, mos, None, settings, state, evaluate=evaluate)
    assert [epoch["validation srocc"] for epoch in history] == [0.1, 0.2]
    assert torch.equal(seen[-1], weights(net))  # what is returned
    own = torch.load(state)["net"]
    assert not torch.equal(own["regressor.0.weight"], net.regressor.get_parameter("0.weight"))


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


def test_frozen_batch_statistics_stay(tiny, photos, mos, tmp_path):
    for frozen in (True, False):
        net = fresh(tiny)
        statistics = net.attribute_net.backbone.get_buffer("bn1.running_mean")
        before = statistics.clone()
        settings = FinetuneSettings(replace(SCHEDULE, freeze_batch_statistics=frozen))
        finetune(fabric(), net, photos, mos, None, settings, tmp_path / str(frozen))
        assert torch.equal(statistics, before) == frozen


def test_layers_near_the_input_learn_more_slowly(tiny, photos, mos, tmp_path):
    # a single step, and AdamW's first is the learning rate itself: that of the cycle's end
    schedule = replace(SCHEDULE, epochs=1, batch_size=12, backbone_lr=1e3, weight_decay=0.0)
    settings = FinetuneSettings(replace(schedule, layer_decay=0.5))
    net = fresh(tiny)
    backbone = net.attribute_net.backbone
    stem, last = (backbone.get_parameter(name) for name in ("conv_stem.weight", "bn2.bias"))
    before = stem.detach().clone(), last.detach().clone()
    finetune(fabric(), net, photos, mos, None, settings, tmp_path / "state")
    steps = (stem - before[0]).abs().max(), (last - before[1]).abs().max()
    assert (steps[1] / steps[0]).item() == pytest.approx(2**5, rel=0.01)  # five layers apart


def test_bfloat16(tiny, photos, tmp_path):
    net = fresh(tiny).attribute_net
    mixed = Fabric(accelerator="cpu", precision="bf16-mixed")
    settings = PretrainSettings(replace(SCHEDULE, epochs=12))
    history = pretrain(mixed, net, photos, MeasuredTeacher(), settings, tmp_path / "state")
    losses = [epoch["ranking"] for epoch in history]
    assert weights(net).dtype == torch.float32
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


@pytest.mark.parametrize("loss", ["ranking", "standardised", "eq2"])
def test_stored_labels(tiny, photos, tmp_path, loss):
    labels = np.random.default_rng(0).normal(size=(len(photos), 5)) * 0.01
    labels[:, 2] = [photo.mean() / 255 for photo in photos]
    settings = PretrainSettings(replace(SCHEDULE, epochs=20), loss=loss, distorted=0.0)
    net = fresh(tiny).attribute_net
    history = pretrain(fabric(), net, photos, labels, settings, tmp_path / "state")
    (term,) = history[0]
    assert term == ("ranking" if loss == "ranking" else "regression")
    assert np.mean([e[term] for e in history[-3:]]) < 0.9 * history[0][term]


def test_stored_labels_that_do_not_fit(tiny, photos, tmp_path):
    net, state = fresh(tiny).attribute_net, tmp_path / "state"
    with pytest.raises(ValueError, match=r"\(12, 5\), found \(11, 5\)"):
        pretrain(fabric(), net, photos, np.zeros((11, 5)), PretrainSettings(SCHEDULE), state)
    with pytest.raises(ValueError, match="distorted must be 0"):
        pretrain(fabric(), net, photos, np.zeros((12, 5)), PretrainSettings(SCHEDULE), state)


@pytest.mark.parametrize("loss", ["standardised", "eq2"])
def test_the_l2_ablation_regresses_what_numpy_computes(tiny, photos, tmp_path, loss):
    labels = np.random.default_rng(0).normal(size=(12, 5))
    schedule = replace(SCHEDULE, epochs=1, batch_size=12, freeze_batch_statistics=True)
    targets = {
        "standardised": (labels - labels.mean(0)) / labels.std(0, ddof=1),
        "eq2": np.exp(100 * labels) / (np.exp(100 * labels) + 1),
    }
    net = fresh(tiny).attribute_net
    for name, parameter in net.last.named_parameters():
        torch.nn.init.constant_(parameter, 0.5 if name.endswith("bias") else 0.0)
    settings = PretrainSettings(schedule, loss=loss, distorted=0.0)
    history = pretrain(fabric(), net, photos, labels, settings, tmp_path / "state")
    expected = ((0.5 - targets[loss]) ** 2).mean(0).sum()
    assert history[0]["regression"] == pytest.approx(expected, rel=1e-4)


def test_ladder_pairs_teach_the_heads_what_the_teacher_does_not(tiny, photos, tmp_path):
    labels = np.random.default_rng(0).normal(size=(12, 5))  # a teacher that knows nothing
    settings = PretrainSettings(
        replace(SCHEDULE, epochs=40, head_lr=3e-3),
        distorted=0.0,
        ladder_weight=5.0,
        ladder_share=1.0,
    )
    net = fresh(tiny).attribute_net
    history = pretrain(fabric(), net, photos, labels, settings, tmp_path / "state")
    assert history[-1]["ladders"] < 0.5 * history[0]["ladders"]


def test_a_single_attribute(tiny, photos, tmp_path):
    net = AttributeNet(replace(tiny, attributes=("quality",)))
    settings = PretrainSettings(SCHEDULE, distorted=0.0)
    labels = np.arange(12.0)[:, None]
    assert len(pretrain(fabric(), net, photos, labels, settings, tmp_path / "state")) == 2


def test_no_ladder_moves_an_attribute_of_ones_own(tiny, photos, tmp_path):
    net = AttributeNet(replace(tiny, attributes=("quality",)))
    settings = PretrainSettings(SCHEDULE, distorted=0.0, ladder_weight=1.0)
    with pytest.raises(ValueError, match=r"quality.*ladder_weight must be 0"):
        pretrain(fabric(), net, photos, np.arange(12.0)[:, None], settings, tmp_path / "state")


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
    assert history[-1][term] < left * history[0][term]


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
    pretraining = PretrainSettings.paper()
    assert (pretraining.margin, pretraining.loss, pretraining.distorted) == (0.1, "ranking", 0.0)
