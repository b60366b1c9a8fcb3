"""The last lesson of a quality model: to compare developments of one shot, without forgetting.

The distance of each development to the truth is known (a simulated shot has one). The head of
`development_head` learns it by regression, and the order of all developments of a shot by a
logistic ranking loss (Burges et al. 2005, RankNet); the backbone learns along. Meanwhile the scores
and attributes of photographs stay what they were: the model as it was is the teacher
(Li and Hoiem 2016, Learning without forgetting).
"""

import copy
import io
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms.functional import InterpolationMode, resized_crop

from attiqa.data.crops import Photos
from attiqa.files import write_atomically
from attiqa.model.development_head import COLORS, area_distances
from attiqa.model.networks import AttributeNet, QualityNet

log = logging.getLogger(__name__)

Predict = Callable[[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]], Float[Tensor, " b"]]
Source = Callable[[int, Predict], tuple[Float[Tensor, "s k 3 h w"], Float[Tensor, "s k"]]]
"""(number of a batch, predicted distance of developments beside references) -> pictures of k
developments of s shots, the first of each the reference, the last the truth, and their distances to
the truth."""

CHECKPOINT_EVERY = 100
LOG_EVERY = 20


@dataclass(frozen=True)
class DevelopmentLesson:
    """Length and speed of the lesson.

    Attributes:
        features: Width of the head.
        head_steps: Gradient steps of the head alone, before the backbone takes part: then the
            opinion of photographs cannot change.
        steps: Gradient steps in all.
        backbone_lr: AdamW's of what scored photographs before, falling to zero along a cosine.
        head_lr: Of the new head.
        weight_decay: Decoupled.
        averaging: Decay of the moving average of the weights, which is the result.
        colors_weight: Of the distance of the expected colours to the truth's.
        distance_weight: Of the Huber loss of the distance.
        rank_weight: Of the ranking loss.
        tie: Distances that differ by less are not ranked.
        keep_weight: Of the squared change of the scores of photographs.
        keep_attributes: Of the squared change of the attribute scores.
        photos: Photographs of a step that are not to be forgotten.
        crop: Pixels of their crops.
        short_side: Range of the short side that they are resized to before.
        seed: Of the new head and of the crops.
    """

    features: int = 128
    head_steps: int = 700
    steps: int = 700
    backbone_lr: float = 1e-4
    head_lr: float = 1e-3
    weight_decay: float = 0.02
    averaging: float = 0.99
    colors_weight: float = 0.2
    distance_weight: float = 0.2
    rank_weight: float = 1.0
    tie: float = 0.5
    keep_weight: float = 200.0
    keep_attributes: float = 0.1
    photos: int = 3
    crop: int = 224
    short_side: tuple[int, int] = (224, 416)
    seed: int = 0


def with_development_head(net: QualityNet, features: int, seed: int = 0) -> QualityNet:
    """Return a copy of a network with a new head for comparisons; all else is kept.

    A head that it has already is left behind: it knows another prior.
    """
    torch.manual_seed(seed)
    architecture = replace(net.architecture, development_features=features)
    larger = QualityNet(AttributeNet(architecture))
    kept = {n: x for n, x in net.state_dict().items() if not n.startswith("development.")}
    missing, unexpected = larger.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(name.startswith("development.") for name in missing)
    return larger.to(memory_format=torch.channels_last)


def learn_developments(
    net: QualityNet,
    source: Source,
    photos: Photos,
    settings: DevelopmentLesson,
    folder: Path,
    watch: Callable[[QualityNet], dict[str, float]] | None = None,
    watch_every: int = 500,
) -> list[dict[str, float]]:
    """Teach a network to compare developments; goes on from its checkpoint in `folder`.

    Args:
        net: With a development head; changed in place, and in evaluation mode at the end.
        source: Of developments.
        photos: 8-bit RGB; what is said of them is kept.
        settings: Of the lesson.
        folder: For the checkpoint and `history.jsonl`.
        watch: Asked now and then about the averaged network; what it says goes to the history.
        watch_every: Steps between.

    Raises:
        ValueError: The checkpoint was written under other settings.
    """
    teacher = copy.deepcopy(net).eval().requires_grad_(False)
    net.eval()  # batch normalisation keeps its statistics: they are those of photographs
    net.requires_grad_(True)
    new = list(net.development.parameters())
    fresh = {id(p) for p in new}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in net.parameters() if id(p) not in fresh]},
            {"params": new, "lr": settings.head_lr},
        ],
        settings.backbone_lr,
        weight_decay=settings.weight_decay,
    )
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging))
    state = {"net": net, "average": average, "optimizer": optimizer, "rate": rate}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "developments.pt"
    done = _resume(checkpoint, state, settings)
    history: list[dict[str, float]] = []

    def predict(images: Tensor, reference: Tensor) -> Tensor:
        net.development.eval()
        return net.development(net.see(images), net.see(reference))

    for step in track(range(done, settings.steps), "developments"):
        images, distance = source(step, predict)
        net.development.train()  # drops features
        alone = step < settings.head_steps
        dropped = np.random.default_rng((settings.seed, step, 2)).integers(2**62)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(dropped))
            losses = _comparison_losses(net, images, distance, settings, alone)
        if not alone:
            losses |= _kept_losses(net, teacher, photos, settings, step)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        rate.step()
        average.update_parameters(net)
        history.append({name: loss.item() for name, loss in losses.items()})
        if (step + 1) % LOG_EVERY == 0:
            recent = history[-LOG_EVERY:]
            means = {
                name: float(np.mean([h[name] for h in recent if name in h])) for name in losses
            }
            _note(folder, step + 1, means)
        if watch and (step + 1) % watch_every == 0:
            _note(folder, step + 1, watch(cast(QualityNet, average.module)))
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == settings.steps:
            _save(checkpoint, state, settings, step + 1)
    net.load_state_dict(average.module.state_dict())
    net.eval()
    return history


def _comparison_losses(
    net: QualityNet,
    images: Float[Tensor, "s k 3 h w"],
    distance: Float[Tensor, "s k"],
    settings: DevelopmentLesson,
    alone: bool,
) -> dict[str, Tensor]:
    """Compute the loss of predicted distances, of their values and of their order."""
    shots, count = distance.shape
    flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(not alone):
        seen = net.see(flat)
    of_shots = seen.unflatten(0, (shots, count))
    reference = of_shots[:, :1].expand(-1, count, -1).flatten(0, 1)
    truth = of_shots[:, -1, -COLORS:].detach()
    expected = net.development.expected(of_shots[:, 0])
    missing = area_distances(expected, truth).mean()
    found = net.development(seen, reference).view(shots, count)
    wrong = functional.huber_loss(found, distance, delta=2.0)
    gap = distance[:, :, None] - distance[:, None]  # [i, j] above 0: j is nearer
    said = found[:, :, None] - found[:, None]
    weight = (gap - settings.tie).clamp(0, 5) / 5
    order = (functional.softplus(-said) * weight).sum() / weight.sum().clamp(min=1e-6)
    return {
        "colors": settings.colors_weight * missing,
        "distance": settings.distance_weight * wrong,
        "order": settings.rank_weight * order,
    }


def _kept_losses(
    net: QualityNet, teacher: QualityNet, photos: Photos, settings: DevelopmentLesson, step: int
) -> dict[str, Tensor]:
    """Compute how far the scores of photographs have moved."""
    if not settings.photos:
        return {}
    random = np.random.default_rng((settings.seed, step, 1))
    rows = random.choice(len(photos), settings.photos)
    crops = torch.stack([_crop(photos[row], random, settings) for row in rows])
    crops = crops.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        before = teacher(crops)
    now = net(crops)
    return {
        "score kept": settings.keep_weight * functional.mse_loss(now.score, before.score),
        "attributes kept": settings.keep_attributes
        * functional.mse_loss(now.attributes, before.attributes),
    }


def _crop(
    photo: np.ndarray, random: np.random.Generator, settings: DevelopmentLesson
) -> Float[Tensor, "3 s s"]:
    height, width = photo.shape[:2]
    low, high = settings.short_side
    window = round(settings.crop * min(height, width) / random.uniform(low, high))
    window = min(window, height, width)
    top, left = random.integers(height - window + 1), random.integers(width - window + 1)
    pixels = np.ascontiguousarray(photo[top : top + window, left : left + window])
    crop = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    size = [settings.crop, settings.crop]
    crop = resized_crop(crop, 0, 0, window, window, size, InterpolationMode.BICUBIC, antialias=True)
    return crop.float() / 255


def _note(folder: Path, step: int, told: dict[str, float]) -> None:
    log.info("step %d: %s", step, {name: round(value, 4) for name, value in told.items()})
    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps({"step": step} | told) + "\n")


def _save(path: Path, state: dict[str, Any], settings: DevelopmentLesson, done: int) -> None:
    content = {name: part.state_dict() for name, part in state.items()}
    buffer = io.BytesIO()
    torch.save(content | {"done": done, "settings": asdict(settings)}, buffer)
    write_atomically(path, buffer.getvalue())


def _resume(path: Path, state: dict[str, Any], settings: DevelopmentLesson) -> int:
    if not path.exists():
        return 0
    content = torch.load(path, weights_only=True)
    if json.dumps(content["settings"]) != json.dumps(asdict(settings)):
        raise ValueError(f"{path}: written under other settings; name another folder")
    for name, part in state.items():
        part.load_state_dict(content[name])
    return content["done"]
