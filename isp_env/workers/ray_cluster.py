"""Tasks on a Ray cluster, with the isolation of `isolated` on every node and one outcome for each.

    pip install "attiqa[cluster]"                # on every machine, the same version
    ray start --head --port 6379                 # on the first
    ray start --address FIRST:6379               # on each of the others
    python experiments/render.py --raw /shared/PHOTOS --out /shared/OUT --cluster FIRST:6379

Inputs and outputs lie in folders that all machines see under the same path. A node that dies costs
nothing but time: its tasks are given to the others, and a task that had finished before its node
could say so is found to be done. Nodes may join at any time.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from isp_env.errors import IspEnvError
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits, Outcome

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
ATTEMPTS = 3  # of a task whose nodes die
AHEAD = 2  # tasks in flight for each CPU of the cluster: one at work, one on its way


class ClusterError(IspEnvError):
    """There is no cluster to work on."""


def run_on_cluster(
    function: Callable[[T], Any],
    tasks: Iterable[T],
    *,
    address: str,
    limits: Limits,
    already_done: Callable[[T], Any] = lambda task: None,
    preload: Sequence[str] = (),
) -> Generator[Outcome[T], None, None]:
    """Apply `function` to every task on the CPUs of a cluster; outcomes come as they finish.

    Args:
        function: As for `run_isolated`, importable on every node.
        tasks: Picklable; taken when there is a CPU for them.
        address: "auto" (the cluster that this machine belongs to), "local" (one of this machine
            alone, ended afterwards) or HOST:PORT.
        limits: Memory and time of a task.
        already_done: Asked before a task is tried again; its answer, if not None, is the value.
        preload: As for `run_isolated`.

    Raises:
        ClusterError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError('Ray is not installed: pip install "attiqa[cluster]"') from error
    own = not ray.is_initialized()
    if own:
        _connect(ray, address)
    try:
        isolated = partial(_isolated, function, limits=limits, preload=preload)
        yield from _run(ray, isolated, iter(tasks), already_done)
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options |= {"address": "local", "include_dashboard": False}
    else:
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise ClusterError(f"no Ray cluster at {address!r}: {error}") from error


def _run(
    ray: Any,
    isolated: Callable[[T], Outcome[T]],
    tasks: Iterator[T],
    already_done: Callable[[T], Any],
) -> Iterator[Outcome[T]]:
    remote = ray.remote(num_cpus=1, max_retries=0)(_applied)
    running: dict[Any, tuple[T, int]] = {}
    try:
        while True:
            room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1))) - len(running)
            for _ in range(room):
                try:
                    task = next(tasks)
                except StopIteration:
                    break
                running[remote.remote(isolated, task)] = (task, 1)
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=5.0)
            for reference in ready:
                task, attempt = running.pop(reference)
                try:
                    yield ray.get(reference)
                    continue
                except ray.exceptions.RayTaskError as error:  # not ours: `_isolated` never raises
                    log.error("on the cluster: %s", error)
                    yield Outcome(task, None, f"unexpected {error.cause!r}", "error", 0.0)
                    continue
                except ray.exceptions.RayError as error:
                    reason = f"its node was lost ({type(error).__name__})"
                if (value := already_done(task)) is not None:
                    yield Outcome(task, value, None, "done", 0.0)
                elif attempt < ATTEMPTS:
                    log.warning("%s: %s, tried again", task, reason)
                    running[remote.remote(isolated, task)] = (task, attempt + 1)
                else:
                    yield Outcome(task, None, f"{reason}, {attempt} times", "crash", 0.0)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _applied(function: Callable[[T], R], task: T) -> R:
    return function(task)


def _isolated(
    function: Callable[[T], Any], task: T, limits: Limits, preload: Sequence[str]
) -> Outcome[T]:
    """Run a task in a process of its own on the node: it costs neither Ray nor the node."""
    (outcome,) = run_isolated(function, [task], workers=1, limits=limits, preload=preload)
    return outcome
