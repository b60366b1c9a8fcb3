"""Teachers: what gives unlabelled photographs their attribute pseudo-labels.

`ClipTeacher` is the paper's (section 3.2, Eq. 1-2). `MeasuredTeacher` measures the five attributes
on the signal, for work without CLIP weights; a network trained with it must say so in its card.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import normalize

from attiqa.attributes import PROMPTS, PromptPair
from attiqa.errors import TeacherError
from attiqa.teachers.choices import View
from attiqa.teachers.clip_model import (
    HUB,
    check_size,
    cut_views,
    encode_views,
    image_side,
    load_clip,
    load_tokenizer,
    patch_side,
)
from attiqa.teachers.measurements import colorfulness, lightness, noise_deviation, sharpness

LOGIT_SCALE = 100.0
"""Of Eq. 2: what CLIP's own converged to. The paper prints the equation with 1."""

MAGNITUDE = "magnitude"
"""The column of `normalised_magnitude`."""


@runtime_checkable
class AttributeTeacher(Protocol):
    """Anything that orders images by the five attributes."""

    @property
    def name(self) -> str:
        """What the card of a trained network calls this teacher."""
        ...

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b a"]:
        """Score display RGB in [0, 1]; only the order within a column means anything."""
        ...


def antonym_score(
    positive: Float[Tensor, "*b"], negative: Float[Tensor, "*b"], logit_scale: float = LOGIT_SCALE
) -> Float[Tensor, "*b"]:
    """Compute the attribute score from similarities to two antonym prompts, in [0, 1] (Eq. 2).

    The softmax over the two equals `sigmoid(logit_scale * (positive - negative))`: it rises with
    the difference, so that no ranking depends on the scale.
    """
    return torch.sigmoid(logit_scale * (positive - negative))


def normalised_magnitude(features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """Summarise the magnitudes of a feature's components in one number that rises with quality.

    The components' absolute values x are divided by their standard deviation; the mean of their
    Box-Cox transforms `2 (sqrt(x + 1) - 1)` is returned: the magnitude cue of MA-CLIP (Liao et al.,
    Beyond cosine similarity: magnitude-aware CLIP, AAAI 2026, arXiv:2511.09948), with the lambda of
    1/2 and the offset of 1 of the authors' program. No longer feature has a higher one: it tells
    how evenly the components share the length.

    Args:
        features: Of an image encoder, not scaled to length 1 (which would change nothing).
    """
    magnitudes = features.abs()
    magnitudes = magnitudes / (magnitudes.std(dim=-1, keepdim=True) + 1e-6)
    return 2 * ((magnitudes + 1).sqrt() - 1).mean(-1)


class ClipTeacher:
    """CLIP's zero-shot opinion on the five attributes with the prompts of Table 1.

    A call returns `cos+ - cos-` in float32, where the softmax of Eq. 2 would saturate into false
    ties; `scores` returns Eq. 2 itself. The prompts are encoded once.

    Args:
        architecture: A model name of open_clip, SigLIP's included, or `hf-hub:owner/repository`;
            its normalisation, context length and tokenizer come with it.
        pretrained: An open_clip tag (fetched from the hub), a local weight file, or None for random
            weights. A repository has its own weights: this is not used then.
        device: Where the model runs.
        view: How a photograph is shown to the model.
        side: Side in pixels of what is shown; None for the model's own. Any other is computed with
            resized position embeddings, where the model has them or needs none.
        prompts: One antonym pair per column of the result.
        seed: Of random weights.
        magnitude: Add a last column, the feature's `normalised_magnitude`.

    Raises:
        TeacherError: The model cannot be had or does not work at this side.
        CheckpointError: The weight file cannot be read or does not fit.
    """

    def __init__(
        self,
        architecture: str = "ViT-B-16-quickgelu",
        pretrained: str | Path | None = "openai",
        device: str | torch.device = "cpu",
        view: View = "center",
        side: int | None = None,
        prompts: Mapping[str, PromptPair] = PROMPTS,
        seed: int = 0,
        magnitude: bool = False,
    ) -> None:
        model, self._description = load_clip(architecture, pretrained, seed)
        self.model = model.to(device)
        self.device = torch.device(device)
        self.view: View = view
        self.side = side or image_side(model)
        patch = patch_side(model)
        if self.side % patch and self.side != image_side(model):
            raise TeacherError(f"side: expected a multiple of the patch, {patch}; got {self.side}")
        check_size(self.model, self.side, self.side + patch if view == "whole" else self.side)
        self.name = f"CLIP {architecture}"
        if not architecture.startswith(HUB):
            self.name += f"/{pretrained and Path(pretrained).name}"
        self.prompts = dict(prompts)
        self.magnitude = magnitude
        if magnitude and MAGNITUDE in self.prompts:
            raise TeacherError(f"prompts: expected none of {MAGNITUDE!r} where it is a column")
        self.tokenizer = load_tokenizer(architecture)
        texts = [prompt for pair in prompts.values() for prompt in pair]
        self.text = self.encode_prompts(texts).unflatten(0, (len(prompts), 2))  # (a, +-, d)

    @property
    def encoder(self) -> dict[str, Any]:
        """All that the features of an image depend on, ready for JSON."""
        return self._description | {"view": self.view, "side": self.side, "resize": "bicubic"}

    def describe(self) -> dict[str, Any]:
        """Return all that a label depends on, ready for the JSON manifest beside the labels."""
        prompts = {attribute: list(pair) for attribute, pair in self.prompts.items()}
        return {
            "teacher": self.name,
            **self.encoder,
            "prompts": prompts,
            "logit_scale": LOGIT_SCALE,
            **({MAGNITUDE: "mean Box-Cox transform, lambda 1/2"} if self.magnitude else {}),
        }

    @property
    def attributes(self) -> tuple[str, ...]:
        """What the columns of a call are."""
        return (*self.prompts, *((MAGNITUDE,) if self.magnitude else ()))

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Encode texts as features of length 1."""
        tokens = self.tokenizer(list(prompts)).to(self.device)
        return F.normalize(self.model.encode_text(tokens).float(), dim=-1)

    def encode_images(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Encode photographs as features whose products with a prompt's are cosines (Eq. 1).

        With five crops this is the mean of five features of length 1: its product with a prompt's
        feature is then the mean of the five cosines, and a label the mean of five labels.

        Args:
            images: Display RGB in [0, 1], of any size.
        """
        return F.normalize(self._features(images), dim=-1).mean(0)

    @torch.no_grad()
    def _features(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "v b d"]:
        """Encode each view of photographs, as long as the features come."""
        views = cut_views(images.to(self.device), self.view, self.side, patch_side(self.model))
        mean, std = self._description["mean"], self._description["std"]
        features = encode_views(self.model, normalize(views.flatten(0, 1), mean, std)).float()
        return features.unflatten(0, views.shape[:2])

    def similarities(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b a 2"]:
        """Return the cosine similarity to the (positive, negative) prompts (Eq. 1)."""
        return torch.einsum("bd,apd->bap", self.encode_images(images), self.text)

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b a"]:
        """Return `cos+ - cos-` per prompt pair, and the magnitude where it is asked for."""
        features = self._features(images)
        unit = F.normalize(features, dim=-1).mean(0)
        positive, negative = torch.einsum("bd,apd->bap", unit, self.text).unbind(-1)
        deltas = positive - negative
        if not self.magnitude:
            return deltas
        return torch.cat([deltas, normalised_magnitude(features).mean(0)[:, None]], dim=1)

    def scores(
        self, images: Float[Tensor, "b 3 h w"], logit_scale: float = LOGIT_SCALE
    ) -> Float[Tensor, "b a"]:
        """Return Eq. 2 per prompt pair, in [0, 1]."""
        positive, negative = self.similarities(images).unbind(-1)
        return antonym_score(positive, negative, logit_scale)


class MeasuredTeacher:
    """Measurements of the signal that stand in for CLIP: nothing to download.

    | attribute | measurement |
    |---|---|
    | sharpness | log of gradient energy at scale 1 over scale 3, less what the noise adds |
    | contrast | RMS contrast of CIE lightness (Peli 1990) |
    | brightness | mean CIE lightness |
    | colorfulness | M3 of Hasler and Suesstrunk (2003) |
    | noisiness | minus the log of the noise deviation (Immerkaer 1996) in flat areas |
    """

    name = "measured"

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5"]:
        """Measure display RGB in [0, 1] of at least 32 x 32 pixels."""
        light = lightness(images)
        noise = noise_deviation(light)
        columns = (
            sharpness(light, noise),
            light.std(dim=(1, 2, 3)),
            light.mean(dim=(1, 2, 3)),
            colorfulness(images),
            -noise.log(),
        )
        return torch.stack(columns, dim=1)
