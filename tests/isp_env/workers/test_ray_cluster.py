"""Two nodes on this machine, one of them killed in the middle."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isp_env.batch.render_job import finished_before
from isp_env.batch.render_many import render_many
from isp_env.raw.find import find_inputs
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate
from isp_env.workers.outcomes import Limits

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
    from isp_env.workers.ray_cluster import ClusterError, run_on_cluster

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"attiqa\[cluster\]"):
        list(run_on_cluster(mark, [], address="auto", limits=LIMITS))


@pytest.fixture
def lose_a_node(monkeypatch) -> Iterator[Callable[[], None]]:
    """Two nodes of one CPU each, and this process connected to them; call it to kill the second."""
    ray = pytest.importorskip("ray", reason="Ray is an optional extra")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # other tests run beside this one
    size = {"num_cpus": 1, "object_store_memory": 80_000_000}
    nodes = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    try:
        second = nodes.add_node(wait=True, **size)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        yield partial(nodes.remove_node, second, allow_graceful=False)
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of itself and of what it imports
def test_a_node_dies_and_every_task_has_one_outcome(tmp_path, lose_a_node):
    from isp_env.workers.ray_cluster import run_on_cluster

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
            lose_a_node()
    assert Counter(done) == Counter(range(20))
    assert kinds.pop(3) == "crash"
    assert kinds.pop(5) in ("timeout", "done")  # its mark was found, if its node died
    assert set(kinds.values()) == {"done"}
    lines = {n: len((tmp_path / str(n)).read_text().split()) for n in range(20)}
    assert all(lines[n] == 1 for n in before)
    assert max(lines.values()) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_batch_loses_a_node_and_renders_every_file_once(tmp_path, lose_a_node):
    from isp_env.workers.ray_cluster import run_on_cluster

    (tmp_path / "shots").mkdir()
    for seed in range(12):
        photo = np.random.default_rng(seed).uniform(0, 1, (3, 16, 24)).repeat(8, 1).repeat(8, 2)
        raw, _ = simulate(photo, NIKON_D750, Capture(iso=400), np.random.default_rng(seed))
        write_dng(raw, tmp_path / "shots" / f"{seed:02}.dng")
    inputs = find_inputs([tmp_path / "shots"])
    together = partial(
        run_on_cluster, address="auto", limits=Limits(), already_done=finished_before
    )
    statuses: list[str] = []
    sources: list[Path] = []
    first: dict[Path, int] = {}
    for rendered in render_many(inputs, tmp_path / "out", executor=together):
        sources.append(rendered.source)
        statuses.append(rendered.status)
        if len(sources) == 4:
            first = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.jpg")}
            lose_a_node()
    assert statuses == ["done"] * 12
    assert sorted(sources) == [one.path for one in inputs]
    assert len(first) >= 4
    assert {p: p.stat().st_mtime_ns for p in first} == first
    list(render_many(inputs, tmp_path / "alone", workers=1))
    assert pictures(tmp_path / "out") == pictures(tmp_path / "alone")


def pictures(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".jpg", ".json")}
