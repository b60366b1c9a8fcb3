"""Exponential moving average of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Moving average of all parameters and floating-point buffers (BatchNorm statistics included).

    After update t = 1, 2, ... the average is `d_t average + (1 - d_t) weights` with
    `d_t = min(decay, (1 + t) / (10 + t))`: early weights are soon forgotten (the schedule of
    TensorFlow's ExponentialMovingAverage). Integer buffers are copied.

    Args:
        net: Where the average starts.
        decay: Share of the average that an update keeps, below 1.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {name: value.clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move towards the weights of now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self.tensors[name].lerp_(value, 1 - decay)
            else:
                self.tensors[name].copy_(value)

    @contextmanager
    def applied(self, net: nn.Module) -> Iterator[None]:
        """Let a network have the average instead of its own weights for a while."""
        own = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(self.tensors)
        try:
            yield
        finally:
            net.load_state_dict(own)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """Return the state that `load_state_dict` takes."""
        return {"updates": self.updates, "tensors": self.tensors}

    def load_state_dict(self, state: dict) -> None:
        """Continue where another average was."""
        self.updates = state["updates"]
        for name, value in state["tensors"].items():
            self.tensors[name].copy_(value)
