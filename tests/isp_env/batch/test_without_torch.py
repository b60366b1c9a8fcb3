"""Files are rendered without importing torch: half of what a user with a few files waited for."""

import subprocess
import sys
from pathlib import Path

import pytest

from isp_env.batch.render_job import RenderSettings
from isp_env.batch.render_many import WARM_START
from isp_env.workers.isolated import run_isolated
from isp_env.workers.outcomes import Limits
from tests.isp_env.batch.folders import render

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "kornia", "timm", "pandas", "matplotlib", "stable_baselines3"}


@pytest.mark.parametrize("space", ["srgb", "p3"])
def test_a_batch_in_this_process(shots, tmp_path, space):
    # compiles the loops, where that is to be done
    render(shots, tmp_path / "here", RenderSettings(space=space))
    program = f"""if True:
        import sys
        from experiments.render import Settings, main
        from pathlib import Path
        settings = Settings(Path(sys.argv[2]), [sys.argv[1]], workers=0, space={space!r})
        status = main(settings)
        print(status, sorted({HEAVY} & set(sys.modules)))
    """
    words = [sys.executable, "-c", program, str(shots), str(tmp_path / "there")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["0 []"], done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked from a server on Linux")
def test_a_worker_begins_with_its_loops_loaded():
    told = "sorted(m for m in __import__('sys').modules if m.startswith('kernel_'))"
    (outcome,) = run_isolated(eval, [told], workers=1, limits=Limits(), preload=[WARM_START])
    assert len(outcome.value) == 1
