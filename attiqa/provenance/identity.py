"""What tells one training from another besides its settings: photographs, labels, weights, teacher.

A run continues from a state of its own alone. Hashes are SHA-256, shortened to 16 digits; all are
cheap beside a step of training, and need no photograph decoded.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from attiqa.data.crops import Photos
from attiqa.data.photo_folder import PhotoFiles
from attiqa.teachers.teacher import AttributeTeacher

DIGITS = 16


def photos_hash(photos: Photos) -> str:
    """Hash which photographs there are, and in which order.

    Of files, name and size in bytes, so that a data set may move to another folder; of pixels in
    memory, shape and middle row.
    """
    digest = hashlib.sha256()
    if isinstance(photos, PhotoFiles):
        for path in photos.paths:
            digest.update(f"{path.name}\0{path.stat().st_size}\n".encode(errors="surrogateescape"))
    else:
        for index in range(len(photos)):
            photo = photos[index]
            digest.update(str(photo.shape).encode())
            digest.update(np.ascontiguousarray(photo[len(photo) // 2]).tobytes())
    return digest.hexdigest()[:DIGITS]


def array_hash(values: np.ndarray) -> str:
    """Hash numbers and their shape."""
    digest = hashlib.sha256(str((values.shape, values.dtype.str)).encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:DIGITS]


def network_hash(net: nn.Module) -> str:
    """Hash the names, shapes and values of all weights, and the architecture where a net has one.

    Two architectures may have the same weights and still differ, in the input's normalisation.
    """
    digest = hashlib.sha256(repr(getattr(net, "architecture", None)).encode())
    for name, value in net.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        content = value.detach().cpu().flatten().contiguous().view(torch.uint8)  # bfloat16, too
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()[:DIGITS]


def teacher_record(teacher: AttributeTeacher | None) -> Any:
    """Say who labels: all that a teacher tells of itself, at least its name."""
    if teacher is None:
        return None
    describe = getattr(teacher, "describe", None)
    return describe() if describe else teacher.name


def qualified_name(function: Callable[..., Any]) -> str:
    """Name a function, or the class of a callable object, by its module and place in it."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List where two nested JSON objects differ: "schedule.seed was 0, now 1"."""
    found, expected = _flat(before), _flat(now)
    return [
        f"{key} was {found.get(key)!r}, now {expected.get(key)!r}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Name each leaf of a nested JSON object by the path to it."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    dotted = f"{prefix}." if prefix else ""
    return {k: v for key, sub in tree.items() for k, v in _flat(sub, f"{dotted}{key}").items()}
