"""NIQE: how far the statistics of a picture are from those of pristine photographs.

No human opinion and no training on distortions is in it, which makes it a referee of another family
than a learned model. It says nothing of exposure and colour.

Source: Mittal, Soundararajan and Bovik, "Making a completely blind image quality analyzer" (IEEE
SPL 2013). The patches of the paper have 96 pixels; smaller ones suit previews, with a pristine
model fitted to photographs of that size.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from attiqa.checkpoints import write_atomically
from attiqa.errors import CheckpointError
from attiqa.model_sources import WEIGHTS
from attiqa.natural_scenes import luma, patch_statistics

PREVIEWS = WEIGHTS / "niqe-previews.safetensors"
"""Pristine model of photographs of 160 to 224 pixels."""

PAPER_PATCH = 96
SHARP = 0.75  # share of a photograph's sharpest patch that a pristine patch must exceed


@dataclass(frozen=True)
class PristineModel:
    """A multivariate Gaussian of the features of pristine patches.

    Attributes:
        mean: Of each feature.
        covariance: Of the features.
        patch: Side of the patches in pixels.
    """

    mean: Float64[np.ndarray, " f"]
    covariance: Float64[np.ndarray, "f f"]
    patch: int


def niqe(images: Float[Tensor, "b 3 h w"], model: PristineModel) -> Float[Tensor, " b"]:
    """Distance of pictures from the pristine model (Eq. 10); 0 is best, 2 to 5 is usual.

    Args:
        images: Display RGB in [0, 1], at least as large as a patch.
        model: Fitted to photographs of about that size.

    Returns:
        Infinity where fewer than two patches show anything.
    """
    features = patch_statistics(luma(images.detach()), model.patch).features.cpu().numpy()
    return torch.tensor(
        [_distance(patches[np.isfinite(patches).all(1)], model) for patches in features],
        dtype=images.dtype,
        device=images.device,
    )


def fit_pristine(photos: Iterable[Float[Tensor, "3 _ _"]], patch: int) -> PristineModel:
    """Fit a model to the sharp patches of pristine photographs.

    Args:
        photos: Display RGB in [0, 1], of any sizes.
        patch: Side of the patches in pixels, even.

    Raises:
        ValueError: The photographs have too few sharp patches for a covariance.
    """
    chosen = []
    for photo in photos:
        features, sharpness = (x[0] for x in patch_statistics(luma(photo[None]), patch))
        sharp = (sharpness > SHARP * sharpness.max()) & features.isfinite().all(1)
        chosen.append(features[sharp].cpu().numpy())
    rows = np.concatenate(chosen)
    if len(rows) <= rows.shape[1]:
        raise ValueError(f"photos: expected more than {rows.shape[1]} sharp patches, {len(rows)}")
    return PristineModel(rows.mean(0), np.cov(rows, rowvar=False), patch)


def save_pristine(path: Path, model: PristineModel) -> None:
    """Write a model as safetensors."""
    arrays = {"mean": model.mean, "covariance": model.covariance, "patch": np.array(model.patch)}
    write_atomically(path, save(arrays))


def load_pristine(path: Path = PREVIEWS) -> PristineModel:
    """Read what `save_pristine` wrote.

    Raises:
        CheckpointError: The file is missing or holds something else.
    """
    try:
        arrays = load(path.read_bytes())
        return PristineModel(arrays["mean"], arrays["covariance"], int(arrays["patch"]))
    except (OSError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a pristine model: {error!r}") from error


def load_released(path: Path) -> PristineModel:
    """Read the authors' model in the .npz form in which it is passed on.

    Args:
        path: Arrays `mu_pris_param` (1, 36) and `cov_pris_param` (36, 36), of 96-pixel patches.

    Raises:
        CheckpointError: The file is missing or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = arrays["mu_pris_param"].ravel(), arrays["cov_pris_param"]
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as a pristine model: {error!r}") from error
    return PristineModel(mean, covariance, PAPER_PATCH)


def _distance(patches: Float64[np.ndarray, "n f"], model: PristineModel) -> float:
    if len(patches) < 2:
        return float("inf")
    difference = patches.mean(0) - model.mean
    pooled = (np.cov(patches, rowvar=False) + model.covariance) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(pooled, hermitian=True) @ difference))
