"""Imported by the server that workers are forked from: what the first picture would wait for.

Compiled loops are loaded from their cache (on a new machine: compiled) before a worker has a file,
while the command reads its settings and plans the batch.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator

import numpy as np

from isp_env.batch.render_job import render_raw
from isp_env.dng import lossless_jpeg
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.guide import GUIDE_STEP
from isp_env.raw import RawImage

log = logging.getLogger(__name__)

SIDES = 8, round(4 / GUIDE_STEP)  # so long that the guide is smaller than the picture

GREY = RawImage(
    mosaic=np.full(SIDES, 1000, np.uint16),
    linear=None,
    cfa=np.array([[0, 1], [1, 2]], np.uint8),
    black=np.zeros((2, 2)),
    black_rows=None,
    black_columns=None,
    white=4000.0,
    as_shot_neutral=np.ones(3),
    xyz_to_camera=np.eye(3),
    camera_to_rec709=np.eye(3),
    noise_profile=None,
    baseline_exposure=0.0,
    gain_maps=(),
    orientation=1,
    iso=None,
    exposure_time=None,
    active_area=(0, 0, *SIDES),
    crop=(0, 0, *SIDES),
    make="",
    model="",
    path=None,
    simulated=True,
    fallbacks=(),
)

LOSSLESS_JPEG = bytes.fromhex(
    "ffd8ffc3000b100002000201011100ffc400240000020202010101010101010101010100010f000203040506"
    "0708090a0b0c0d0e10ffda00080101000100004031907fffd9"
)
"""Of 2 x 2 samples."""


@contextlib.contextmanager
def _no_matrix_products() -> Iterator[None]:
    """Let numba load its types without scipy.linalg, which takes a quarter of a second.

    It looks there for BLAS, which none of the loops needs.
    """
    name = "scipy.linalg"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # "not to be imported"
    try:
        yield
    finally:
        del sys.modules[name]


def warm_up() -> None:
    """Decode and render next to nothing."""
    lossless_jpeg.decode(np.frombuffer(LOSSLESS_JPEG, np.uint8), np.empty((2, 2, 1), np.uint16))
    render_raw(GREY, np.zeros(len(DEFAULT_PIPELINE.parameters), np.float32))


try:
    with _no_matrix_products():
        warm_up()
except Exception:  # the server must live; if there is a fault, files will show it
    log.exception("a test picture cannot be rendered")
