"""What is measured of a quality model that `train_model.py` trained, on photographs kept aside."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torchvision.transforms.functional import InterpolationMode, resize

from attiqa.attributes import ATTRIBUTES
from attiqa.data.rated_photos import RatedPhotos, Split, random_split
from attiqa.data.views import views
from attiqa.evaluation.ladder_response import ladder_responses
from attiqa.evaluation.metrics import bootstrap_interval, correlations
from attiqa.model.inputs import to_tensor
from attiqa.model.quality_model import QualityModel
from attiqa.teachers.teacher import AttributeTeacher

PREVIEW = 224
"""Pixels of the short side of the previews that an agent's reward sees."""

Pixels = UInt8[np.ndarray, "n s s 3"]


def unchosen(
    count: int, split: Split, chosen_on: Sequence[tuple[int, int]]
) -> Int[np.ndarray, " _"]:
    """Find the test photographs that are in no test part that choices were made on."""
    parts = [random_split(count, 0, test, seed).test for seed, test in chosen_on]
    return np.setdiff1d(split.test, np.concatenate([split.test[:0], *parts]))


def previews(pixels: Pixels, indices: Int[np.ndarray, " n"]) -> Float[torch.Tensor, "n 3 s s"]:
    """Resize whole photographs to the size of the previews that an agent's reward sees."""
    images = torch.from_numpy(pixels[indices]).permute(0, 3, 1, 2).float() / 255
    return resize(images, [PREVIEW], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)


def measure(
    model: QualityModel,
    teacher: AttributeTeacher,
    photos: RatedPhotos,
    pixels: Pixels,
    part: Int[np.ndarray, " n"],
) -> dict[str, Any]:
    """Measure agreement with people and with the teacher."""
    mos = photos.mos[part]
    paths = [photos.paths[index] for index in part]
    images = previews(pixels, part)
    with torch.no_grad():
        predictions = [model.predict(batch) for batch in images.split(50)]
        centre = [centre_score(model, path) for path in paths]
    score, attributes = (torch.cat(part).numpy() for part in zip(*predictions, strict=True))
    labels = torch.cat([teacher(batch) for batch in images.split(50)]).numpy()
    crops = model.score(paths).score.numpy()
    interval = bootstrap_interval(crops, mos)
    return {
        "five crops": correlations(crops, mos) | {"srocc, 95 %": [interval.low, interval.high]},
        "centre crop alone": correlations(np.array(centre), mos),
        f"previews of {PREVIEW} pixels": correlations(score, mos),
        "attributes against teacher, srocc": {
            name: correlations(attributes[:, column], labels[:, column])["srocc"]
            for column, name in enumerate(ATTRIBUTES)
        },
    }


def centre_score(model: QualityModel, path: Path) -> float:
    """Score the protocol's centre crops alone."""
    crops = views(to_tensor(path)[None], model.card.protocol, crops=1)
    return model.score_views(crops).score.item()


def measure_ladders(
    model: QualityModel, images: Float[torch.Tensor, "n 3 h w"]
) -> dict[str, dict[str, Any]]:
    """Measure whether turning one knob too far can raise the score of good photographs."""
    responses = ladder_responses(lambda x: model.predict(x).score, images)
    return {name: asdict(response) for name, response in responses.items()}
