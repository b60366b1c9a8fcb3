"""Lossless JPEG as cameras and DNG converters write it: ITU-T T.81, process 14 (SOF3), predictor 1.

The encoder is for files that this project makes, to be read by anything that reads DNG.
"""

import struct

import numpy as np
from jaxtyping import UInt16

from isp_env.compiled import lossless_jpeg

# Lengths of the codes of the 17 categories, from the most frequent one to the rarest: a prefix code
# (the sum of 2^-length is below 1, so no code is all ones) near the optimum for photographs.
LENGTHS = (2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)


def encode_mosaic(mosaic: UInt16[np.ndarray, "h w"], precision: int = 16) -> bytes:
    """Encode a Bayer mosaic: even and odd columns as two components, each predicted by itself.

    Args:
        mosaic: Samples; an even number of columns.
        precision: Bits of a sample, 2..16.

    Raises:
        ValueError: The width is odd, or a sample needs more bits.
    """
    height, width = mosaic.shape
    if width % 2:
        raise ValueError(f"a mosaic of an even width is needed, got {width} columns")
    if int(mosaic.max()) >> precision:
        raise ValueError(f"sample {mosaic.max()} needs more than {precision} bits")
    samples = np.ascontiguousarray(mosaic).reshape(height, width // 2, 2)
    values = lossless_jpeg.differences(samples, precision).ravel()
    order = np.argsort(-lossless_jpeg.histogram(values), kind="stable")
    codes, lengths = np.zeros(17, np.uint16), np.zeros(17, np.uint8)
    code, previous = 0, LENGTHS[0]
    for symbol, length in zip(order, LENGTHS, strict=True):
        code <<= length - previous
        codes[symbol], lengths[symbol] = code, length
        code, previous = code + 1, length
    counts = [LENGTHS.count(length) for length in range(1, 17)]

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">HH", marker, len(content) + 2) + content

    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2))
    frame = struct.pack(">BHHB", precision, height, width // 2, 2) + components
    table = bytes((0, *counts, *order.tolist()))
    scan = bytes((2, 1, 0, 2, 0, 1, 0, 0))  # both with table 0, predictor 1
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xFFC3, frame),
            segment(0xFFC4, table),
            segment(0xFFDA, scan),
            lossless_jpeg.encode(values, codes, lengths).tobytes(),
            b"\xff\xd9",
        )
    )
