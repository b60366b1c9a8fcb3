"""Tasks are Python expressions here, and the function that the workers apply is `eval`."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isp_env.raw import read_raw
from isp_env.workers.isolated import Limits, WorkerError, run_isolated

LIMITS = Limits(memory=300_000_000, seconds=20.0)
RAISE = "__import__('isp_env.raw').raw.read_raw('nowhere.dng')"
SEGFAULT = "__import__('ctypes').string_at(0)"
SLEEP = "__import__('time').sleep(600)"
PID = "__import__('os').getpid()"
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and signals as Linux has them")


def has_ended(pid: int) -> bool:
    """Whether the process is gone within five seconds; a zombie is."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def outcomes(*tasks, workers=1, limits=LIMITS, preload=()):
    """Outcomes in the order of the tasks; each task has exactly one."""
    numbered = [f"{task}  # {number}" for number, task in enumerate(tasks)]
    results = list(run_isolated(eval, numbered, workers=workers, limits=limits, preload=preload))
    by_task = {result.task: result for result in results}
    assert len(results) == len(by_task) == len(tasks)
    return [by_task[task] for task in numbered]


def test_values_of_good_tasks():
    (result,) = outcomes("6 * 7")
    assert (result.value, result.failure, result.kind) == (42, None, "done")
    assert result.task.startswith("6 * 7")
    assert 0 <= result.seconds < LIMITS.seconds


@linux
@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_has_one_outcome_whatever_the_others_do(workers, tmp_path):
    """Each task leaves a mark when it begins, so that a second run of it would be seen."""
    expected = {
        "0": ("done", None),
        RAISE: ("error", "no such file"),
        "1 / 0": ("error", "unexpected ZeroDivisionError: division by zero"),
        "open('/nowhere/x')": ("error", "[Errno 2] No such file or directory: '/nowhere/x'"),
        SEGFAULT: ("crash", "the worker was killed by SIGSEGV"),
        "__import__('os').abort()": ("crash", "the worker was killed by SIGABRT"),
        "__import__('os')._exit(0)": ("crash", "the worker ended with exit status 0"),
        "exit(3)": ("crash", "the worker ended with exit status 3"),
        SLEEP: ("timeout", "not done after 1 s"),
        "bytearray(10**9)": ("memory", "needs more memory than the limit of 300 MB"),
        "print('noise\\n' * 999)": ("done", None),
        "lambda: 0": ("error", None),  # cannot be pickled
        "1 + 1": ("done", None),
    }
    mark = "open({!r}, 'a').write('x') and "
    tasks = [mark.format(str(tmp_path / str(i))) + f"({task})" for i, task in enumerate(expected)]
    limits = Limits(memory=LIMITS.memory, seconds=1.0)
    results = outcomes(*tasks, workers=workers, limits=limits)
    for result, (kind, failure) in zip(results, expected.values(), strict=True):
        assert result.kind == kind, result
        assert (result.failure is None) == (kind == "done")
        assert failure is None or result.failure == failure
    assert [(tmp_path / str(i)).read_text() for i in range(len(tasks))] == ["x"] * len(tasks)
    assert results[-1].value == 2


@linux
@pytest.mark.parametrize(
    "greedy",
    [
        "__import__('numpy').ones(10**8)",
        "__import__('torch').ones(10**8)",
        "__import__('PIL.Image').Image.new('RGB', (20_000, 20_000))",
    ],
)
def test_memory_is_limited_whoever_allocates_it(greedy):
    smaller = greedy.replace("10**8", "10**6").replace("20_000", "500")
    modest, refused = outcomes(smaller, greedy, preload=["torch"])
    assert modest.kind in ("done", "error")  # a tensor may not be picklable here; it was made
    assert modest.kind == "done", modest
    assert (refused.kind, refused.value) == ("memory", None)


@linux
def test_memory_left_behind_is_not_missing_to_the_next_task():
    leak = "__import__('builtins').__dict__.setdefault('leak', []).append(bytearray(200_000_000))"
    assert [result.kind for result in outcomes(leak, leak, leak)] == ["done"] * 3


@linux
def test_peak_memory_is_that_of_the_task():
    small, large, after = outcomes("0", "len(bytearray(200_000_000))", "0")
    base, most, again = (result.peak_rss or 0 for result in (small, large, after))
    assert most - base == pytest.approx(200e6, rel=0.1)
    assert abs(again - base) < 50e6


@linux
def test_workers_are_used_again_and_replaced_only_after_death():
    first, second, _, third = (r.value for r in outcomes(PID, PID, SEGFAULT, PID))
    assert first == second != third
    assert os.getpid() not in (first, third)


def test_tasks_are_taken_when_a_worker_is_free():
    taken = []

    def tasks():
        for number in range(20):
            taken.append(number)
            yield str(number)

    values = []
    for result in run_isolated(eval, tasks(), workers=2, limits=LIMITS):
        values.append(result.value)
        assert len(taken) - len(values) <= 3  # two at work, one finished beside this one
    assert sorted(values) == list(range(20))


def test_in_process_for_debugging():
    (done, failed, pid) = outcomes("1", "1 / 0", PID, workers=0)
    assert (done.kind, done.value, pid.value) == ("done", 1, os.getpid())
    assert (failed.kind, failed.failure) == (
        "error",
        "unexpected ZeroDivisionError: division by zero",
    )


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        outcomes("1", workers=-1)


@pytest.mark.parametrize("workers", [0, 1])
def test_logs_and_tracebacks_arrive_here(caplog, workers):
    log = "__import__('logging').getLogger('camera').warning('no %s', 'white')"
    warn = "__import__('warnings').warn('odd', UserWarning)"
    outcomes(log, "1 / 0", *([warn] if workers else []), workers=workers)
    assert ("camera", logging.WARNING, "no white") in caplog.record_tuples
    assert "ZeroDivisionError" in caplog.text
    assert "Traceback" in caplog.text
    assert not workers or "UserWarning: odd" in caplog.text


@pytest.mark.parametrize("preload", [["torch"], []])
def test_one_computing_thread(preload):
    limits = replace(LIMITS, memory=4_000_000_000)  # which importing torch maps, at most
    threads, torch_threads = outcomes(
        "len(__import__('os').listdir('/proc/self/task'))"
        " if __import__('torch').ones(512, 512).matmul(__import__('torch').ones(512, 512)).sum()"
        " and __import__('sys').platform == 'linux' else 1",
        "__import__('torch').get_num_threads()",
        limits=limits,
        preload=preload,
    )
    assert (threads.value, torch_threads.value) == (1, 1)


def test_workers_that_do_not_start_end_the_run(monkeypatch, caplog):
    """A function that the workers cannot import."""
    monkeypatch.setattr(test_workers_that_do_not_start_end_the_run, "__module__", "nowhere")
    monkeypatch.setitem(sys.modules, "nowhere", sys.modules[__name__])
    function: Any = test_workers_that_do_not_start_end_the_run
    with pytest.raises(WorkerError, match=r"workers do not start: .* exit status 1"):
        list(run_isolated(function, [0], workers=2, limits=LIMITS))


@linux
def test_no_worker_outlives_the_iterator():
    run = run_isolated(eval, [PID, PID, *[SLEEP] * 9], workers=2, limits=LIMITS)
    pids = {next(run).value, next(run).value}
    run.close()
    assert all(has_ended(pid) for pid in pids)


@linux
def test_a_worker_killed_between_its_tasks_costs_none():
    def tasks():
        yield from (PID, "1")
        os.kill(pids[0], signal.SIGKILL)  # the first outcome is known when the third is taken
        assert has_ended(pids[0])
        yield "1 + 1"

    pids = []
    results = []
    for result in run_isolated(eval, tasks(), workers=1, limits=LIMITS):
        pids.append(result.value)
        results.append(result)
    assert [result.kind for result in results] == ["done"] * 3


PARENT = f"""
import signal
from isp_env.workers.isolated import Limits, run_isolated
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
busy = "sum(iter(int, 1))"  # holds the interpreter, never looks at its pipe
tasks = [{PID!r}, {PID!r}, {SLEEP!r}, busy]
for result in run_isolated(eval, tasks, workers=2, limits=Limits()):
    print(result.value, flush=True)
"""


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(number):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        pids = {int(parent.stdout.readline()) for _ in range(2)}
        parent.send_signal(number)
    assert pids
    assert all(has_ended(pid) for pid in pids)


BROKEN = {
    "all_zero_pixels.dng": "only 1 of 140 parts",
    "data_error.nef": "damaged pixel data",
    "garbage_pixels.rw2": "at or below the black level",
    "too_big.x3f": "larger than LibRaw's memory limit",
    "truncated.cr3": "truncated",
    "truncated.iiq": "truncated",
    "truncated.nef": "truncated",
    "truncated.raf": "truncated",
    "unsupported.rw2": "not a RAW format that LibRaw knows",
}


@pytest.mark.data
def test_broken_files_have_their_reason(data):
    paths = [data / "raw" / "broken" / name for name in BROKEN]
    results = {r.task.name: r for r in run_isolated(read_raw, paths, workers=2, limits=LIMITS)}
    assert set(results) == {path.name for path in paths[0].parent.iterdir()}
    for name, reason in BROKEN.items():
        assert results[name].kind == "error"
        assert reason in (results[name].failure or "")
