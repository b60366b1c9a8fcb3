"""Training that is killed at random moments, and training on two processes (torchrun, gloo)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attiqa

RUNS = Path(__file__).with_name("training_runs.py")


def start(*arguments: str | Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(Path(attiqa.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_five_kills_at_random_moments_change_no_bit(tmp_path):
    start(RUNS, "kill", tmp_path)
    for kind in ("pretrain", "reward"):
        assert (tmp_path / f"{kind}.kills").read_text() == "9 9 9 9 9"
        whole, cut = (torch.load(tmp_path / f"{kind}.{run}.pt") for run in ("whole", "cut"))
        assert cut["history"] == whole["history"]
        assert len(whole["history"]) == 4
        assert cut["net"].keys() == whole["net"].keys()
        assert all(torch.equal(cut["net"][name], whole["net"][name]) for name in whole["net"])


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_global_batch(tmp_path):
    start(RUNS, "distributed", tmp_path)
    start("-m", "torch.distributed.run", "--nproc-per-node=2", RUNS, "distributed", tmp_path)
    for kind in ("pretrain", "finetune", "lora"):
        one, two = (torch.load(tmp_path / f"{kind}.{processes}.pt") for processes in (1, 2))
        for first, second in zip(one["history"], two["history"], strict=True):
            assert second == pytest.approx(first, abs=1e-4)
        # AdamW does not feel a wrong scale of the gradients, so these are compared, too. Rankings
        # do not depend on the heads' last biases: their gradient is noise.
        for part, tolerance in (("gradients", 1e-5), ("net", 1e-5)):
            for name, value in one[part].items():
                if not (".last." in name and name.endswith("bias")):
                    assert torch.allclose(two[part][name], value, rtol=1e-3, atol=tolerance), name
