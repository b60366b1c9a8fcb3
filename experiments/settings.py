"""Settings of scripts: read from the command line, written down beside results."""

import sys
from pathlib import Path
from typing import Any, TypeVar

S = TypeVar("S")


def parsed(settings: type[S], program: str | None = None) -> S:
    """Read settings from the command line; `--version` prints the version and ends the program.

    Args:
        settings: A dataclass.
        program: Name in messages; the script's if None.
    """
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        print(f"attiqa {version('attiqa')}")
        sys.exit(0)
    import tyro  # slow: a script's worker processes, which import the script, do without

    return tyro.cli(settings, prog=program)


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings without paths, which mean something on one machine alone."""
    return {
        name: without_paths(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if not isinstance(value, Path)
    }
