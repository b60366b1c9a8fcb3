"""A batch in a process of its own, for tests that kill it: `python -m`-free, started by path."""

import sys
from pathlib import Path

from isp_env.batch.render_job import RenderSettings
from isp_env.batch.render_many import render_many
from isp_env.raw.find import find_inputs
from isp_env.workers.outcomes import Limits

if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    for done in render_many(
        find_inputs([folder]),
        out,
        RenderSettings(parameters={"exposure": 0.4}),
        workers=2,
        limits=Limits(seconds=60),
    ):
        print(done.status, done.output.name, flush=True)
