"""Scenes of a preview set as a batch of shots."""

import numpy as np
import torch
from jaxtyping import Int

from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.random_shots import Shots


def shots_of(
    scenes: PreviewSet, rows: Int[np.ndarray, " n"], device: str | torch.device = "cpu"
) -> Shots:
    """Return the scenes `rows`; without truths, the truth has no rows."""
    linear, noise = scenes.images(rows, device)
    return Shots(
        linear,
        noise,
        torch.from_numpy(np.array(scenes.as_shot_neutral[rows])).to(device),
        torch.from_numpy(np.array(scenes.iso[rows])).to(device),
        linear[:, :, :0] if scenes.truth is None else scenes.truths(rows, device),
    )
