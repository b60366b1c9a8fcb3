"""What a result was computed with, for cards and records."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

LIBRARIES = (
    *("attiqa", "torch", "torchvision", "timm", "open_clip_torch", "lightning-fabric"),
    *("numpy", "scipy", "kornia", "pillow"),
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that can change a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def code_hash(modules: tuple[str, ...]) -> str:
    """Hash modules of this package, as "data/views", to 16 digits: two commits of one version."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update((Path(__file__).parents[1] / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]
