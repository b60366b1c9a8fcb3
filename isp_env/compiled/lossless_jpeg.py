"""Huffman coding of lossless JPEG: the loops of `isp_env.dng.lossless_jpeg`."""

import numpy as np

from isp_env.compiled import jit

LOOK = 13  # bits that decode most samples in one step: a table of 32 kB
U = np.uint64


@jit
def differences(samples, precision):
    """Find category, difference of each sample; samples (h, w, c), predictor 1 (T.81, H.1.2.1)."""
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
    """Count the bits of the difference's magnitude (T.81, table H.2)."""
    magnitude = abs(difference)
    bits = 0
    while magnitude:
        magnitude >>= 1
        bits += 1
    return bits


@jit
def histogram(values):
    """Count each of the 17 categories."""
    counts = np.zeros(17, np.int64)
    for value in values:
        counts[category(value)] += 1
    return counts


@jit
def encode(values, codes, lengths):
    """Encode the segment: bytes with 0 stuffed after 255 (T.81, F.1.2.3)."""
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


@jit
def decoding_table(counts, symbols, short, long):
    """Fill the tables that tell what the next bits mean.

    Args:
        counts: Codes of each length 1..16 that fill at most the 2^16 words of 16 bits.
        symbols: Their categories, 0..16.
        short: Filled, for each word of LOOK bits: difference << 8 | bits of code and difference; 0
            where these are more than LOOK.
        long: (2, 17), filled, for each length: the first word of 16 bits beyond its codes, and what
            is added to a code to find its place among the symbols.
    """
    short[:] = 0
    long[:] = 0
    code, place = 0, 0
    for length in range(1, 17):
        long[1, length] = place - code
        for _ in range(counts[length - 1]):
            size = np.int64(symbols[place])
            place += 1
            extra = size if size < 16 else 0
            free = LOOK - length - extra
            if free >= 0:
                for value in range(1 << extra):
                    at = (code << extra | value) << free
                    entry = extend(value, size) << 8 | (length + extra)
                    short[at : at + (1 << free)] = entry
            code += 1
        long[0, length] = code << (16 - length)
        code <<= 1


@jit
def extend(value, size):
    """Extend a category to its difference, from its additional bits (T.81, F.12 and table H.2)."""
    if size == 16:
        return -32768  # modulo 2^16 the same as 32768
    if size > 0 and value < 1 << (size - 1):
        return value - (1 << size) + 1
    return value


@jit
def decode(data, short, long, symbols, tables, first, predicts, out):
    """Decode a scan without restarts; nothing outside `data` is read.

    Args:
        data: The entropy-coded segment, and what follows it.
        short: Of `decoding_table`, a row for each table.
        long: The same.
        symbols: Of each table, (n, 256).
        tables: Which one each component uses.
        first: Predicts the first sample.
        predicts: Whether by predictor 1; else the differences are what is filled in.
        out: (height, width, components), filled.

    Returns:
        Whether every code was one of the tables', and there were bits for all samples.
    """
    height, width, components = out.shape
    predicted = np.empty(components, np.int64)
    held, bits = U(0), 0  # the lowest `bits` of `held` are still to be decoded
    place, missing = 0, 0
    for y in range(height):
        for c in range(components):
            predicted[c] = out[y - 1, 0, c] if y > 0 else first
        for x in range(width):
            for c in range(components):
                if bits < 32:  # a sample takes no more
                    word, plain = U(0), False
                    if place + 4 <= len(data):
                        word = U(data[place]) << U(24) | U(data[place + 1]) << U(16)
                        word |= U(data[place + 2]) << U(8) | U(data[place + 3])
                        # no byte is 255, which stands before a stuffed 0 or is a marker's
                        other = word ^ U(0xFFFFFFFF)
                        plain = (other - U(0x01010101)) & word & U(0x80808080) == U(0)
                    if plain:
                        held = held << U(32) | word
                        bits += 32
                        place += 4
                    else:
                        while bits <= 48:
                            byte = U(0)
                            if place < len(data) and data[place] != 255:
                                byte = U(data[place])
                                place += 1
                            elif place + 1 < len(data) and data[place + 1] == 0:
                                byte = U(255)
                                place += 2
                            else:
                                missing += 8
                            held = held << U(8) | byte
                            bits += 8
                table = tables[c]
                entry = np.int64(short[table, np.int64(held >> U(bits - LOOK)) & ((1 << LOOK) - 1)])
                if entry:
                    bits -= entry & 0xFF
                    difference = entry >> 8
                else:
                    word16, length = np.int64(held >> U(bits - 16)) & 0xFFFF, 1
                    while length < 17 and word16 >= long[table, 0, length]:
                        length += 1
                    if length == 17:
                        return False
                    code = word16 >> (16 - length)
                    size = np.int64(symbols[table, code + long[table, 1, length]])
                    bits -= length + (size if size < 16 else 0)
                    difference = extend(np.int64(held >> U(bits)) & ((1 << size) - 1), size)
                predicted[c] = predicted[c] + difference if predicts else difference
                out[y, x, c] = predicted[c] & 0xFFFF
    return missing <= bits


@jit
def predict(predictor, first, out):
    """Turn differences (h, w, c) into samples by predictor 2 to 7 (T.81, table H.1 and H.1.2.1)."""
    height, width, components = out.shape
    for y in range(height):
        for x in range(width):
            for c in range(components):
                left = np.int64(out[y, x - 1, c]) if x > 0 else np.int64(0)
                above = np.int64(out[y - 1, x, c]) if y > 0 else np.int64(0)
                if y == 0:
                    guess = left if x > 0 else np.int64(first)
                elif x == 0:
                    guess = above
                else:
                    corner = np.int64(out[y - 1, x - 1, c])
                    if predictor == 2:
                        guess = above
                    elif predictor == 3:
                        guess = corner
                    elif predictor == 4:
                        guess = left + above - corner
                    elif predictor == 5:
                        guess = left + ((above - corner) >> 1)
                    elif predictor == 6:
                        guess = above + ((left - corner) >> 1)
                    else:
                        guess = (left + above) >> 1
                out[y, x, c] = (guess + np.int64(out[y, x, c])) & 0xFFFF
