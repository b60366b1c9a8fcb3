"""Pages that need no server: parts that lie beside a module, filled into one file of HTML."""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any


def part(package: str, name: str) -> str:
    """Read a file that lies beside a package's modules."""
    return (files(package) / name).read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Put the parts into a template in the places of their names, `{{name}}`, as they are."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def embedded_json(data: Mapping[str, Any]) -> str:
    """Return JSON that can stand in a script element: ASCII, without "<" and "&".

    Raises:
        ValueError: A number is infinite or none, which JSON does not know.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
