"""The last stage of training a quality model: its regressor alone, on remembered features.

A touch of sharpening shifts the score of a photograph by less than end-to-end training learns the
sign of in a few epochs. The features already tell the amounts apart; with the backbone at rest each
photograph is seen once, and a thousand steps of the regressor cost less than a minute.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.crops import Photos
from attiqa.data.views import resize_short_side, views
from attiqa.distortions.ladders import distort
from attiqa.distortions.training_pairs import SHARPENING
from attiqa.files import write_atomically
from attiqa.model.networks import AttributeNet
from attiqa.training.finetuning import PairMaker

AMOUNTS = (0.0, 0.25, 0.5, 1.0, 3.0)  # of sharpening: none, two touches, much, too much
SHARPENED = ((1, 0), (2, 0), (0, 4))
"""(better, worse) of `AMOUNTS`: the touches, too much."""
PART = 50  # photographs kept in one file


@dataclass(frozen=True)
class RefitSettings:
    """Settings of the stage.

    Attributes:
        steps: Gradient steps.
        batch_size: Photographs of a step, each in all of its versions.
        learning_rate: AdamW's, falling to zero along a cosine.
        weight_decay: Decoupled.
        dropout: Share of the features that the regressor does not get to see in a step.
        touch_weight: Weight of ranking the touches above none, and none above too much.
        touch_margin: Score that the first touch has to gain; the second three tenths more.
        much_margin: Score that too much has to cost.
        step_weight: Weight of the ranking of other distortions.
        step_margin: Score that each of their steps has to cost.
        keep_weight: Weight of the squared change of any photograph's score, good or bad.
        noise_weight: Weight of the squared excess of the score of nothing but noise.
        noise_score: Score that nothing but noise may have at most.
        preview: Short side of the whole small view, in pixels.
        seed: Of crops, distortions and the order of photographs.
    """

    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    dropout: float = 0.1
    touch_weight: float = 0.3
    touch_margin: float = 0.03
    much_margin: float = 0.02
    step_weight: float = 0.03
    step_margin: float = 0.03
    keep_weight: float = 0.0
    noise_weight: float = 0.0
    noise_score: float = 0.2
    preview: int = 224
    seed: int = 0


@dataclass(frozen=True)
class Remembered:
    """What a regressor sees of photographs, in two views: a crop of the protocol, a small whole.

    Attributes:
        features: Of each version: `AMOUNTS`, then mild and strong of each maker of pairs.
        steps: How far the pairs' versions are from the photograph.
    """

    features: Float[Tensor, "n 2 v f"]
    steps: Float[Tensor, "n 2 p"]


def order(makers: int) -> list[tuple[int, int]]:
    """Return (better, worse) versions: `SHARPENED`, then each maker's mild and strong."""
    mild = range(len(AMOUNTS), len(AMOUNTS) + 2 * makers, 2)
    return [*SHARPENED, *(pair for m in mild for pair in ((0, m), (m, m + 1)))]


@torch.no_grad()
def remember(
    net: AttributeNet,
    photos: Photos,
    names: Sequence[int],
    protocol: CropProtocol,
    settings: RefitSettings,
    folder: Path,
    makers: Sequence[PairMaker],
) -> Remembered:
    """Look at photographs; what was seen is kept in `folder`, where an interrupted run goes on.

    Args:
        net: In evaluation mode.
        photos: Good ones, 8-bit RGB, (h, w, 3) each.
        names: A number of each: what is drawn for it depends on (seed, number) alone.
        protocol: How whole photographs are scored.
        settings: Of the stage.
        folder: For this network, these settings and makers only.
        makers: Of the pairs that are ranked below the photographs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for first in track(range(0, len(photos), PART), "remembering features"):
        path = folder / f"{first}.npz"
        if not path.exists():
            rows = range(first, min(first + PART, len(photos)))
            seen = [_look(net, photos[row], names[row], protocol, settings, makers) for row in rows]
            features, steps = (torch.stack(column).numpy() for column in zip(*seen, strict=True))
            kept = io.BytesIO()
            np.savez(kept, features=features.astype(np.float16), steps=steps)
            write_atomically(path, kept.getvalue())
        with np.load(path, allow_pickle=False) as arrays:
            parts.append((arrays["features"], arrays["steps"]))
    features, steps = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Remembered(torch.from_numpy(features), torch.from_numpy(steps))


def _look(
    net: AttributeNet,
    photo: np.ndarray,
    name: int,
    protocol: CropProtocol,
    settings: RefitSettings,
    makers: Sequence[PairMaker],
) -> tuple[Float[Tensor, "2 v f"], Float[Tensor, "2 p"]]:
    """One photograph, sharpened as a whole before it is cropped, and after it is made small."""
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    random = [torch.Generator().manual_seed((settings.seed << 32) + name)]
    crop = int(torch.randint(5 * len(protocol.short_sides), (), generator=random[0]))
    small = resize_short_side(image, settings.preview).clamp(0, 1)
    sharpened = [
        [views(distort(image, SHARPENING, a), protocol)[:, crop] for a in AMOUNTS],
        [distort(small, SHARPENING, amount) for amount in AMOUNTS],
    ]
    features, steps = [], []
    for versions in sharpened:
        itself = torch.zeros(1, dtype=torch.long)
        pairs = [make(versions[0], itself, random) for make in makers]
        seen = [*versions, *(view for pair in pairs for view in (pair.mild, pair.strong))]
        features.append(net.features(torch.cat(seen)).flatten(1))
        steps.append(torch.cat([s for pair in pairs for s in (pair.mild_steps, pair.strong_steps)]))
    return torch.stack(features), torch.stack(steps)


@torch.no_grad()
def look_at_noise(
    net: AttributeNet, protocol: CropProtocol, settings: RefitSettings, count: int = 24
) -> Float[Tensor, "k f"]:
    """Return features of pictures without a scene: uniform or normal noise, grey or in colour."""
    random = torch.Generator().manual_seed(settings.seed)
    features = []
    for index in range(count):
        side = protocol.crop if index % 2 else settings.preview
        shape = (1, 3 if index % 3 else 1, side, side)
        uniform = torch.rand(shape, generator=random)
        normal = (0.5 + 0.3 * torch.randn(shape, generator=random)).clamp(0, 1)
        image = (normal if index % 4 == 3 else uniform).expand(1, 3, -1, -1)
        features.append(net.features(image).flatten(1))
    return torch.cat(features)


def refit(
    regressor: nn.Sequential,
    seen: Remembered,
    every: Float[Tensor, "m f"],
    noise: Float[Tensor, "k f"],
    settings: RefitSettings,
) -> list[float]:
    """Teach a regressor the order of the versions while the photographs keep their scores.

    Args:
        regressor: Features to a score on a scale of [0, 1]; changed in place.
        seen: Of good photographs.
        every: Features of good and bad photographs: over them, the scores keep their scale.
        noise: Features of nothing but noise.
        settings: Of the stage.

    Returns:
        The loss of each step.
    """
    random = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        before = _scores(regressor, seen.features[:, :, :1].float())
        scale = _scores(regressor, every)
    optimizer = torch.optim.AdamW(
        regressor.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    history = []
    for _ in track(range(settings.steps), "regressor"):
        rows = torch.randint(len(seen.features), (settings.batch_size,), generator=random)
        features = seen.features[rows].float()
        kept = torch.rand(features.shape, generator=random) >= settings.dropout
        scores = _scores(regressor, features * kept / (1 - settings.dropout))
        loss = functional.mse_loss(scores[..., :1], before[rows])
        loss = loss + _ranking_loss(scores, seen.steps[rows], settings)
        if settings.keep_weight:
            any_rows = torch.randint(len(every), (4 * settings.batch_size,), generator=random)
            change = _scores(regressor, every[any_rows]) - scale[any_rows]
            loss = loss + settings.keep_weight * change.square().mean()
        if settings.noise_weight:
            excess = functional.relu(_scores(regressor, noise) - settings.noise_score)
            loss = loss + settings.noise_weight * excess.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        history.append(loss.item())
    _rescale(regressor, every, scale)
    return history


@torch.no_grad()
def _rescale(
    regressor: nn.Sequential, features: Float[Tensor, "m f"], scores: Float[Tensor, " m"]
) -> None:
    """Apply the line that brings what the regressor says nearest to `scores`."""
    now = _scores(regressor, features)
    slope = torch.cov(torch.stack([now, scores]))[0, 1] / now.var()
    last = cast(nn.Linear, regressor[-1])
    last.weight.mul_(slope)
    last.bias.mul_(slope).add_(scores.mean() - slope * now.mean())


def _scores(regressor: nn.Module, features: Float[Tensor, "*b f"]) -> Float[Tensor, "*b"]:
    return cast(Tensor, regressor(features)).squeeze(-1)


def _ranking_loss(
    scores: Float[Tensor, "n 2 v"], steps: Float[Tensor, "n 2 p"], settings: RefitSettings
) -> Tensor:
    """Return the hinges of every `order`, weighted."""
    pairs = order(steps.shape[-1] // 2)
    better, worse = (scores[..., list(column)] for column in zip(*pairs, strict=True))
    touch = settings.touch_margin
    sharpening = steps.new_tensor([touch, 1.3 * touch, settings.much_margin])
    near, far = steps[..., ::2], steps[..., 1::2]
    others = settings.step_margin * torch.stack([near, far - near], dim=-1).flatten(-2)
    margins = torch.cat([sharpening.expand(*steps.shape[:-1], -1), others], dim=-1)
    weights = [settings.touch_weight] * len(sharpening) + [settings.step_weight] * steps.shape[-1]
    hinges = functional.relu(margins - (better - worse)).mean((0, 1))
    return hinges @ hinges.new_tensor(weights)
