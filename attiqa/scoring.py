"""Scores for photographs: load a model, then predict on tensors or score files.

>>> model = load_model()
>>> model.predict(torch.rand(2, 3, 64, 64)).score.shape
torch.Size([2])
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, five_crop, resize

from attiqa.checkpoints import Card, load_checkpoint
from attiqa.datasets.folder import read_photo
from attiqa.errors import CheckpointError, ImageFormatError
from attiqa.models import QualityNet, QualityPrediction

WEIGHTS = Path(__file__).parent / "weights"

MIN_SIDE = 32

Photo = str | Path | Image.Image | np.ndarray | Tensor
"""A file; a PIL image; (h, w, 3) uint8 or float in [0, 1]; a (3, h, w) tensor of the same."""


class QualityModel:
    """A trained model, ready to score: evaluation mode, frozen parameters.

    Attributes:
        card: What the model was trained on, what its scores mean, how well it does.
        net: The network; takes display RGB and normalises it itself.
    """

    def __init__(self, net: QualityNet, card: Card, device: str | torch.device = "cpu") -> None:
        self.card = card
        net = net.to(device).to(memory_format=torch.channels_last)  # twice as fast on a CPU
        self.net = net.eval().requires_grad_(False)
        self.device = torch.device(device)

    def predict(self, images: Float[Tensor, "b 3 h w"]) -> QualityPrediction:
        """Score images as they are: nothing is resized or cropped.

        Differentiable with respect to the images; an image scores the same in any batch.

        Args:
            images: Display RGB (sRGB) in [0, 1], at least 32 x 32 pixels, on the model's device.

        Raises:
            ImageFormatError: Another shape, or too small.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < MIN_SIDE:
            raise ImageFormatError(
                f"images must be (b, 3, h, w) with h, w >= {MIN_SIDE}; got {tuple(images.shape)}"
            )
        return self.net(images)

    __call__ = predict

    @torch.no_grad()
    def score(self, images: Photo | Sequence[Photo]) -> QualityPrediction:
        """Score whole photographs of any size by the card's protocol, one after the other.

        The photograph is turned upright (EXIF), resized at its short side, and the predictions for
        its four corners and centre are averaged.

        Args:
            images: One photograph or many; an array or tensor of four dimensions is many.

        Returns:
            One row per photograph, on the CPU.

        Raises:
            ImageFileError: A file cannot be read.
            ImageFormatError: A type, shape or range that `Photo` does not list, or too small.
        """
        single = isinstance(images, str | Path | Image.Image)
        if isinstance(images, np.ndarray | Tensor):
            single = images.ndim != 4
        photos = cast(Sequence[Photo], [images] if single else images)
        rows = [self._score_one(photo) for photo in photos]
        if not rows:
            raise ImageFormatError("images: expected at least one photograph, got none")
        scores, attributes = zip(*rows, strict=True)
        return QualityPrediction(torch.stack(scores), torch.stack(attributes))

    def _score_one(self, photo: Photo) -> tuple[Float[Tensor, ""], Float[Tensor, "5"]]:
        pixels = to_tensor(photo).to(self.device)
        if min(pixels.shape[1:]) < MIN_SIDE:
            raise ImageFormatError(f"a photograph of {tuple(pixels.shape[1:])} pixels is too small")
        protocol = self.card.protocol
        view = resize(pixels, [protocol.short_side], InterpolationMode.BICUBIC, antialias=True)
        crops = torch.stack(five_crop(view.clamp(0, 1), [protocol.crop, protocol.crop]))
        prediction = self.predict(crops)
        return prediction.score.mean().cpu(), prediction.attributes.mean(0).cpu()


def load_model(source: str | Path = "embedded", device: str | torch.device = "cpu") -> QualityModel:
    """Load a quality model with its card.

    Args:
        source: "embedded", or the `.safetensors` file of a checkpoint whose card lies beside it.
        device: Where it will run.

    Raises:
        CheckpointError: The checkpoint is missing or broken, or has no quality score.
    """
    path = WEIGHTS / "attiqa_mobilenetv2.safetensors" if source == "embedded" else Path(source)
    net, card = load_checkpoint(path)
    if not isinstance(net, QualityNet):
        raise CheckpointError(f"{path}: a pretrained {card.kind}; expected a fine-tuned QualityNet")
    return QualityModel(net, card, device)


def to_tensor(photo: Photo) -> Float[Tensor, "3 h w"]:
    """Convert a photograph in any accepted form to display RGB in [0, 1].

    Raises:
        ImageFileError: A file cannot be read.
        ImageFormatError: Another type, shape or range.
    """
    if isinstance(photo, str | Path):
        photo = read_photo(Path(photo))
    elif isinstance(photo, Image.Image):
        photo = np.asarray(ImageOps.exif_transpose(photo).convert("RGB"))
    if isinstance(photo, np.ndarray):
        photo = torch.from_numpy(np.array(photo)).movedim(-1, 0)
    if not isinstance(photo, Tensor) or photo.ndim != 3 or photo.shape[0] != 3:
        found = getattr(photo, "shape", type(photo).__name__)
        raise ImageFormatError(f"a photograph must be an RGB image; got {found}")
    if photo.dtype == torch.uint8:
        return photo.float() / 255
    if not photo.is_floating_point() or not (photo.min() >= 0 and photo.max() <= 1):
        low, high = photo.min().item(), photo.max().item()
        raise ImageFormatError(
            f"pixels must be uint8 or float in [0, 1]; got {photo.dtype} in [{low:g}, {high:g}]"
        )
    return photo.float()
