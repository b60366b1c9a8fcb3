"""Pretraining on a few small photographs with a tiny network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attiqa.model.networks import AttributeNet
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.pretraining import pretrain
from attiqa.training.settings import PretrainSettings
from tests.attiqa.tiny_runs import SCHEDULE, fabric, fresh


def test_pretraining_learns_the_teachers_order(tiny, photos, tmp_path):
    net = fresh(tiny).attribute_net
    settings = PretrainSettings(replace(SCHEDULE, epochs=12))
    history = pretrain(fabric(), net, photos, MeasuredTeacher(), settings, tmp_path / "state")
    losses = [epoch["ranking"] for epoch in history]
    assert len(losses) == 12
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
