"""The last stage of a quality model's training, on a network whose features can be read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attiqa.data.crop_protocol import CropProtocol
from attiqa.distortions.training_pairs import distorted_pairs
from attiqa.model.networks import AttributeNet
from attiqa.training.regressor_refit import (
    AMOUNTS,
    RefitSettings,
    Remembered,
    look_at_noise,
    order,
    refit,
    remember,
)

MAKERS = (distorted_pairs, distorted_pairs)
PROTOCOL = CropProtocol(short_side=96, crop=64)
SETTINGS = RefitSettings(steps=400, batch_size=16, learning_rate=3e-3, preview=48)


class Contours(AttributeNet):
    """Sees the mean contrast of neighbours, and mean levels."""

    def __init__(self) -> None:
        nn.Module.__init__(self)  # has no layers

    def features(self, images: torch.Tensor) -> torch.Tensor:
        steps = images.diff(dim=-1).abs().mean((1, 2, 3))
        red, _, blue = images.mean((2, 3)).unbind(1)
        return torch.stack([steps, red, blue], dim=-1)[:, None]


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    rows, columns = np.mgrid[:96, :128] / 5
    planes = [np.sin(rows + n) * np.cos((1 + n / 9) * columns) for n in range(3)]
    return [
        (128 + np.stack([60 * plane, 40 * plane, 20 * plane], -1)).astype(np.uint8)
        for plane in planes
    ]


def test_versions_are_sharpened_more_and_more_then_distorted(photos, tmp_path):
    seen = remember(Contours(), photos, range(3), PROTOCOL, SETTINGS, tmp_path, MAKERS)
    assert seen.features.shape == (3, 2, len(AMOUNTS) + 4, 3)
    sharpness = seen.features[..., : len(AMOUNTS), 0].float()
    assert (sharpness.diff(dim=-1) > 0).all()
    near, far = seen.steps[..., ::2], seen.steps[..., 1::2]
    assert (near > 0).all()
    assert (far >= near).all()
    others = seen.features[:, :, len(AMOUNTS) :].float()
    assert ((others - seen.features[:, :, :1].float()).abs().sum(-1) > 0).all()


def test_what_was_seen_is_kept_and_does_not_depend_on_the_company(photos, tmp_path):
    seen = remember(Contours(), photos, [5, 6, 7], PROTOCOL, SETTINGS, tmp_path / "all", MAKERS)
    alone = remember(Contours(), photos[1:2], [6], PROTOCOL, SETTINGS, tmp_path / "one", MAKERS)
    assert torch.equal(alone.features, seen.features[1:2])
    assert torch.equal(alone.steps, seen.steps[1:2])

    class Blind(Contours):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("looked again")

    kept = remember(Blind(), photos, [5, 6, 7], PROTOCOL, SETTINGS, tmp_path / "all", MAKERS)
    assert torch.equal(kept.features, seen.features)


def test_views_of_every_scale_are_remembered(photos, tmp_path):
    protocol = CropProtocol(short_side=64, crop=48, further=(0,))
    seen = remember(Contours(), photos[:1] * 8, range(8), protocol, SETTINGS, tmp_path, MAKERS)
    pixels = torch.from_numpy(photos[0]).permute(2, 0, 1)[None]
    places = [(0, 0), (0, 80), (48, 0), (48, 80), (24, 40)]
    native = torch.cat([pixels[..., y : y + 48, x : x + 48] for y, x in places]).float() / 255
    expected = Contours().features(native)[:, 0]
    found = seen.features[:, 0, 0].float()  # not sharpened
    own_size = torch.isclose(found[:, None], expected, atol=1e-3).all(-1).any(-1)
    assert 0 < own_size.sum() < 8


def planted() -> tuple[Remembered, torch.Tensor]:
    """Feature 0 is quality, feature 1 the amount of sharpening, feature 2 how far from right."""
    random = torch.Generator().manual_seed(0)
    features = torch.rand(200, 2, 9, 3, generator=random)
    features[..., 0] = features[..., :1, 0]
    features[..., 1] = 0
    features[..., : len(AMOUNTS), 1] = torch.tensor(AMOUNTS) / AMOUNTS[-1]
    steps = 1 + torch.rand(200, 2, 4, generator=random)
    steps[..., 1::2] += 1
    features[..., 2] = 0
    features[..., len(AMOUNTS) :, 2] = steps / 3
    every = torch.rand(500, 3, generator=random) * torch.tensor([1.0, 0.1, 0.3])
    return Remembered(features.half(), steps), every


def regressor() -> nn.Sequential:
    """Knows quality and nothing else."""
    torch.manual_seed(0)
    first, last = nn.Linear(3, 32), nn.Linear(32, 1)
    with torch.no_grad():
        for value in (*first.parameters(), *last.parameters()):
            value.mul_(0.1)
        first.weight[0], first.bias[0] = torch.tensor([1.0, 0.0, 0.0]), 0.0
        last.weight[0, 0] = 0.6
    return nn.Sequential(first, nn.ReLU(), last)


@pytest.fixture(scope="module")
def before_and_after() -> tuple[nn.Sequential, nn.Sequential]:
    seen, every = planted()
    after = regressor()
    refit(after, seen, every, every[:0], SETTINGS)
    return regressor(), after


def test_a_pairs_mild_version_is_worse_than_the_photograph_and_better_than_the_strong_one():
    assert order(2) == [(1, 0), (2, 0), (0, 4), (0, 5), (5, 6), (0, 7), (7, 8)]


def test_every_order_is_learned(before_and_after):
    seen, _ = planted()
    scores = [net(seen.features.float()).squeeze(-1) for net in before_and_after]
    for better, worse in order(2):
        right = [(s[..., better] > s[..., worse]).float().mean() for s in scores]
        assert right[1] > 0.95, (better, worse, right)
    assert any((scores[0][..., b] > scores[0][..., w]).float().mean() < 0.5 for b, w in order(2))


def test_the_scores_keep_their_scale(before_and_after):
    """The best line from the new scores to the old ones is the identity."""
    _, every = planted()
    with torch.no_grad():
        old, new = (net(every).squeeze(-1).numpy() for net in before_and_after)
    slope, intercept = np.polyfit(new, old, 1)
    assert slope == pytest.approx(1, abs=1e-3)
    assert intercept == pytest.approx(0, abs=1e-3)
    assert np.corrcoef(new, old)[0, 1] > 0.7


def test_the_seed_decides_what_is_learned():
    seen, every = planted()
    short = RefitSettings(steps=5)
    losses = [refit(regressor(), seen, every, every[:0], short) for _ in "ab"]
    assert losses[0] == losses[1]
    assert refit(regressor(), seen, every, every[:0], RefitSettings(steps=5, seed=1)) != losses[0]


def test_noise_is_taught_to_be_bad_and_photographs_keep_their_scores():
    """Feature 1 tells noise from photographs; half of all photographs have some of it, too."""
    seen, clean = planted()
    every = torch.cat([clean, clean * torch.tensor([1.0, 10.0, 1.0])])
    noise = clean[:20] * torch.tensor([1.0, 0.0, 0.0]) + torch.tensor([0.5, 3.0, 0.0])
    plain = RefitSettings(
        steps=300, touch_weight=0.0, step_weight=0.0, learning_rate=3e-3, dropout=0.0
    )
    weights = {"untaught": (0.0, 0.0), "taught": (0.0, 1.0), "kept": (2.0, 1.0)}
    drift, highest = {}, {}
    for name, (keep, bad) in weights.items():
        net = regressor()
        refit(net, seen, every, noise, replace(plain, keep_weight=keep, noise_weight=bad))
        with torch.no_grad():
            drift[name] = (net(every) - regressor()(every)).abs().mean().item()
            highest[name] = net(noise).max().item()
    assert highest["untaught"] > 0.25 > highest["kept"]
    assert drift["kept"] < drift["taught"] / 2


def test_noise_is_looked_at_in_both_views_and_seeded():
    first, again = (look_at_noise(Contours(), PROTOCOL, SETTINGS, count=8) for _ in range(2))
    assert torch.equal(first, again)
    assert len(first.unique(dim=0)) == 8
    other = look_at_noise(Contours(), PROTOCOL, replace(SETTINGS, seed=1), count=8)
    assert not torch.equal(first, other)
