"""Two nodes on this machine, one of them killed in the middle."""

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from isp_env.outcomes import Limits

LIMITS = Limits(memory=300_000_000, seconds=5.0)


def mark(task: tuple[str, int]) -> int:
    """Leave a line in the task's file, so that a second run is seen; runs on the nodes."""
    folder, number = task
    time.sleep(0.15)
    with (Path(folder) / str(number)).open("a") as file:
        file.write("x\n")
    if number == 3:
        import ctypes

        ctypes.string_at(0)
    if number == 5:
        time.sleep(60)
    return number


def test_without_ray_it_says_what_to_install(monkeypatch):
    from isp_env.cluster import ClusterError, run_on_cluster

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"attiqa\[cluster\]"):
        list(run_on_cluster(mark, [], address="auto", limits=LIMITS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of itself and of what it imports
def test_a_node_dies_and_every_task_has_one_outcome(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is an optional extra")
    from ray.cluster_utils import Cluster

    from isp_env.cluster import run_on_cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    size = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    try:
        second = cluster.add_node(wait=True, **size)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        tasks = [(str(tmp_path), number) for number in range(20)]
        done: list[int] = []
        kinds: dict[int, str] = {}

        def already(task: tuple[str, int]) -> int | None:
            return task[1] if (tmp_path / str(task[1])).exists() else None

        before: set[int] = set()
        run = run_on_cluster(mark, tasks, address="auto", limits=LIMITS, already_done=already)
        for outcome in run:
            done.append(outcome.task[1])
            kinds[outcome.task[1]] = outcome.kind
            if len(done) == 6:
                before = set(done)
                cluster.remove_node(second, allow_graceful=False)
        assert Counter(done) == Counter(range(20))
        assert kinds.pop(3) == "crash"
        assert kinds.pop(5) in ("timeout", "done")  # its mark was found, if its node died
        assert set(kinds.values()) == {"done"}
        lines = {n: len((tmp_path / str(n)).read_text().split()) for n in range(20)}
        assert all(lines[n] == 1 for n in before)
        assert max(lines.values()) == 1
    finally:
        ray.shutdown()
        cluster.shutdown()
