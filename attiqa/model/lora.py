"""Low-rank adaptation: a backbone learns through few numbers beside its own weights.

Source: LoRA (Hu et al., ICLR 2022), Eq. 3, of every linear layer. Merged, it is a plain network
again, with the same names and as fast as before.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from attiqa.model.networks import BackboneError


class LowRank(nn.Module):
    """A weight plus (alpha / r) B A, where A is Gaussian at first, and B zero.

    The paper does not state A's deviation; with 1 / sqrt(n), A x is of the size of x's entries.
    """

    def __init__(
        self, weight: Float[Tensor, "m n"], rank: int, alpha: float, random: torch.Generator
    ) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.scale = alpha / rank
        self.a = nn.Parameter(
            torch.randn(rank, inputs, generator=random).to(weight) / inputs**0.5  # (r, n)
        )
        self.b = nn.Parameter(weight.new_zeros(outputs, rank))  # (m, r)

    def forward(self, weight: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
        """Compute the weight that the layer has now."""
        return weight + self.scale * (self.b @ self.a)


def add_lora(backbone: nn.Module, rank: int, alpha: float, random: torch.Generator) -> None:
    """Freeze a backbone but for a low-rank addition to the weight of each linear layer.

    It computes what it did until it learns. Statistics of BatchNorm are no parameters: they move on
    in training mode.

    Args:
        backbone: Of timm; changed in place.
        rank: r, from 1.
        alpha: The addition is multiplied by alpha / r.
        random: Of the CPU; draws A.

    Raises:
        BackboneError: It has no linear layer.
    """
    layers = _linear_layers(backbone)
    if not layers:
        name = cast(dict[str, Any], backbone.pretrained_cfg)["architecture"]
        raise BackboneError(
            f"{name}: lora_rank {rank} needs linear layers, as transformers have them, and it has "
            "none; 0 lets the whole backbone learn"
        )
    backbone.requires_grad_(False)
    for layer in layers:
        addition = LowRank(layer.weight, rank, alpha, random)
        parametrize.register_parametrization(layer, "weight", addition)


def merge_lora(backbone: nn.Module) -> None:
    """Make the additions part of the weights: a plain backbone, all of which may learn again."""
    for layer in _linear_layers(backbone):
        weight, bias = layer.weight.detach(), layer.bias
        # remove_parametrizations would take the weight out of a class that deep copies share
        layer.__class__ = parametrize.type_before_parametrizations(layer)
        del layer.parametrizations, layer.bias
        layer.register_parameter("weight", nn.Parameter(weight))
        layer.register_parameter(
            "bias", bias
        )  # after the weight: an optimizer's state has no names
    backbone.requires_grad_(True)


def _linear_layers(backbone: nn.Module) -> list[nn.Linear]:
    return [module for module in backbone.modules() if isinstance(module, nn.Linear)]
