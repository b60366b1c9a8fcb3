"""How a model that is measured is written: one of our own, or one that others made.

| written | model |
|---|---|
| as `load_model` takes it | a network of this package |
| `pyiqa:NAME` | a no-reference metric of pyiqa, such as `pyiqa:dbcnn` |
| `table:FILE` | scores that another program wrote, a .csv or .xlsx file |
| `clip-iqa[:ARCHITECTURE[@PRETRAINED]]` | CLIP with the prompts "Good photo." and "Bad photo." |

Nothing here imports PyTorch: a misspelt name is refused at once.
"""

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.model.sources import HUB, weight_file

PYIQA = "pyiqa:"
TABLE = "table:"
CLIP_IQA = "clip-iqa"

OF_SETS = ("FID", "InceptionScore")
"""Networks of pyiqa that score a set of pictures, though its list calls them no-reference."""


class ClipSource(NamedTuple):
    """What `ClipTeacher` is made of."""

    architecture: str = "ViT-B-16-quickgelu"
    pretrained: str | None = "openai"


def is_foreign(source: str) -> bool:
    """Tell whether a model is none of our networks: it is measured as it is, and never trained."""
    return source.startswith((PYIQA, TABLE)) or source.partition(":")[0] == CLIP_IQA


def check_source(source: str) -> None:
    """Refuse a model that is not there; one of the hub is not looked for.

    Raises:
        CheckpointError: No such model, or pyiqa is not installed or has no such metric.
        DatasetLayoutError: No such table.
    """
    if source.startswith(TABLE):
        path = Path(source.removeprefix(TABLE))
        if not path.is_file():
            raise DatasetLayoutError(f"{source}: no such table of scores")
    elif source.startswith(PYIQA):
        metric_config(source)
    elif not is_foreign(source) and not source.startswith(HUB):
        weight_file(source)


def clip_source(source: str) -> ClipSource:
    """Read what stands behind `clip-iqa`; a repository of the hub has its own weights.

    >>> clip_source("clip-iqa:RN50-quickgelu@weights.pt")
    ClipSource(architecture='RN50-quickgelu', pretrained='weights.pt')
    >>> clip_source("clip-iqa")
    ClipSource(architecture='ViT-B-16-quickgelu', pretrained='openai')
    """
    architecture, _, pretrained = source.removeprefix(CLIP_IQA).removeprefix(":").partition("@")
    if not architecture:
        return ClipSource()
    return ClipSource(architecture, pretrained or ClipSource().pretrained)


def metric_config(source: str) -> Mapping[str, Any]:
    """Read what pyiqa says of one of its metrics; pyiqa itself is not imported.

    Args:
        source: `pyiqa:NAME`.

    Returns:
        Its "metric_opts", "metric_mode", and where it has it "lower_better".

    Raises:
        CheckpointError: pyiqa is not installed, or has no such no-reference metric.
    """
    name = source.removeprefix(PYIQA)
    configs = _configs(source)
    known = [
        key
        for key, config in configs.items()
        if config.get("metric_mode") == "NR" and config["metric_opts"]["type"] not in OF_SETS
    ]
    if name in configs and name not in known:
        raise CheckpointError(
            f"{source}: needs a reference or a set of pictures; expected one of {known}"
        )
    if name not in configs:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {PYIQA}{near[0]}? " if near else ""
        raise CheckpointError(f"{source}: pyiqa has no such metric; {hint}It has {known}")
    return configs[name]


def _configs(source: str) -> Mapping[str, Any]:
    """Run the one file of pyiqa that lists its metrics: the package itself imports PyTorch."""
    package = importlib.util.find_spec("pyiqa")
    if package is None or package.origin is None:
        raise CheckpointError(
            f"{source}: pyiqa is not installed; pip install 'attiqa[pyiqa]' (it is licensed for "
            "noncommercial use alone)"
        )
    path = Path(package.origin).with_name("default_model_configs.py")
    listed = importlib.util.spec_from_file_location("attiqa_pyiqa_configs", path)
    if listed is None or listed.loader is None or not path.is_file():
        raise CheckpointError(f"{path}: expected the list of pyiqa's metrics (pyiqa 0.1.16)")
    module = importlib.util.module_from_spec(listed)
    listed.loader.exec_module(module)
    return module.DEFAULT_CONFIGS
