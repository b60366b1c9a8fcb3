"""Batches of tensors in named tuples, which may be nested: the same rows of all of them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch", bound=Tensor | tuple)


def each(function: Callable[..., Tensor], *batches: Batch) -> Batch:
    """Apply `function` on the tensors at the same place of each batch."""
    first: Any = batches[0]
    if isinstance(first, Tensor):
        return function(*batches)  # type: ignore[return-value]
    parts = zip(*batches, strict=True)  # type: ignore[call-overload]
    return type(first)(*(each(function, *part) for part in parts))


def take(batch: Batch, index: Tensor | slice) -> Batch:
    """Return the rows `index` of every tensor."""
    return each(lambda tensor: tensor[index], batch)


def join(batches: Sequence[Batch]) -> Batch:
    """Join one batch after the other."""
    return each(lambda *tensors: torch.cat(tensors), *batches)


def replaced(batch: Batch, mask: Tensor, fresh: Batch) -> Batch:
    """Copy `batch` with the rows of the boolean `mask` replaced by `fresh`, in order."""

    def merge(old: Tensor, new: Tensor) -> Tensor:
        merged = old.clone()
        merged[mask] = new
        return merged

    return each(merge, batch, fresh)
