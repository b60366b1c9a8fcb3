"""Parameters of a rendering as JSON: sidecars beside pictures, and presets.

    {"format": 1, "parameters": {"exposure": 0.5, "tint": {"value": -3, "unit": "Duv x 1000"}}}

Values are physical. What `render_many` writes beside a picture can be given back as a sidecar or a
preset, and renders the same picture.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isp_env.errors import IspEnvError
from isp_env.files import fitting, shown
from isp_env.isp.parameters import Parameter

log = logging.getLogger(__name__)

FORMAT = 1
OWN_KEYS = ("format", "parameters")


class SidecarError(IspEnvError):
    """A file with parameters cannot be used; the message names it and the parameter."""


def read_parameters(path: Path, known: Sequence[Parameter]) -> dict[str, float]:
    """Return physical values by name.

    Raises:
        SidecarError: The file is missing or no JSON of this format, or a value is outside its
            range.
    """
    try:
        content = json.loads(path.read_bytes())  # UTF-8, 16 or 32, with a mark or without
    except (OSError, ValueError, RecursionError) as error:
        raise SidecarError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise SidecarError(f'{path}: expected {{"format": {FORMAT}, "parameters": {{...}}}}')
    if content.get("format") != FORMAT:
        raise SidecarError(f"{path}: format {content.get('format')}, this version reads {FORMAT}")
    values = {
        name: value["value"] if isinstance(value, dict) and "value" in value else value
        for name, value in content["parameters"].items()
    }
    return check_parameters(values, known, str(path))


def check_parameters(
    values: Mapping[str, Any], known: Sequence[Parameter], where: str
) -> dict[str, float]:
    """Return the values as numbers inside their ranges.

    Raises:
        SidecarError: A name that no parameter has, a value that is no number, or one outside its
            range; `where` begins the message.
    """
    ranges = {p.name: p for p in known}
    for name, value in values.items():
        if name not in ranges:
            raise SidecarError(
                f"{where}: unknown parameter {name!r}; known: {', '.join(sorted(ranges))}"
            )
        parameter = ranges[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # a value that was written rounded may lie a little outside
        slack = 1e-6 * (parameter.high - parameter.low)
        if not is_number or not parameter.low - slack <= value <= parameter.high + slack:
            raise SidecarError(
                f"{where}: {name} must be a number from {parameter.low:g} to {parameter.high:g} "
                f"{parameter.unit}".rstrip()
                + f", got {value!r}"
            )
    return {
        name: min(max(float(value), ranges[name].low), ranges[name].high)
        for name, value in values.items()
    }


def find_sidecar(raw_path: Path, folder: Path | None) -> Path | None:
    """`NAME.dng.json` beside the RAW file, or in `folder`; None where there is none.

    JSON of other programs (Google Takeout, exiftool) has such names, too: it is ignored, with a
    warning. What has both of our keys is ours, damaged or not.

    Raises:
        OSError: It cannot be read.
    """
    candidate = (folder or raw_path.parent) / fitting(raw_path.name, ".json")
    if not candidate.is_file():
        return None
    if _is_ours(candidate.read_bytes()):
        return candidate
    log.warning("%s: ignored, because it is no sidecar of this program", shown(candidate))
    return None


def _is_ours(data: bytes) -> bool:
    """Tell whether JSON has our two keys at its top with our types, or broken JSON both."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return all(f'"{key}"'.encode() in data.replace(b"\0", b"") for key in OWN_KEYS)
    if not isinstance(content, dict):
        return False
    number, parameters = (content.get(key) for key in OWN_KEYS)
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    return is_whole and isinstance(parameters, dict)
