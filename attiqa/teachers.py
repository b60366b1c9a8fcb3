"""Teachers: what gives unlabelled photographs their attribute pseudo-labels.

`ClipTeacher` is the paper's (section 3.2, Eq. 1-2). `MeasuredTeacher` measures the five attributes
on the signal, for work without CLIP weights; a network trained with it must say so in its card.
"""

from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import open_clip
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, center_crop, normalize, resize

from attiqa.attributes import PROMPTS
from attiqa.measurements import colorfulness, lightness, noise_deviation, sharpness


@runtime_checkable
class AttributeTeacher(Protocol):
    """Anything that orders images by the five attributes."""

    @property
    def name(self) -> str:
        """What the card of a trained network calls this teacher."""
        ...

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5"]:
        """Score display RGB in [0, 1]; only the order within a column means anything."""
        ...


def antonym_score(
    positive: Float[Tensor, "*b"], negative: Float[Tensor, "*b"], logit_scale: float = 100.0
) -> Float[Tensor, "*b"]:
    """Attribute score from the similarities to two antonym prompts, in [0, 1] (Eq. 2).

    The softmax over the two equals `sigmoid(logit_scale * (positive - negative))`: it rises with
    the difference, so that no ranking depends on the scale. 100 is the value that CLIP converged
    to; the paper prints the equation with 1.
    """
    return torch.sigmoid(logit_scale * (positive - negative))


class ClipTeacher:
    """CLIP's zero-shot opinion on the five attributes with the prompts of Table 1.

    A call returns `cos+ - cos-` in float32, where the softmax of Eq. 2 would saturate into false
    ties; `scores` returns Eq. 2 itself.

    Args:
        architecture: A model name of open_clip.
        pretrained: An open_clip tag (fetched from the hub), a local weight file, or None for random
            weights.
        device: Where the model runs.
    """

    def __init__(
        self,
        architecture: str = "ViT-B-16-quickgelu",
        pretrained: str | Path | None = "openai",
        device: str | torch.device = "cpu",
    ) -> None:
        self.name = f"CLIP {architecture}/{pretrained}"
        tag = None if pretrained is None else str(pretrained)
        model = open_clip.create_model(architecture, pretrained=tag, device=device)
        self.model = cast(open_clip.CLIP, model.eval().requires_grad_(False))
        self.preprocessing = open_clip.get_model_preprocess_cfg(model)
        size = self.preprocessing["size"]
        self.side = size if isinstance(size, int) else size[0]
        tokenizer = open_clip.get_tokenizer(architecture)
        prompts = [prompt for pair in PROMPTS.values() for prompt in pair]
        with torch.inference_mode():
            text = self.model.encode_text(tokenizer(prompts).to(device)).float()
        self.text = F.normalize(text, dim=-1).unflatten(0, (len(PROMPTS), 2))  # (5, +-, d)

    @torch.no_grad()
    def similarities(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5 2"]:
        """Cosine similarity to the (positive, negative) prompts (Eq. 1)."""
        side = self.side
        views = resize(images, [side], InterpolationMode.BICUBIC, antialias=True)
        views = center_crop(views.clamp(0, 1), [side, side])
        views = normalize(views, self.preprocessing["mean"], self.preprocessing["std"])
        features = F.normalize(self.model.encode_image(views).float(), dim=-1)
        return torch.einsum("bd,apd->bap", features, self.text)

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5"]:
        """Return `cos+ - cos-` per attribute."""
        positive, negative = self.similarities(images).unbind(-1)
        return positive - negative

    def scores(
        self, images: Float[Tensor, "b 3 h w"], logit_scale: float = 100.0
    ) -> Float[Tensor, "b 5"]:
        """Return Eq. 2 per attribute, in [0, 1]."""
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
