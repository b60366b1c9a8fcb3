"""The last lesson on pictures whose distances are known, with a tiny network."""

import copy
import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.color import deltaE_ciede94
from torch.nn import functional

from attiqa.model.development_head import colors
from attiqa.model.networks import QualityNet
from attiqa.training import learn_developments as module
from attiqa.training.learn_developments import (
    DevelopmentLesson,
    Predict,
    learn_developments,
    with_development_head,
)

LESSON = DevelopmentLesson(
    features=8,
    head_steps=4,
    steps=9,
    averaging=0.8,
    backbone_lr=1e-3,
    head_lr=3e-3,
    photos=2,
    crop=48,
    short_side=(56, 80),
)


def source(number: int, predict: Predict) -> tuple[torch.Tensor, torch.Tensor]:
    """Of three shots that are 20 % too dark: neutral, half and twice as far, and the truth."""
    random = torch.Generator().manual_seed(number)
    small = 0.3 + 0.6 * torch.rand(3, 3, 4, 4, generator=random)
    truth = functional.interpolate(small, (48, 48))
    images = torch.stack([truth * x for x in (0.8, 0.9, 0.6, 1.0)], dim=1)
    distance = torch.tensor([8.0, 4.0, 17.0, 0.0]).expand(3, -1)
    return images, distance


@pytest.fixture
def net(tiny_net, clean) -> QualityNet:
    tiny_net.train()
    with torch.no_grad():
        for _ in range(20):
            tiny_net(clean)  # statistics of photographs
    return with_development_head(tiny_net.eval(), LESSON.features)


def told(net: QualityNet, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, distance = source(number, lambda a, b: a.mean((1, 2, 3)))
    seen = net.see(images.flatten(0, 1))
    neutral = seen.unflatten(0, (3, 4))[:, :1].expand(-1, 4, -1).flatten(0, 1)
    with torch.no_grad():
        return net.development(seen, neutral).view(3, 4), distance


def agreement(found: torch.Tensor, known: torch.Tensor) -> float:
    """Mean SROCC over the shots."""
    rows = zip(found.numpy(), known.numpy(), strict=True)
    return float(np.mean([cast(Any, spearmanr(*pair)).statistic for pair in rows]))


def weights(net: QualityNet) -> torch.Tensor:
    return torch.cat([x.detach().float().flatten() for x in net.state_dict().values()])


def test_learning_lowers_the_losses_and_orders_what_was_not_seen(net, photos, tmp_path):
    lesson = replace(LESSON, head_steps=60, steps=80)
    before, distance = told(net, 1000)
    history = learn_developments(net, source, photos, lesson, tmp_path)
    assert len(history) == 80
    for name in ("colors", "distance", "order"):
        first, last = (np.mean([h[name] for h in part]) for part in (history[:5], history[-5:]))
        assert last < 0.6 * first, name
    after, _ = told(net, 1000)
    assert (after - distance).abs().mean() < 0.6 * (before - distance).abs().mean()
    assert agreement(after, distance) > 0.9
    assert agreement(before, distance) < 0.5  # neutral was thought to be the best
    assert not net.training


def test_losses_are_what_they_are_said_to_be(net):
    """By hand: the Huber loss, the weighted logistic loss of pairs, the distance of the colours."""
    images, distance = source(3, lambda a, b: a.mean((1, 2, 3)))
    lesson = replace(LESSON, distance_weight=1.0, rank_weight=1.0, colors_weight=1.0, tie=0.5)
    losses = module._comparison_losses(net, images, distance, lesson, alone=True)
    found, known = (x.double().numpy() for x in told(net, 3))
    off = np.abs(found - known)
    huber = np.where(off < 2, off**2 / 2, 2 * (off - 1)).mean()
    assert losses["distance"].item() == pytest.approx(huber, rel=1e-4)
    total = weight = 0.0
    for shot in range(3):
        for i in range(4):
            for j in range(4):
                w = np.clip(known[shot, i] - known[shot, j] - 0.5, 0, 5) / 5
                total += w * np.log1p(np.exp(-(found[shot, i] - found[shot, j])))
                weight += w
    assert losses["order"].item() == pytest.approx(total / weight, rel=1e-4)
    expected, truth = colors(images[:, 0]), colors(images[:, -1])
    labs = [(50 * x).view(3, 3, -1).double().numpy().transpose(0, 2, 1) for x in (truth, expected)]
    assert losses["colors"].item() == pytest.approx(
        deltaE_ciede94(labs[0], labs[1]).mean(), rel=1e-2
    )


def test_the_head_learns_alone_before_the_backbone_takes_part(net, photos, tmp_path):
    start = {name: value.clone() for name, value in net.state_dict().items()}

    def changed(folder: str, **settings) -> set[str]:
        net.load_state_dict(start)
        told = learn_developments(
            net, source, photos, replace(LESSON, **settings), tmp_path / folder
        )
        assert ("score kept" in told[-1]) == ("score kept" in told[0]) == (folder == "all")
        return {
            n.split(".")[0] for n, x in net.state_dict().items() if not torch.equal(x, start[n])
        }

    assert changed("head", head_steps=5, steps=5) == {"development"}
    assert {"development", "attribute_net"} <= changed("all", head_steps=0, steps=5)


def test_statistics_of_photographs_stay(net, photos, tmp_path):
    before = {n: b.clone() for n, b in net.named_buffers() if "running" in n}
    assert before
    learn_developments(net, source, photos, replace(LESSON, head_steps=0), tmp_path)
    after = dict(net.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_what_moves_of_the_opinion_of_photographs_is_charged(net, photos):
    """A score that is 0.1 too high, and one attribute that is half a deviation too low."""
    teacher = copy.deepcopy(net).requires_grad_(False)
    lesson = replace(LESSON, keep_weight=200.0, keep_attributes=0.1)
    unmoved = module._kept_losses(net, teacher, photos, lesson, 0)
    assert {name: loss.item() for name, loss in unmoved.items()} == {
        "score kept": 0.0,
        "attributes kept": 0.0,
    }
    with torch.no_grad():
        net.regressor[-1].bias += 0.1
        net.attribute_net.last[1].bias -= 0.5 * net.attribute_std[1]
    moved = module._kept_losses(net, teacher, photos, lesson, 0)
    assert moved["score kept"].item() == pytest.approx(200 * 0.01, rel=1e-4)
    assert moved["attributes kept"].item() == pytest.approx(0.1 * 0.25 / 5, rel=1e-4)
    (back,) = torch.autograd.grad(moved["score kept"], net.regressor[-1].bias)
    assert back.item() == pytest.approx(200 * 2 * 0.1, rel=1e-4)
    assert module._kept_losses(net, teacher, photos, replace(lesson, photos=0), 0) == {}


def test_photographs_that_are_kept_are_drawn_by_seed_and_step(net, photos):
    seen = []
    teacher = copy.deepcopy(net)
    teacher.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for step, seed in ((0, 0), (0, 0), (1, 0), (0, 1)):
        module._kept_losses(net, teacher, photos, replace(LESSON, seed=seed), step)
    first, again, later, other = seen
    assert first.shape == (2, 3, 48, 48)
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


def test_a_killed_lesson_ends_with_the_weights_of_an_undisturbed_one(
    net, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 3)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    assert len(learn_developments(net, source, photos, LESSON, tmp_path / "whole")) == 9
    undisturbed = weights(net)

    def interrupted(number: int, predict: Predict) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 7:
            raise KeyboardInterrupt
        return source(number, predict)

    net.load_state_dict(start)
    with pytest.raises(KeyboardInterrupt):
        learn_developments(net, interrupted, photos, LESSON, tmp_path / "killed")
    net.load_state_dict(start)
    assert len(learn_developments(net, source, photos, LESSON, tmp_path / "killed")) == 3
    assert torch.equal(weights(net), undisturbed)
    net.load_state_dict(start)
    assert learn_developments(net, interrupted, photos, LESSON, tmp_path / "killed") == []
    assert torch.equal(weights(net), undisturbed)


def test_a_lesson_under_other_settings_is_refused(net, photos, tmp_path):
    short = replace(LESSON, steps=1)
    learn_developments(net, source, photos, short, tmp_path)
    with pytest.raises(ValueError, match=r"developments\.pt: written under other settings"):
        learn_developments(net, source, photos, LESSON, tmp_path)


def test_the_source_can_ask_what_the_network_thinks(net, photos, tmp_path):
    """Settings that the model likes better than others are what it learns from most."""
    asked = []

    def asking(number: int, predict: Predict) -> tuple[torch.Tensor, torch.Tensor]:
        images, distance = source(number, predict)
        first = images[:, 2].clone().requires_grad_()
        said = predict(first, images[:, 0])
        (slope,) = torch.autograd.grad(said.sum(), first)
        asked.append((said.detach(), slope.abs().sum().item()))
        return images, distance

    start = told(net, 0)[0][:, 2]
    learn_developments(net, asking, photos, replace(LESSON, steps=2), tmp_path)
    assert torch.allclose(asked[0][0], start, atol=1e-4)
    assert all(slope > 0 for _, slope in asked)
    assert not torch.allclose(asked[1][0], asked[0][0], atol=1e-4)


def test_features_are_dropped_in_steps_and_not_in_predictions(net, photos, tmp_path):
    """Each step drops others, and by its number: a lesson that goes on drops the same."""
    dropped: list[tuple[bool, torch.Tensor]] = []

    def note(module, given, result):
        dropped.append((module.training, (result == 0) & (given[0] != 0)))

    net.development.dropout.register_forward_hook(note)

    def asking(number: int, predict: Predict) -> tuple[torch.Tensor, torch.Tensor]:
        images, distance = source(number, predict)
        before = len(dropped)
        predict(images[:, 1], images[:, 0])
        assert not any(training or mask.any() for training, mask in dropped[before:])
        return images, distance

    learn_developments(net, asking, photos, replace(LESSON, steps=2, head_steps=2), tmp_path)
    masks = [mask for training, mask in dropped if training]
    first, second = masks[: len(masks) // 2], masks[len(masks) // 2 :]
    assert all(mask.any() for mask in masks)
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_history_tells_of_losses_and_of_who_watches(net, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOG_EVERY", 3)
    watched = []

    def watch(network: QualityNet) -> dict[str, float]:
        watched.append(weights(network))
        return {"accuracy": 0.75}

    history = learn_developments(net, source, photos, LESSON, tmp_path, watch, watch_every=4)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 4, 6, 8, 9]
    assert rows[1] == {"step": 4, "accuracy": 0.75}
    assert rows[0]["distance"] == pytest.approx(np.mean([h["distance"] for h in history[:3]]))
    assert rows[2]["score kept"] == pytest.approx(np.mean([h["score kept"] for h in history[4:6]]))
    assert not torch.equal(watched[0], watched[1])
