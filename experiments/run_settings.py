"""Settings of a run as they are written down beside its results."""

from pathlib import Path
from typing import Any


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings without paths, which mean something on one machine alone."""
    return {
        name: without_paths(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if not isinstance(value, Path)
    }
