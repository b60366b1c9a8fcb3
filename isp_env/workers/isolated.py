"""A function run on many tasks in processes that may die: every task gets exactly one outcome.

Decoders of camera files are C code fed with other people's bytes. Each worker is one process behind
a pipe, with a limit on its memory and on the time for each task; a worker that crashes, hangs or
takes too much costs its own task and is replaced, and all other tasks are done. (A
`concurrent.futures.ProcessPoolExecutor` gives up on everything when one process dies.)
"""

import contextlib
import ctypes
import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from logging.handlers import QueueHandler
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any, TypeVar

from isp_env.errors import IspEnvError
from isp_env.workers.outcomes import Kind, Limits, Outcome, attempt, failure_of, peak_rss

if sys.platform == "linux":
    import fcntl
    import resource

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

START_SECONDS = 300.0  # for a worker's imports
START_ATTEMPTS = 3  # for one task, before the run is given up
READY = "ready"
NO_TASK = object()


class WorkerError(IspEnvError):
    """Worker processes end before they take their first task."""


def run_isolated(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    workers: int,
    limits: Limits,
    preload: Sequence[str] = (),
) -> Generator[Outcome[T], None, None]:
    """Apply `function` to every task, each in one of `workers` isolated processes.

    Outcomes come as they finish. A task is taken from the iterable when a worker is free for it,
    and never run twice. Workers compute with one thread; what they log is logged here. They are
    killed when the iterator is closed and when this process ends, however it ends.

    Args:
        function: A function of an importable module, or a partial of one. What it raises fails its
            task: errors of this package and `OSError` with their reason, anything else as
            "unexpected ..." with the traceback in the log.
        tasks: Picklable values.
        workers: Number of processes. 0 runs the tasks in this process without limits, to debug.
        limits: Memory and time of a task.
        preload: Modules that the tasks need and that are slow to import: workers start with them,
            and what they map is not counted as a task's memory.

    Raises:
        ValueError: The number of workers is negative.
        WorkerError: Workers do not start, for example because `function` cannot be imported.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    tasks = iter(tasks)
    if workers == 0:
        for task in tasks:
            yield attempt(function, task, limits)
        return
    try:
        first = next(tasks)
    except StopIteration:  # no process is started
        return
    tasks = chain([first], tasks)
    if sys.platform != "linux":
        log.warning("workers have no memory limit on %s", sys.platform)
    context = _context(function, preload)
    seats = [_Seat(context, function, limits, tuple(preload)) for _ in range(workers)]
    outcomes: list[Outcome[T]] = []
    try:
        while True:
            for seat in seats:
                if seat.task is NO_TASK and (task := next(tasks, NO_TASK)) is not NO_TASK:
                    seat.take(task)
            yield from outcomes
            busy = [seat for seat in seats if seat.task is not NO_TASK]
            if not busy:
                return
            outcomes = [outcome for seat in _wait(busy) if (outcome := seat.advance()) is not None]
    finally:
        for seat in seats:
            seat.empty()


def _context(function: Callable, preload: Sequence[str]) -> BaseContext:
    """Return processes that never inherit this one's threads and locks.

    On Linux they are forked from a server that has imported the slow modules once, so that a worker
    is replaced in a tenth of a second; the first run's modules are those of the whole process.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    while isinstance(function, partial):
        function = function.func
    start_fork_server([function.__module__, *preload])
    return multiprocessing.get_context("forkserver")


def start_fork_server(modules: Sequence[str]) -> None:
    """Start the server that workers are forked from, if it is not there; it imports `modules`.

    It does so while this process goes on: a command that knows that it will need workers calls
    this first of all. Ctrl-C, which the terminal sends to the server, too, is this process's.
    """
    if sys.platform != "linux":
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *modules])
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by what is started
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


class _Seat:
    """A place for one worker: its process, our end of the pipe, and the task it is at."""

    def __init__(
        self, context: BaseContext, function: Callable, limits: Limits, preload: tuple[str, ...]
    ):
        self.start = partial(self._start, context, function, limits, preload)
        self.limits = limits
        self.task: Any = NO_TASK
        self.process: Any = None

    def take(self, task: Any) -> None:
        """Put a task to the worker; there is one soon if there is none yet."""
        self.task, self.attempts = task, 0
        if self.process is None:
            self.start()
        else:
            self._send_task()

    def advance(self) -> Outcome | None:
        """Handle what the worker says, its death or the end of its time; a finished task's outcome.

        Raises:
            WorkerError: The worker died again and again before it took the task.
        """
        try:
            if not self.connection.poll():
                return self._overdue() if time.monotonic() >= self.deadline else None
            message = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # of a dying process
            return self._died()
        if message == READY:
            self._send_task()
            return None
        if isinstance(message, logging.LogRecord):
            logger = logging.getLogger(message.name)
            if logger.isEnabledFor(message.levelno):
                logger.handle(message)
            return None
        outcome, worn = message
        if worn:
            self.empty()
        task, self.task = self.task, NO_TASK
        return replace(outcome, task=task)

    def empty(self) -> None:
        """Kill the worker, if there is one, and forget it."""
        if self.process is None:
            return
        if self.process.exitcode is None:
            self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()
        self.process = None

    def _start(
        self, context: Any, function: Callable, limits: Limits, preload: tuple[str, ...]
    ) -> None:
        self.connection, theirs = context.Pipe()
        arguments = (function, limits, preload, theirs, logging.getLogger().getEffectiveLevel())
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.has_task = False
        self.deadline = time.monotonic() + START_SECONDS

    def _send_task(self) -> None:
        self.began = time.monotonic()
        self.deadline = self.began + self.limits.seconds
        try:
            self.connection.send(self.task)
            self.has_task = True
        except OSError:  # it is dead already; `advance` finds that out
            self.has_task = False

    def _died(self) -> Outcome | None:
        self.process.join(5)
        status = self.process.exitcode
        self.empty()
        if status is None:
            reason = "the worker closed its pipe"
        elif status < 0:
            reason = f"the worker was killed by {signal.Signals(-status).name}"
        else:
            reason = f"the worker ended with exit status {status}"
        return self._fail("crash", reason) if self.has_task else self._start_again(reason)

    def _overdue(self) -> Outcome | None:
        peak = peak_rss(self.process.pid)
        self.empty()
        if not self.has_task:
            return self._start_again(f"the worker was not ready after {START_SECONDS:g} s")
        return self._fail("timeout", f"not done after {self.limits.seconds:g} s", peak)

    def _start_again(self, reason: str) -> None:
        """Start a new worker for a task that no worker has seen yet."""
        self.attempts += 1
        if self.attempts == START_ATTEMPTS:
            raise WorkerError(f"workers do not start: {reason}")
        self.start()

    def _fail(self, kind: Kind, reason: str, peak: int | None = None) -> Outcome:
        task, self.task = self.task, NO_TASK
        return Outcome(task, None, reason, kind, time.monotonic() - self.began, peak)


def _wait(busy: list[_Seat]) -> list[_Seat]:
    """Return the seats to look after, as soon as there are any."""
    nearest = min(seat.deadline for seat in busy)
    said = wait([seat.connection for seat in busy], max(nearest - time.monotonic(), 0))
    now = time.monotonic()
    return [seat for seat in busy if seat.connection in said or now >= seat.deadline]


# -- inside the worker --


def _serve(
    function: Callable,
    limits: Limits,
    preload: tuple[str, ...],
    connection: Connection,
    level: int,
) -> None:
    """Answer one task after the other until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    logging.captureWarnings(True)
    handler = _PipeHandler(connection)  # type: ignore[arg-type]  # `enqueue` is all it uses
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)
    for module in preload:  # the server may have been started for other tasks
        importlib.import_module(module)
    idle = 0
    if sys.platform == "linux":
        _die_with_parent()
        _compute_with_one_thread()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        idle = _mapped()
        most, hard = idle + limits.memory, resource.getrlimit(resource.RLIMIT_AS)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    connection.send(READY)
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            _answer(function, limits, connection, idle)


def _answer(function: Callable, limits: Limits, connection: Connection, idle: int) -> None:
    """Do one task and tell its outcome, and whether the worker is worn out by it.

    Memory that a task leaves behind would be missing to the next one.
    """
    outcome = replace(attempt(function, connection.recv(), limits), task=None)
    worn = outcome.kind == "memory" or _mapped() - idle > limits.memory // 2
    try:
        connection.send((outcome, worn))
    except Exception as error:  # pickling runs the value's own code
        connection.send((replace(outcome, value=None, **failure_of(error, limits)), True))


class _PipeHandler(QueueHandler):
    """Sends records to the parent."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.send(record)  # type: ignore[union-attr]


def _die_with_parent() -> None:
    """Let the kernel kill this process when its parent is gone, even in the middle of C code.

    The parent holds the other end of the sentinel pipe. PR_SET_PDEATHSIG would not do: it watches
    the fork server, which lives as long as any worker.
    """
    parent = parent_process()
    assert parent is not None
    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


def _compute_with_one_thread() -> None:
    """Ask every OpenMP runtime, loaded or to come; LibRaw and torch bring one each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    lines = Path("/proc/self/maps").read_text().splitlines()
    for library in {line.split(maxsplit=5)[-1] for line in lines if "omp" in line}:
        if hasattr(runtime := ctypes.CDLL(library), "omp_set_num_threads"):
            runtime.omp_set_num_threads(1)


def _mapped() -> int:
    """Return bytes of address space; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
