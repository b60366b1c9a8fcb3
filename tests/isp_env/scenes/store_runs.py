"""A preview store built in a process of its own, for tests that kill it.

After each scene it waits for a line, so that however late it is killed, it has not ended.
"""

import sys
from pathlib import Path

from isp_env.scenes.preview_store import StoreSettings
from isp_env.scenes.sources import raw_sources
from isp_env.scenes.store_building import build_previews

if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    for built in build_previews(raw_sources([folder]), out, StoreSettings(side=24)):
        print(built.status, built.name, flush=True)
        sys.stdin.readline()
