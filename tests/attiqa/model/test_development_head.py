"""What is said of developments beside the neutral rendering of their shot."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede94, rgb2lab
from torch import nn

from attiqa.errors import CheckpointError, ImageFormatError
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_checkpoint, save_checkpoint
from attiqa.model.development_head import (
    COLORS,
    LAB,
    THUMBNAIL,
    DevelopmentHead,
    area_distances,
    colors,
)
from attiqa.model.networks import Perception, QualityNet
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.training.learn_developments import with_development_head

WIDTH = 12


@pytest.fixture
def comparing(tiny_net) -> QualityNet:
    """With a head that is not the beginner's, and no dead output."""
    net = with_development_head(tiny_net, features=8).eval()
    torch.manual_seed(1)
    for layer in (net.development.expect[-1], net.development.compare[-1]):
        nn.init.normal_(layer.weight, std=0.05)  # type: ignore[arg-type]
    return net


def pictures(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


def model(net: QualityNet, **changes) -> QualityModel:
    return QualityModel(net, replace(load_model().card, architecture=net.architecture, **changes))


def thumbnails(images: torch.Tensor) -> np.ndarray:
    """CIELAB of means over 8 x 8 areas, (b, 8, 8, 3)."""
    count, _, height, width = images.shape
    size = (count, 3, THUMBNAIL, height // THUMBNAIL, THUMBNAIL, width // THUMBNAIL)
    return rgb2lab(images.double().numpy().reshape(size).mean((3, 5)).transpose(0, 2, 3, 1))


def test_colours_are_the_lab_of_areas():
    images = pictures()
    expected = thumbnails(images).transpose(0, 3, 1, 2).reshape(4, COLORS) / LAB
    assert colors(images).numpy() == pytest.approx(expected, abs=2e-3)


def test_areas_are_as_far_apart_as_their_colours():
    first, second = pictures(seed=1), pictures(seed=2)
    expected = deltaE_ciede94(thumbnails(second), thumbnails(first)).reshape(4, -1)
    found = area_distances(colors(first), colors(second))
    assert found.numpy() == pytest.approx(expected, abs=0.15)
    equal = torch.zeros(1, COLORS)
    assert area_distances(equal, equal).numpy() == pytest.approx(0.1)


def test_a_new_head_expects_neutrals_colours_and_tells_the_distance_from_them():
    head = DevelopmentHead(WIDTH, 8)
    neutral, picture = pictures(seed=1), pictures(seed=2)
    before, seen = (torch.cat([torch.rand(4, WIDTH), colors(x)], 1) for x in (neutral, picture))
    assert torch.allclose(head.expected(before), colors(neutral), atol=1e-6)
    apart = deltaE_ciede94(thumbnails(neutral), thumbnails(picture)).mean((1, 2))
    expected = 0.7 * apart + 10 * np.log1p(np.exp(-2))
    assert head(seen, before).detach().numpy() == pytest.approx(expected, abs=0.1)


def test_distances_are_above_zero():
    torch.manual_seed(0)
    head = DevelopmentHead(WIDTH, 8)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    found = head(torch.randn(500, WIDTH + COLORS), torch.randn(500, WIDTH + COLORS))
    assert found.min() > 0
    assert found.isfinite().all()


def test_a_comparison_depends_on_the_neutral_rendering(comparing):
    seen, neutral = comparing.see(pictures(seed=1)), comparing.see(pictures(seed=2))
    other = comparing.see(pictures(seed=3))
    distance, perception = comparing.compare(seen, neutral)
    assert ((comparing.compare(seen, other)[0] - distance).abs() > 1e-3).all()
    assert ((comparing.compare(neutral, seen)[0] - distance).abs() > 1e-4).any()
    again = comparing.compare(seen, other)[1]
    assert torch.equal(again.score, perception.score)  # of the picture alone


def test_what_is_seen_serves_the_score_as_well(comparing):
    images = pictures()
    _, found = comparing.compare(comparing.see(images), comparing.see(pictures(seed=2)))
    expected = comparing.perceive(images)
    for name in Perception._fields:
        assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-6)


def test_pictures_are_compared_alike_in_any_company(comparing):
    images, neutral = pictures(seed=1), pictures(seed=2)
    judge = model(comparing)
    together = judge.nearness(images, neutral)
    assert together.unique().numel() == 4
    for row in range(4):
        alone = judge.nearness(images[row, None], neutral[row, None])
        assert torch.allclose(alone, together[row], atol=1e-4)


def test_nearness_rises_along_its_slope(comparing):
    judge, neutral = model(comparing), pictures(seed=2)
    images = pictures(seed=1).requires_grad_()
    before = judge.nearness(images, neutral)
    assert (before < 0).all()  # a distance with its sign changed
    (slope,) = torch.autograd.grad(before.sum(), images)
    assert torch.isfinite(slope).all()
    step = 0.05 * slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    assert (judge.nearness((images + step).detach(), neutral) > before).all()


def test_a_model_tells_nearness_and_attributes(comparing):
    judge, images, neutral = model(comparing), pictures(seed=1), pictures(seed=2)
    nearness, attributes = judge.compare(judge.see(images), judge.see(neutral))
    assert torch.equal(nearness, judge.nearness(images, neutral))
    distance, _ = comparing.compare(comparing.see(images), comparing.see(neutral))
    assert torch.allclose(nearness, -distance, atol=1e-5)
    assert torch.allclose(attributes, judge.predict(images).attributes, atol=1e-5)
    assert judge.for_reward() is judge
    with pytest.raises(ImageFormatError, match=r"in \[0, 1\]"):
        judge.see(images * 255)


def test_a_model_without_the_head_does_not_compare(tiny_net):
    judge, images = model(tiny_net, name="photographs only"), pictures()
    assert not hasattr(tiny_net, "development")
    seen = judge.see(images)
    for ask in (lambda: judge.compare(seen, seen), lambda: judge.nearness(images, images)):
        with pytest.raises(CheckpointError, match=r"photographs only: .*not learned to compare"):
            ask()
    paid = judge.for_reward()
    assert not isinstance(paid, QualityModel)
    found = paid(images)
    assert isinstance(found, Perception)
    assert torch.equal(found.score, judge.predict(images).score)
    assert found.features.shape == (4, 40)


def test_the_new_head_keeps_all_else(tiny_net):
    before = {name: value.clone() for name, value in tiny_net.state_dict().items()}
    larger = with_development_head(tiny_net, features=8)
    assert larger.architecture == replace(tiny_net.architecture, development_features=8)
    kept = larger.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    assert {name.split(".")[0] for name in kept.keys() - before.keys()} == {"development"}
    again = with_development_head(tiny_net, features=8).state_dict()
    assert all(torch.equal(again[name], value) for name, value in kept.items())
    images = pictures()
    assert torch.equal(larger.eval()(images).score, tiny_net.eval()(images).score)


def test_a_head_of_another_prior_is_left_behind(comparing, tiny_net):
    again = with_development_head(comparing, features=8).state_dict()
    fresh = with_development_head(tiny_net, features=8).state_dict()
    assert not torch.equal(
        comparing.development.expect[-1].weight, fresh["development.expect.2.weight"]
    )
    assert all(torch.equal(again[name], value) for name, value in fresh.items())


def test_features_are_dropped_while_learning_and_colours_are_not(comparing):
    head = comparing.development
    seen, reference = comparing.see(pictures(seed=1)), comparing.see(pictures(seed=2))
    assert torch.equal(head(seen, reference), head(seen, reference))
    head.train()
    assert not torch.equal(head.expected(reference), head.expected(reference))
    assert not torch.equal(head(seen, reference), head(seen, reference))
    seen[:, :-COLORS] = reference[:, :-COLORS] = 0
    assert torch.equal(head(seen, reference), head(seen, reference))


def test_a_head_is_on_the_card_and_comes_back(comparing, tmp_path):
    judge, images, neutral = model(comparing), pictures(seed=1), pictures(seed=2)
    path = save_checkpoint(tmp_path, comparing, replace(judge.card, name="comparing"))
    assert json.loads(path.with_suffix(".json").read_text())["architecture"][
        "development_features"
    ] == (8)
    read = load_model(path)
    assert torch.allclose(read.nearness(images, neutral), judge.nearness(images, neutral))
    halves = save_checkpoint(tmp_path, comparing, replace(judge.card, name="halves"), torch.float16)
    found = load_model(halves).nearness(images, neutral)
    assert torch.allclose(found, judge.nearness(images, neutral), rtol=0.01)


def test_cards_from_before_developments_were_compared_still_load(tiny_net, tmp_path):
    card = replace(load_model().card, name="old", architecture=tiny_net.architecture)
    path = save_checkpoint(tmp_path, tiny_net, card)
    written = json.loads(path.with_suffix(".json").read_text())
    assert written["architecture"].pop("development_features") == 0
    path.with_suffix(".json").write_text(json.dumps(written))
    net, read = load_checkpoint(path)
    assert read.architecture == tiny_net.architecture
    assert read.architecture.development_features == Architecture().development_features == 0
    images = pictures()
    assert isinstance(net, QualityNet)
    assert torch.equal(net.eval()(images).score, tiny_net.eval()(images).score)
