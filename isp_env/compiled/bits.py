"""Samples of any number of bits, packed without gaps: the loop of `isp_env.dng.samples`."""

import numpy as np

from isp_env.compiled import jit


@jit
def unpack(content, bits, out):
    """Rows of big-endian samples, each beginning on a byte (TIFF 6.0, section 3), into `out`."""
    rows, count = out.shape
    stride = (count * bits + 7) // 8
    for row in range(rows):
        place = row * stride
        pending, held = np.uint64(0), 0
        for index in range(count):
            while held < bits:
                pending = (pending << np.uint64(8)) | np.uint64(content[place])
                place += 1
                held += 8
            held -= bits
            out[row, index] = pending >> np.uint64(held)
            pending &= (np.uint64(1) << np.uint64(held)) - np.uint64(1)
