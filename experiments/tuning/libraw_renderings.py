"""What LibRaw makes of the scenes of a store: the renderings that most programs show by default."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float32
from rich.progress import track

from isp_env.raw.write_dng import write_dng
from isp_env.scenes.libraw_rendering import libraw_rendering
from isp_env.scenes.sources import SimulatedSource

LIBRAW = {"LibRaw": False, "LibRaw, auto-bright": True}
"""Name of a control -> whether it brightens until 1 % of the samples clip."""


def libraw_renderings(
    names: tuple[str, ...], size: tuple[int, int]
) -> dict[str, Float32[np.ndarray, "n 3 h w"]]:
    """Shoot simulated scenes again, write each as a DNG, and let LibRaw render it.

    Args:
        names: Of the scenes in their store.
        size: (rows, cols) of the previews, which must show all of the photographs.

    Returns:
        Display RGB in [0, 1] by the names of `LIBRAW`.

    Raises:
        ValueError: A scene is no simulated shot.
        RawFileError: Its photograph is not where it was when the store was built.
    """
    pictures: dict[str, list[np.ndarray]] = {name: [] for name in LIBRAW}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shot.dng"
        for scene in track(names, "LibRaw"):
            write_dng(SimulatedSource.named(scene).shoot().raw, path)
            for name, auto_bright in LIBRAW.items():
                pictures[name].append(libraw_rendering(path, auto_bright, size).numpy())
    return {name: np.stack(each) for name, each in pictures.items()}
