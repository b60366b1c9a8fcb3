"""One mathematics for numpy and torch: gradients and GPUs by torch, rendering without importing it.

Functions of this kind take the namespace of their arguments, `xp = namespace(x)`, and use what both
libraries have under one name (the Python array API standard, 2024.12): `where`, `clip`, `stack`,
`concat`, `sqrt`, and the operators.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor; which, the caller decides for all arguments alike."""


def namespace(array: Array) -> ModuleType:
    """Return numpy, or torch for tensors; nothing is imported."""
    return np if isinstance(array, (np.ndarray, np.generic)) else sys.modules["torch"]


def constant(values: Any, like: Array) -> Array:
    """Return numbers as an array of the library, the type and the device of `like`."""
    if namespace(like) is np:
        return np.asarray(values, like.dtype)
    return like.new_tensor(values)


def held(array: Array) -> Array:
    """Return the same values, through which no gradient flows."""
    return array if namespace(array) is np else array.detach()


def to_numpy(array: Array) -> np.ndarray:
    """Return the values as a numpy array, from whichever device."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
