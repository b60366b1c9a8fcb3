"""Huffman coding of lossless JPEG: the loops of `isp_env.lossless_jpeg`."""

import numpy as np

from isp_env.compiled import jit


@jit
def differences(samples, precision):
    """Category and difference of each sample; samples (h, w, c), predictor 1 (T.81, H.1.2.1)."""
    height, width, components = samples.shape
    result = np.empty((height, width, components), np.int32)
    for y in range(height):
        for x in range(width):
            for c in range(components):
                if x > 0:
                    predicted = np.int32(samples[y, x - 1, c])
                elif y > 0:
                    predicted = np.int32(samples[y - 1, x, c])
                else:
                    predicted = np.int32(1 << (precision - 1))
                # modulo 2^16, from -32767 to 32768
                difference = (np.int32(samples[y, x, c]) - predicted) & 0xFFFF
                result[y, x, c] = difference - 0x10000 if difference > 0x8000 else difference
    return result


@jit
def category(difference):
    """Bits of the difference's magnitude (T.81, table H.2)."""
    magnitude = abs(difference)
    bits = 0
    while magnitude:
        magnitude >>= 1
        bits += 1
    return bits


@jit
def histogram(values):
    """How often each of the 17 categories occurs."""
    counts = np.zeros(17, np.int64)
    for value in values:
        counts[category(value)] += 1
    return counts


@jit
def encode(values, codes, lengths):
    """Entropy-coded segment: bytes with 0 stuffed after 255 (T.81, F.1.2.3)."""
    out = np.empty(len(values) * 5 + 16, np.uint8)
    size, pending, held = 0, np.uint64(0), 0
    for value in values:
        bits = category(value)
        pending = (pending << np.uint64(lengths[bits])) | np.uint64(codes[bits])
        held += lengths[bits]
        if 0 < bits < 16:
            extra = value if value > 0 else value + (1 << bits) - 1
            pending = (pending << np.uint64(bits)) | np.uint64(extra)
            held += bits
        while held >= 8:
            held -= 8
            byte = np.uint8((pending >> np.uint64(held)) & np.uint64(0xFF))
            out[size] = byte
            size += 1
            if byte == 0xFF:
                out[size] = 0
                size += 1
        pending &= (np.uint64(1) << np.uint64(held)) - np.uint64(1)
    if held:
        byte = np.uint8((pending << np.uint64(8 - held)) | np.uint64((1 << (8 - held)) - 1))
        out[size] = byte
        size += 1
        if byte == 0xFF:
            out[size] = 0
            size += 1
    return out[:size]
