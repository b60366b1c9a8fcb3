"""What the tuning task tells people and programs beside the observation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from isp_env.task.reward import LEASH, Potential


def describe(
    scene: Int[np.ndarray, " n"],
    theta: Float[Tensor, "n d"],
    parameters: Mapping[str, Float[Tensor, " n"]],
    potential: Potential,
) -> dict[str, Any]:
    """Return Gymnasium's batched info: copies, and a mask of the rows that have it for each entry.

    Args:
        scene: Rows of the preview set.
        theta: Settings of the knobs.
        parameters: The same in physical units, by name.
        potential: Of the pictures.
    """
    lost = dict(zip(LEASH, potential.leash.unbind(1), strict=True))
    info = {
        "scene": scene.copy(),
        "theta": _copy(theta),
        "parameters": {name: _copy(value) for name, value in parameters.items()},
        "score": _copy(potential.score),
        "attributes": _copy(potential.attributes),
        "potential": _copy(potential.value),
        "clipping": _copy(potential.clipping),
        "chroma": _copy(potential.chroma),
        "leash": {name: _copy(value) for name, value in lost.items()},
    }
    everyone = np.ones(len(scene), bool)
    return info | {f"_{name}": everyone for name in info}


def row_of(batch: dict[str, Any], row: int) -> dict[str, Any]:
    """Take one row of a batched observation or info, without the masks."""
    return {
        key: row_of(value, row) if isinstance(value, dict) else value[row]
        for key, value in batch.items()
        if not key.startswith("_")
    }


def _copy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()
