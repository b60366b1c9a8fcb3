"""Which command lines start workers before they are read."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.early_workers import start_workers
from experiments.render import Settings
from isp_env.workers import isolated

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(monkeypatch):
    found = []
    monkeypatch.setattr(isolated, "start_fork_server", found.append)
    return found


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--raw PHOTOS",
        "--workers 4",
        "--workers=1",
        "--out 0",
        "--raw a --workers 10",
        "--long_side 9 --long-side=8",
    ],
)
def test_a_batch_starts_them(started, line):
    start_workers(Settings, line.split(), ["experiments.agent_chooser"])
    assert started == [["isp_env.batch.warm_start", "experiments.agent_chooser"]]


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "-h",
        "--version",
        "--dry-run --raw a",
        "--cluster local",
        "--cluster=auto",
        "--raw a --workers 0",
        "--workers=0",
        "--raw a --qualty 90",
        "- --raw a",
    ],
)
def test_others_do_not(started, line):
    start_workers(Settings, line.split())
    assert not started


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked from a server on Linux")
@pytest.mark.parametrize("script", ["render", "enhance"])
def test_they_start_before_the_command_line_is_read(script):
    program = f"""if True:
        import sys
        from experiments import {script}
        from isp_env.workers import isolated
        isolated.start_fork_server = lambda modules: print(*modules, "tyro" in sys.modules)
        {script}.command()
    """
    words = [
        sys.executable,
        "-c",
        program,
        "--agent",
        "embedded",
        "--out",
        "X",
        "--quality",
        "good",
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    first = done.stdout.split()
    assert first[:1] == ["isp_env.batch.warm_start"], done.stderr
    assert first[-1] == "False"
    assert "experiments.agent_chooser" in first
    assert done.returncode == 2
    assert "quality" in done.stdout + done.stderr
