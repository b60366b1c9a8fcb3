"""Activations of the quality regressor by name, a learnable one among them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attiqa.model.architecture import Activation


class GatedActivation(nn.Module):
    """Let each channel choose between a sigmoid and a leaky ReLU, all of them learnable.

    `w sigmoid(alpha x + beta) + (1 - w) max(x, 0) + (1 - w) a min(x, 0)` with `w = sigmoid(g)`: the
    adaptive gating of Yadav, Huy and Liu (Revisiting vision-language foundations for no-reference
    image quality assessment, WACV 2026, arXiv:2509.17374), which begins at g = 0, alpha = 1,
    beta = 0 and a = 1/4.

    Args:
        width: Number of channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(width))
        self.alpha = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))
        self.slope = nn.Parameter(torch.full((width,), 0.25))

    def forward(self, x: Float[Tensor, "b width"]) -> Float[Tensor, "b width"]:
        """Apply it to the channels of a batch."""
        sigmoid = torch.sigmoid(self.alpha * x + self.beta)
        leaky = torch.where(x >= 0, x, self.slope * x)
        return torch.lerp(leaky, sigmoid, torch.sigmoid(self.gate))


ACTIVATIONS: Mapping[Activation, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "relu": lambda width: nn.ReLU(),
        "gelu": lambda width: nn.GELU(),
        "sigmoid": lambda width: nn.Sigmoid(),
        "gated": GatedActivation,
    }
)
"""Makers of an activation for so many channels."""
