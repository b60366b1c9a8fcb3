"""Scores and previews of a neutral and a finished rendering: a review (`isp_env.batch`).

OUT/page/IMG_1.jpg.neutral.jpg, OUT/page/IMG_1.jpg.enhanced.jpg    of OUT/IMG_1.jpg
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from agents.evaluation.fidelity import fidelity
from attiqa.attributes import ATTRIBUTES
from attiqa.errors import AttiqaError
from attiqa.model.cards import read_card
from attiqa.model.sources import weight_file
from attiqa.scoring.scorers import Scorer, load_scorer
from isp_env.develop.downsized import preview
from isp_env.develop.linear_image import LinearImage
from isp_env.develop.reference import resize
from isp_env.files import atomic_path, fitting
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.raw import RawImage
from isp_env.scenes.samples import truth_of

SCORING_SIDE = 640  # renderings are scored, compared with the truth and kept at this size
PREVIEWS = "page"
PREVIEW_QUALITY = 85  # of JPEG


@dataclass(frozen=True)
class ScoreReview:
    """Scores before and after, the fidelity to a truth where there is one, and previews.

    Attributes:
        judge: What `load_model` takes.
        folder: Of the photographs: the previews lie in a folder inside.
        identity: Says which judge this is, by its content.
    """

    judge: str
    folder: Path
    identity: str

    @classmethod
    def of(cls, judge: str, folder: Path) -> "ScoreReview":
        """Return a review whose identity changes with the judge's weights."""
        card = read_card(weight_file(judge).with_suffix(".json"))
        return cls(judge, folder, f"{judge} {card.sha256}")

    def __call__(self, raw: RawImage, theta: Float[Tensor, " d"], name: str) -> dict[str, Any]:
        """Return scores of the picture `name`, or the reason why there are none."""
        small = preview(raw, SCORING_SIDE)
        before, after = (_render(small, x) for x in (torch.zeros_like(theta), theta))
        for picture, path in zip((before, after), self.previews(name), strict=True):
            _keep(picture, self.folder / path)
        judged: dict[str, Any] = {"by": self.identity}
        try:
            scorer = _load(self.judge)
            looks = [scorer.look(x.movedim(0, -1).numpy()) for x in (before, after)]
            scores, rows, _ = zip(*scorer.score([look.crops for look in looks]), strict=True)
        except AttiqaError as error:  # too small or too long: a picture all the same
            return judged | {"reason": f"not scored: {error}"}
        judged["score"] = _change(*scores)
        attributes = zip(*rows, strict=True)
        judged["attributes"] = {
            name: _change(*pair) for name, pair in zip(ATTRIBUTES, attributes, strict=True)
        }
        truth_path = truth_of(raw.path) if raw.path else None
        if truth_path is not None and raw.simulated:
            truth = resize(LinearImage(_picture(truth_path), torch.zeros(3, 2)), SCORING_SIDE).rgb
            judged["fidelity"] = _change(*(fidelity(image, truth) for image in (before, after)))
        return judged

    def covers(self, judged: Any, name: str) -> bool:
        """Tell whether these are this judge's scores, with the previews of the picture `name`."""
        by = judged.get("by") if isinstance(judged, dict) else None
        there = all((self.folder / path).is_file() for path in self.previews(name))
        return by == self.identity and there

    def previews(self, name: str) -> tuple[PurePosixPath, PurePosixPath]:
        """Files of the neutral and the finished rendering of the picture `name`, in `folder`."""
        picture = PurePosixPath(PREVIEWS, name)
        neutral, enhanced = (
            picture.with_name(fitting(picture.name, f".{which}.jpg"))
            for which in ("neutral", "enhanced")
        )
        return neutral, enhanced


def _keep(picture: Float[Tensor, "3 h w"], path: Path) -> None:
    pixels = (picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, quality=PREVIEW_QUALITY)


def _change(before: Any, after: Any) -> dict[str, Any]:
    return {"before": before, "after": after}


def _render(linear: LinearImage, theta: Float[Tensor, " d"]) -> Float[Tensor, "3 h w"]:
    """Return encoded sRGB."""
    with torch.inference_mode():
        return DEFAULT_PIPELINE(linear.rgb[None], theta[None], linear.noise[None])[0]


def _picture(path: Path) -> Float[Tensor, "3 h w"]:
    """Return an 8-bit picture in [0, 1]."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


@cache
def _load(judge: str) -> Scorer:
    return load_scorer(judge)
