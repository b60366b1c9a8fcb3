"""What a result was computed with, for cards and records."""

import platform
from importlib.metadata import version

LIBRARIES = (
    *("attiqa", "torch", "torchvision", "timm", "open_clip_torch", "lightning-fabric"),
    *("numpy", "scipy", "kornia", "pillow"),
)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
