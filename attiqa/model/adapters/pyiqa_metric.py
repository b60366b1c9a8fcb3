"""A quality model as a metric of pyiqa: the entry point of "pyiqa.archs".

>>> register()  # doctest: +SKIP
>>> pyiqa.create_metric("attiqa")(images)  # doctest: +SKIP

pyiqa loads its plugins when it first looks a network up. It refuses names that are not in its list
of metrics before it does so, so that `register` must be called if "attiqa" is the first metric that
a program creates.
"""

from importlib import import_module

from jaxtyping import Float
from torch import Tensor, nn

from attiqa.model.cards import read_card
from attiqa.model.quality_model import load_model
from attiqa.model.sources import weight_file

NAME = "attiqa"
"""Of the metric in pyiqa."""


class ATTIQA(nn.Module):
    """A quality model as pyiqa calls its networks.

    Args:
        source: What `load_model` takes.
    """

    def __init__(self, source: str = "embedded") -> None:
        super().__init__()
        self.model = load_model(source)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1"]:
        """Score whole images by the protocol of the model's card, on the card's scale.

        Args:
            images: Display RGB in [0, 1]; pyiqa lets 1e-6 more pass.

        Raises:
            ImageFormatError: Too small, too long or not finite.
        """
        return self.model.score_whole(images.clamp(0, 1)).score[:, None]


def register() -> None:
    """Add the network and the metric "attiqa" to pyiqa; again where it was done before."""
    scale = read_card(weight_file("embedded").with_suffix(".json")).scale
    assert scale is not None  # of an embedded model
    registry = import_module("pyiqa.utils.registry").ARCH_REGISTRY
    registry.register(ATTIQA, override=True)
    import_module("pyiqa.default_model_configs").DEFAULT_CONFIGS[NAME] = {
        "metric_opts": {"type": ATTIQA.__name__},
        "metric_mode": "NR",
        "score_range": f"~{scale.low:g}, ~{scale.high:g}",
    }
