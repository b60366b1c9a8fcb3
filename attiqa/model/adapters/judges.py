"""The embedded quality models as judges of the tuning task: entry points of "isp_env.judges"."""

from typing import Any

import torch

from attiqa.model.quality_model import load_model


def attiqa_mini(device: str | torch.device = "cpu") -> Any:
    """Return the judge: it scores developments beside the anchor's of the same shot."""
    return load_model("attiqa-mini", device).for_reward()


def attiqa_referee(device: str | torch.device = "cpu") -> Any:
    """Return the referee: another backbone, taught by other photographs."""
    return load_model("attiqa-referee", device).for_reward()
