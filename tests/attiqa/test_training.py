"""Pretraining and fine-tuning on a few small photographs with a tiny network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from attiqa.datasets.crops import CropSettings
from attiqa.distortions import LADDERS, distort
from attiqa.errors import CheckpointError
from attiqa.finetuning import FinetuneSettings, finetune
from attiqa.models import AttributeNet, QualityNet
from attiqa.pretraining import PretrainSettings, pretrain
from attiqa.random_distortions import DistortedPairs
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


def test_a_run_that_stops_continues_as_if_it_had_not(tiny, photos, mos, tmp_path):
    whole = fresh(tiny)
    teacher = MeasuredTeacher()
    history = finetune(fabric(), whole, photos, mos, teacher, REWARD, tmp_path / "whole")

    class Stop(Exception):
        pass

    class StoppingTeacher(MeasuredTeacher):
        calls = 0

        def __call__(self, images):
            self.calls += 1
            if self.calls == 3:  # in the second epoch of two steps
                raise Stop
            return super().__call__(images)

    with pytest.raises(Stop):
        finetune(fabric(), fresh(tiny), photos, mos, StoppingTeacher(), REWARD, tmp_path / "part")
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
