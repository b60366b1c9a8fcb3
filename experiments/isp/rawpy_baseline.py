"""The script that a photographer would write: a folder of RAW files by rawpy, in processes.

    python experiments/isp/rawpy_baseline.py FOLDER OUT PROCESSES AHD

The last word is a demosaicing of LibRaw; "half" for its half-size picture; or a finished picture,
PICTURE.npy: samples are decoded and that is encoded, which is the least that any program does.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import rawpy
from PIL import Image


def develop(algorithm: str, source: Path, target: Path) -> None:
    """Develop one file to JPEG 95."""
    with rawpy.imread(str(source)) as file:
        if algorithm.endswith(".npy"):
            file.raw_image.max()
            pixels = np.load(algorithm, mmap_mode="r")
        elif algorithm == "half":
            pixels = file.postprocess(half_size=True, use_camera_wb=True)
        else:
            chosen = rawpy.DemosaicAlgorithm[algorithm]
            pixels = file.postprocess(demosaic_algorithm=chosen, use_camera_wb=True)
    Image.fromarray(pixels).save(target, "JPEG", quality=95)


if __name__ == "__main__":
    folder, out, processes, algorithm = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    sources = sorted(Path(folder).iterdir())
    targets = [Path(out, f"{source.stem}.jpg") for source in sources]
    with ProcessPoolExecutor(int(processes)) as pool:
        list(pool.map(partial(develop, algorithm), sources, targets))
