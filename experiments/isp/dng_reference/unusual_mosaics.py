"""DNG files of mosaics that are no Bayer pattern: four colours, and the staggered Fuji layout."""

from typing import Literal

import numpy as np

from experiments.isp.dng_reference.random_samples import scene
from experiments.isp.dng_reference.tiff_writer import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    Directory,
    Tag,
    rationals,
    write_tiff,
)

Unusual = Literal["RGBE", "GMCY", "CYGM", "staggered"]

# TIFF/EP's numbers of colours: 0 R, 1 G, 2 B, 3 C, 4 M, 5 Y; the fourth of RGBE is a cyan
COLORS: dict[Unusual, tuple[int, ...]] = {
    "RGBE": (0, 1, 2, 3),
    "GMCY": (1, 4, 3, 5),
    "CYGM": (3, 5, 1, 4),
    "staggered": (0, 1, 2),
}
PATTERNS = {
    "RGBE": ((0, 1), (3, 2)),
    "GMCY": ((1, 4), (3, 5)),
    "CYGM": ((3, 5), (1, 4)),
    "staggered": ((0, 1, 2, 1), (2, 1, 0, 1)),  # RGGB turned by 45 degrees, as Fuji's sensors
}
XYZ_TO_CAMERA = {
    0: (0.9, -0.29, -0.07),
    1: (-0.45, 1.24, 0.23),
    2: (-0.09, 0.19, 0.71),
    3: (-0.5, 1.2, 0.7),
    4: (0.75, -0.1, 0.6),
    5: (0.4, 0.9, 0.15),
}
WHITE_LEVEL, BLACK_LEVEL = 15_000, 500
BAYER = (0, 1, 1, 2)
D65 = (0.9505, 1, 1.089)


def unusual_mosaic(kind: Unusual, height: int = 96, width: int = 128) -> bytes:
    """Return a DNG of a smooth grey scene seen through such a mosaic; uncompressed."""
    pattern, planes = np.array(PATTERNS[kind]), COLORS[kind]
    of_grey = np.array([XYZ_TO_CAMERA[color] for color in range(6)]) @ D65
    of_grey /= of_grey[list(planes)].max()
    rows, columns = np.mgrid[:height, :width]
    light = 0.8 * scene(height, width, 1, np.random.default_rng(0))[..., 0]
    seen = light * of_grey[pattern[rows % 2, columns % pattern.shape[1]]]
    samples = np.round(BLACK_LEVEL + seen * (WHITE_LEVEL - BLACK_LEVEL)).astype("<u2")
    matrix = [number for plane in planes for number in XYZ_TO_CAMERA[plane]]
    neutral = of_grey[list(planes)].tolist()
    tags: dict[int, Tag] = {
        254: (LONG, [0]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [16]),
        259: (SHORT, [1]),
        262: (SHORT, [32803]),
        271: (ASCII, b"Test\0"),
        272: (ASCII, b"Unusual camera\0"),
        274: (SHORT, [1]),
        277: (SHORT, [1]),
        278: (LONG, [height]),
        284: (SHORT, [1]),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, bytes(BAYER if kind == "staggered" else pattern.ravel().tolist())),
        50706: (BYTE, bytes((1, 4, 0, 0))),
        50708: (ASCII, b"Test Unusual camera\0"),
        50710: (BYTE, bytes(planes)),
        50711: (SHORT, [2 if kind == "staggered" else 1]),
        50714: (LONG, [BLACK_LEVEL]),
        50717: (LONG, [WHITE_LEVEL]),
        50721: (SRATIONAL, rationals(matrix, 10_000)),
        50728: (RATIONAL, rationals(neutral, 10_000)),
        50778: (SHORT, [21]),
    }
    return write_tiff([Directory(tags, [samples.tobytes()])], "<")
