"""What a task may take, and what became of it.

The same for local worker processes (`isolated`) and for those of a cluster.
"""

import contextlib
import errno
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from isp_env.errors import IspEnvError

log = logging.getLogger(__name__)

T = TypeVar("T")
Kind = Literal["done", "error", "disk", "crash", "timeout", "memory"]
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Limits:
    """What a task may take.

    Attributes:
        memory: Bytes of address space beyond what the idle worker maps; Linux only. Not for CUDA,
            which maps far more than it uses.
        seconds: Wall time, after which the worker is killed.
    """

    memory: int = 1_500_000_000
    seconds: float = 120.0


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a task.

    Attributes:
        task: The task as it was given.
        value: What the function returned; None after a failure.
        failure: Why there is no value, for people to read; None after success.
        kind: "done", or which kind of failure; "disk" says that it is full or read-only.
        seconds: Wall time.
        peak_rss: Most bytes resident in the worker during the task, its libraries included; None
            where nobody knows (not Linux, or the worker died).
    """

    task: T
    value: Any
    failure: str | None
    kind: Kind
    seconds: float
    peak_rss: int | None = None


def attempt(function: Callable[[T], Any], task: T, limits: Limits) -> Outcome[T]:
    """Run one task in this process; enforces no limit, but tells which one was hit."""
    _forget_peak_rss()
    start = time.perf_counter()
    try:
        value, failure = function(task), {"kind": "done", "failure": None}
    except Exception as error:  # whatever it is, the other tasks must be done
        value, failure = None, failure_of(error, limits)
    seconds = time.perf_counter() - start
    return Outcome(task, value, seconds=seconds, peak_rss=peak_rss(os.getpid()), **failure)


def failure_of(error: Exception, limits: Limits) -> dict[str, Any]:
    """Return `kind` and `failure` of the outcome of a task that raised `error`."""
    chain: list[BaseException] = [error]
    while (earlier := chain[-1].__cause__ or chain[-1].__context__) and earlier not in chain:
        chain.append(earlier)
    if any(_is_out_of_memory(link) for link in chain):
        reason = f"needs more memory than the limit of {limits.memory / 1e6:.0f} MB"
        return {"kind": "memory", "failure": reason}
    if any(isinstance(link, OSError) and link.errno in DISK for link in chain):
        return {"kind": "disk", "failure": str(error)}
    if isinstance(error, (IspEnvError, OSError)):
        return {"kind": "error", "failure": getattr(error, "reason", None) or str(error)}
    log.error("unexpected error in a task", exc_info=error)
    return {"kind": "error", "failure": f"unexpected {type(error).__name__}: {error}"}


def _is_out_of_memory(error: BaseException) -> bool:
    rawpy = sys.modules.get("rawpy")  # whose errors there are only if it was imported
    return (
        isinstance(error, MemoryError)
        or (rawpy is not None and isinstance(error, rawpy.LibRawUnsufficientMemoryError))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))  # torch
    )


def peak_rss(process: int) -> int | None:
    """Most bytes resident since the start or the last `_forget_peak_rss`; None if not known."""
    if sys.platform != "linux":
        return None
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def _forget_peak_rss() -> None:
    with contextlib.suppress(OSError):  # without it the peak is that of the process's life
        if sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
