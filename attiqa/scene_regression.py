"""A classical quality score: statistics of natural scenes, regressed to human opinion.

No network is in it: what fools a network's features need not fool this one. The features are those
of BRISQUE for luma and two opponent colours, and the mean and deviation of each; the regression is
kernel ridge with a Gaussian kernel.

Source: `attiqa.natural_scenes`; Saunders, Gammerman and Vovk, "Ridge regression learning algorithm
in dual variables" (ICML 1998).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from attiqa.checkpoints import write_atomically
from attiqa.errors import CheckpointError
from attiqa.model_sources import WEIGHTS
from attiqa.natural_scenes import luma, picture_statistics

EMBEDDED = WEIGHTS / "natural-scenes.safetensors"
"""Fitted to previews of photographs of BIQ2021."""


@dataclass(frozen=True)
class SceneRegression:
    """Kernel ridge regression from features to a mean opinion score.

    Attributes:
        mean: Of each feature over the training photographs.
        deviation: Of each feature.
        support: Standardised features of the training photographs.
        weights: Of the kernels about them.
        offset: Mean score.
        gamma: The kernel is exp(-gamma * mean squared difference of the features).
    """

    mean: Float32[np.ndarray, " f"]
    deviation: Float32[np.ndarray, " f"]
    support: Float[np.ndarray, "n f"]
    weights: Float32[np.ndarray, " n"]
    offset: float
    gamma: float

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Score display RGB in [0, 1]; higher is better, on the scale of the training scores."""
        scores = self.predict(scene_features(images.detach()).cpu().numpy())
        return torch.from_numpy(scores).to(images)

    def predict(self, features: Float[np.ndarray, "b f"]) -> Float[np.ndarray, " b"]:
        """Scores from the features; flat pictures, which have none, get the lowest possible: 0."""
        standard = (features - self.mean) / self.deviation
        scores = _kernel(standard, self.support, self.gamma) @ self.weights + self.offset
        return np.where(np.isfinite(features).all(1), scores, 0.0)


def scene_features(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 114"]:
    """Features of display RGB: 36 of each plane, then the planes' means and deviations."""
    red, green, blue = (255 * images.double()).split(1, dim=1)
    planes = [luma(images), red - green, (red + green) / 2 - blue]
    moments = [f(plane) for f in (_mean, _deviation) for plane in planes]
    return torch.cat([*(picture_statistics(plane) for plane in planes), *moments], dim=1)


def fit_regression(
    features: Float[np.ndarray, "n f"],
    scores: Float[np.ndarray, " n"],
    gamma: float,
    ridge: float,
) -> SceneRegression:
    """Fit a regression.

    Args:
        features: Of the training photographs.
        scores: Their mean opinion scores.
        gamma: Of the kernel.
        ridge: Weight of the squared norm of the function.
    """
    kept = np.isfinite(features).all(1)
    features, scores = features[kept], scores[kept]
    mean, deviation = features.mean(0), features.std(0) + 1e-9
    # as they will be stored
    support = ((features - mean) / deviation).astype(np.float16)
    kernel = _kernel(support, support, gamma)
    kernel[np.diag_indices_from(kernel)] += ridge
    weights = np.linalg.solve(kernel, scores - scores.mean())
    return SceneRegression(
        mean.astype(np.float32),
        deviation.astype(np.float32),
        support,
        weights.astype(np.float32),
        float(scores.mean()),
        gamma,
    )


def save_regression(path: Path, model: SceneRegression) -> None:
    """Write a model as safetensors."""
    write_atomically(path, save({name: np.array(value) for name, value in asdict(model).items()}))


def load_regression(path: Path = EMBEDDED) -> SceneRegression:
    """Read what `save_regression` wrote.

    Raises:
        CheckpointError: The file is missing or holds something else.
    """
    try:
        arrays = load(path.read_bytes())
        offset, gamma = float(arrays.pop("offset")), float(arrays.pop("gamma"))
        return SceneRegression(**arrays, offset=offset, gamma=gamma)
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a regression: {error!r}") from error


def _kernel(
    first: Float[np.ndarray, "n f"], second: Float[np.ndarray, "m f"], gamma: float
) -> Float[np.ndarray, "n m"]:
    first, second = first.astype(np.float64), second.astype(np.float64)
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.exp(-gamma * squares.clip(min=0) / first.shape[1])


def _mean(plane: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1"]:
    return plane.mean((2, 3))


def _deviation(plane: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1"]:
    return plane.std((2, 3))
