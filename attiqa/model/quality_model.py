"""Scores for photographs: load a model, then predict on tensors or score files.

>>> model = load_model()
>>> model.predict(torch.rand(2, 3, 64, 64)).score.shape
torch.Size([2])
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from attiqa.data.views import views
from attiqa.errors import CheckpointError, ImageFormatError
from attiqa.model.cards import Card
from attiqa.model.checkpoints import load_checkpoint
from attiqa.model.inputs import Photo, check_range, check_shape, checked, to_pixels
from attiqa.model.networks import (
    CropPredictions,
    IntervalPrediction,
    Perception,
    QualityNet,
    QualityPrediction,
)
from attiqa.model.quality_map import WindowGrid, quality_map
from attiqa.model.sizes import check_size
from attiqa.model.sources import WEIGHTS, weight_file

__all__ = ["WEIGHTS", "Photo", "QualityModel", "load_model"]

Model = TypeVar("Model", bound="QualityModel")


class QualityModel(nn.Module):
    """A trained model, ready to score: evaluation mode and frozen parameters, for good.

    Part of another module, it stays so whatever mode that module or any part of it is set to, under
    autocast too. `net` can be trained on by itself, once its parameters want gradients again: the
    next prediction of this model freezes it.

    Attributes:
        card: What the model was trained on, what its scores mean, how well it does.
        net: The network; takes display RGB and normalises it itself.
    """

    def __init__(self, net: QualityNet, card: Card, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.card = card
        net = net.to(device).to(memory_format=torch.channels_last)  # twice as fast on a CPU
        self.net = net.requires_grad_(False)
        self.eval()

    def train(self: Model, mode: bool = True) -> Model:
        """Stay in evaluation mode: statistics and scores must not follow the module around it."""
        return super().train(False)

    def requires_grad_(self: Model, requires_grad: bool = True) -> Model:
        """Stay frozen, whatever is asked for."""
        return super().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.attribute_mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: what is computed in."""
        return self.net.attribute_mean.dtype

    def predict(self, images: Float[Tensor, "b 3 h w"]) -> QualityPrediction:
        """Score images as they are: nothing is resized or cropped.

        Differentiable with respect to the images; an image scores the same in any batch, and an
        empty batch has an empty prediction. Images of any floating-point type are converted to the
        weights' one, which the prediction has, too.

        This is the inner loop of a reward, and looks at the values as little as it can: NaN in an
        image gives NaN for its score and attributes, and values somewhat outside [0, 1], as an
        optimiser's step makes them, are scored as they are. On a CPU, where it costs less than a
        thousandth of the time, the scale of 8 bits is refused; elsewhere it would cost a wait for
        the device, and is scored as if it meant something. `score_whole` and `score` check all.

        Args:
            images: Display RGB (sRGB) in [0, 1], at least 32 x 32 pixels, on the model's device.

        Raises:
            ImageFormatError: Another shape, too small, integers, or on a CPU the scale of 8 bits.
        """
        images = checked(images, self.dtype)
        if not len(images):
            return QualityPrediction(*self._no_perception(images)[:2])
        return QualityPrediction(*self._perceive(images)[:2])

    forward = predict

    def perceive(self, images: Float[Tensor, "b 3 h w"]) -> Perception:
        """Predict as `predict` does, and tell from which features: for agents that learn from them.

        Args:
            images: As in `predict`, with the same checks.

        Raises:
            ImageFormatError: As in `predict`.
        """
        images = checked(images, self.dtype)
        if not len(images):
            return self._no_perception(images)
        return self._perceive(images)

    def see(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n"]:
        """Look at images once, for any number of comparisons by `compare`; differentiable.

        Args:
            images: As in `predict`, with the same checks; best previews of 128 to 256 pixels.

        Raises:
            ImageFormatError: As in `predict`.
        """
        images = checked(images, self.dtype)
        self._freeze()
        with torch.autocast(images.device.type, enabled=False):
            return self.net.see(images)

    def compare(
        self, seen: Float[Tensor, "b n"], reference: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b a"]]:
        """Compare developments with a reference of the same shots; differentiable.

        Args:
            seen: What `see` says of the developments.
            reference: What it says of a prior's developments, which tell more, or of the neutral
                renderings.

        Returns:
            Nearness to a good development of the shot: the negative of the predicted mean CIEDE2000
            to it; and the attributes of `predict`.

        Raises:
            CheckpointError: The model has not learned to compare developments.
        """
        if not self.net.architecture.development_features:
            raise CheckpointError(
                f"{self.card.name}: scores photographs, and has not learned to compare developments"
            )
        self._freeze()
        with torch.autocast(seen.device.type, enabled=False):
            distance, perception = self.net.compare(seen, reference)
        return -distance, perception.attributes

    def for_reward(self) -> "QualityModel | Callable[[Tensor], Perception]":
        """Return this model as a judge: itself where it compares developments, else `perceive`."""
        return self if self.net.architecture.development_features else self.perceive

    def nearness(
        self, images: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, " b"]:
        """Compare developments with references at once (see `compare`)."""
        return self.compare(self.see(images), self.see(reference))[0]

    def _perceive(self, images: Float[Tensor, "b 3 h w"]) -> Perception:
        self._freeze()
        with torch.autocast(images.device.type, enabled=False):
            return self.net.perceive(images)

    def _freeze(self) -> None:
        """Bring the network to how it was trained: others may have set its modules one by one."""
        for module in self.net.modules():
            if module.training:
                module.training = False
        for weight in self.net.parameters():
            if weight.requires_grad:
                weight.requires_grad_(False)

    def score_whole(self, photos: Float[Tensor, "b 3 h w"]) -> QualityPrediction:
        """Score whole photographs of one size by the card's protocol; differentiable.

        Args:
            photos: Display RGB (sRGB) in [0, 1], on the model's device.

        Raises:
            ImageFormatError: Another shape, too small, too long, not finite or out of range.
        """
        check_shape(photos)
        check_size(photos.shape[-2:])
        if not len(photos):
            return self.predict(photos)
        check_range(photos)
        photos = photos.to(torch.promote_types(self.dtype, torch.float32))  # half is not resized
        return self.score_views(views(photos, self.card.protocol))

    def score_views(self, crops: Float[Tensor, "b k 3 c c"]) -> QualityPrediction:
        """Average the predictions for the k crops of each photograph.

        Raises:
            ImageFormatError: As in `predict`.
        """
        seen = self.score_crops(crops)
        return QualityPrediction(seen.score.mean(1), seen.attributes.mean(1))

    def score_crops(self, crops: Float[Tensor, "b k 3 c c"]) -> CropPredictions:
        """Predict each of the k crops of each photograph.

        Raises:
            ImageFormatError: As in `predict`.
        """
        prediction = self.predict(crops.flatten(0, 1))
        return CropPredictions(
            prediction.score.unflatten(0, crops.shape[:2]),
            prediction.attributes.unflatten(0, crops.shape[:2]),
        )

    def score(self, images: Photo | Sequence[Photo]) -> QualityPrediction:
        """Score whole photographs of any size by the card's protocol, one after the other.

        The photograph is turned upright (EXIF), resized at its short side, and the predictions for
        its four corners and centre are averaged, over all scales of the protocol.
        `attiqa.data.photos.decoding` says how files are read.

        Args:
            images: One photograph or many; an array or tensor of four dimensions is many.

        Returns:
            One row per photograph, on the CPU; none for an empty list.

        Raises:
            ImageFileError: A file cannot be read.
            ImageFormatError: A type, shape or range that `Photo` does not list, too small or long.
        """
        score, attributes, _ = self._score_each(images)
        return QualityPrediction(score, attributes)

    def score_with_interval(self, images: Photo | Sequence[Photo]) -> IntervalPrediction:
        """Score as `score` does; add the interval that the card's uncertainty gives.

        Args:
            images: As in `score`.

        Raises:
            CheckpointError: Nobody has calibrated the uncertainty of these weights.
            ImageFileError: As in `score`.
            ImageFormatError: As in `score`.
        """
        uncertainty, scale = self.card.calibrated()
        score, attributes, spread = self._score_each(images)
        pairs = zip(score.tolist(), spread.tolist(), strict=True)
        ends = [uncertainty.interval(*pair, scale.low, scale.high) for pair in pairs]
        low, high = torch.tensor(ends, dtype=score.dtype).reshape(-1, 2).T
        return IntervalPrediction(score, attributes, spread, low, high)

    @torch.no_grad()
    def quality_map(self, image: Photo, grid: WindowGrid | None = None) -> Float[np.ndarray, "h w"]:
        """Say where in a photograph the quality is: scores of overlapping windows.

        Args:
            image: One photograph, as in `score`.
            grid: The windows; chosen by the card's protocol if None.

        Returns:
            A score for each pixel of the photograph, resized to the grid's short side.

        Raises:
            ImageFileError: As in `score`.
            ImageFormatError: As in `score`.
        """

        def predict(windows: np.ndarray) -> np.ndarray:
            images = torch.from_numpy(windows).to(self.device)
            return self.predict(images).score.float().cpu().numpy()

        pixels = to_pixels(image).movedim(0, -1).cpu().numpy()
        return quality_map(predict, pixels, grid or WindowGrid.of(self.card.protocol)).scores

    @torch.no_grad()
    def _score_each(
        self, images: Photo | Sequence[Photo]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b a"], Float[Tensor, " b"]]:
        """Score photographs one by one: means over the crops, and the scores' deviation."""
        single = isinstance(images, str | Path | Image.Image)
        if not isinstance(images, Iterable) and not single:
            raise ImageFormatError(
                f"expected a photograph or a sequence of them; got {type(images).__name__}"
            )
        if isinstance(images, np.ndarray | Tensor):
            single = images.ndim != 4
        photos = cast(Sequence[Photo], [images] if single else images)
        rows = [self._score_one(photo) for photo in photos]
        if not rows:
            nothing = self._no_perception(torch.empty(0, 3, 1, 1, dtype=self.dtype))
            return nothing.score, nothing.attributes, nothing.score
        score, attributes, spread = map(torch.cat, zip(*rows, strict=True))
        return score, attributes, spread

    def _no_perception(self, images: Float[Tensor, "0 3 h w"]) -> Perception:
        """Perceive nothing in no images: not every backbone does.

        It is still a function of the images, as gradients ask for.
        """
        architecture = self.net.architecture
        attributes = len(architecture.attributes)
        nothing = images.flatten(1).sum(1)
        return Perception(
            nothing,
            nothing[:, None].expand(-1, attributes),
            nothing[:, None].expand(-1, attributes * architecture.head_features),
        )

    def _score_one(self, photo: Photo) -> tuple[Tensor, Tensor, Tensor]:
        pixels = to_pixels(photo).to(self.device)
        seen = self.score_crops(views(pixels[None], self.card.protocol))
        spread, score = torch.std_mean(seen.score, dim=1, correction=0)
        return score.cpu(), seen.attributes.mean(1).cpu(), spread.cpu()


def load_model(source: str | Path = "embedded", device: str | torch.device = "cpu") -> QualityModel:
    """Load a quality model with its card.

    Args:
        source: "embedded", the name of an embedded model, a `.safetensors` file whose card lies
            beside it, a folder with both, or `hf://owner/repository[@revision]`.
        device: Where it will run.

    Raises:
        CheckpointError: The checkpoint is missing or broken, or has no quality score.
    """
    path = weight_file(source)
    net, card = load_checkpoint(path)
    if not isinstance(net, QualityNet) or card.scale is None:
        raise CheckpointError(f"{path}: a pretrained {card.kind}; expected a fine-tuned QualityNet")
    return QualityModel(net, card, device)
