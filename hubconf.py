"""Models for `torch.hub`: `torch.hub.load("OWNER/REPOSITORY", "attiqa")`, or from a local copy.

>>> model = torch.hub.load(".", "attiqa", source="local")
>>> model.score("photo.jpg").score  # doctest: +SKIP
"""

# every function without an underscore is an entry point
from attiqa.model.quality_model import QualityModel as _QualityModel
from attiqa.model.quality_model import load_model as _load_model

dependencies = ["torch", "torchvision", "timm", "safetensors", "kornia", "jaxtyping", "PIL"]


def attiqa(name: str = "embedded", device: str = "cpu") -> _QualityModel:
    """Load a quality model: photographs to quality and attributes, higher is better.

    Args:
        name: "embedded", the name of an embedded model, a `.safetensors` file with its card
            beside it, a folder with both, or `hf://owner/repository[@revision]`.
        device: Where it will run.

    Returns:
        The model: `score` takes photographs of any size, `predict` tensors in [0, 1].

    Raises:
        CheckpointError: The checkpoint is missing or broken, or has no quality score.
    """
    return _load_model(name, device)
