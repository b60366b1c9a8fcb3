"""Lossless JPEG as cameras and DNG converters write it: ITU-T T.81, process 14 (SOF3).

The encoder is for files that this project makes, to be read by anything that reads DNG. The decoder
is there because LibRaw's would take half of the time of a finished photograph.
"""

import struct

import numpy as np
from jaxtyping import Int64, UInt8, UInt16

from isp_env.compiled import lossless_jpeg

SOI, SOF3, DHT, SOS = b"\xff\xd8", 0xFFC3, 0xFFC4, 0xFFDA
IGNORED = {0xFFFE, *range(0xFFE0, 0xFFF0)}  # comments and application data
HEADERS = 1 << 16  # bytes that hold them

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
    return encode(mosaic.reshape(height, width // 2, 2), precision)


def encode(picture: UInt16[np.ndarray, "h w components"], precision: int = 16) -> bytes:
    """Encode a picture of up to four components.

    Args:
        picture: Samples.
        precision: Bits of a sample, 2..16.

    Raises:
        ValueError: A sample needs more bits.
    """
    height, width, components = picture.shape
    if int(picture.max()) >> precision:
        raise ValueError(f"sample {picture.max()} needs more than {precision} bits")
    values = lossless_jpeg.differences(np.ascontiguousarray(picture), precision).ravel()
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

    frame = struct.pack(">BHHB", precision, height, width, components)
    frame += b"".join(bytes((number, 0x11, 0)) for number in range(1, components + 1))
    table = bytes((0, *counts, *order.tolist()))
    of_each = b"".join(bytes((number, 0)) for number in range(1, components + 1))  # table 0
    scan = bytes((components, *of_each, 1, 0, 0))  # predictor 1
    return b"".join(
        (
            SOI,
            segment(SOF3, frame),
            segment(DHT, table),
            segment(SOS, scan),
            lossless_jpeg.encode(values, codes, lengths).tobytes(),
            b"\xff\xd9",
        )
    )


class UnsupportedJpegError(ValueError):
    """Damaged, or another kind of JPEG than this decoder is for."""


def decode(segment: UInt8[np.ndarray, " bytes"], out: UInt16[np.ndarray, "..."]) -> None:
    """Decode one picture of up to four components.

    Args:
        segment: From the marker SOI on; what follows the picture is ignored.
        out: Filled in the order in which the samples are stored; contiguous.

    Raises:
        UnsupportedJpegError: It is damaged or truncated, or has other than so many samples, or
            needs what is rare in raw files: another process, a point transform, restarts,
            subsampled components. What is in `out` is then undefined.
    """
    try:
        frame, codes, scan, start = _headers(segment[:HEADERS].tobytes())
        precision, height, width, components = struct.unpack_from(">BHHB", frame)
        if not (0 < components <= 4 and 2 <= precision <= 16):
            raise ValueError(f"{components} components of {precision} bits")
        component_ids = [frame[6 + 3 * i] for i in range(components)]
        sampling = {frame[7 + 3 * i] for i in range(components)}
        scan_ids = [scan[1 + 2 * i] for i in range(scan[0])]
        table_ids = [scan[2 + 2 * i] >> 4 for i in range(scan[0])]
        used = {table: codes[table] for table in table_ids}
        predictor, _, transform = scan[1 + 2 * scan[0] : 4 + 2 * scan[0]]
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise UnsupportedJpegError("damaged or unusual headers of a JPEG") from error
    if scan_ids != component_ids or sampling != {0x11} or not 1 <= predictor <= 7 or transform:
        raise UnsupportedJpegError("another predictor, subsampling, or a point transform")
    if height * width * components != out.size or not out.size:
        raise UnsupportedJpegError(f"{height}x{width}x{components} samples, not {out.size}")
    short = np.empty((len(used), 1 << lossless_jpeg.LOOK), np.int32)
    long = np.empty((len(used), 2, 17), np.int64)
    symbols = np.zeros((len(used), 256), np.uint8)
    for row, (counts, categories) in enumerate(used.values()):
        symbols[row, : categories.size] = categories
        lossless_jpeg.decoding_table(counts, categories, short[row], long[row])
    tables = np.array([list(used).index(table) for table in table_ids])
    picture = out.reshape(height, width, components)
    first = 1 << (precision - 1)
    codes_of = short, long, symbols, tables
    if not lossless_jpeg.decode(segment[start:], *codes_of, first, predictor == 1, picture):
        raise UnsupportedJpegError("damaged or truncated pixel data")
    if predictor > 1:
        lossless_jpeg.predict(predictor, first, picture)


def count_components(segment: UInt8[np.ndarray, " bytes"]) -> int:
    """Count the components that the frame header of a picture declares; 0 without a header."""
    try:
        frame, *_ = _headers(segment[:HEADERS].tobytes())
        return frame[5]
    except (IndexError, ValueError, struct.error):
        return 0


Code = tuple[Int64[np.ndarray, "16"], UInt8[np.ndarray, " symbols"]]
"""How many codes there are of each length 1..16, and their categories."""


def _headers(content: bytes) -> tuple[bytes, dict[int, Code], bytes, int]:
    """Read SOF3, prefix codes by their destination, content of SOS, and where it ends."""
    if content[:2] != SOI:
        raise ValueError("no SOI")
    frame, codes, place = b"", dict[int, Code](), 2
    while True:
        marker, length = struct.unpack_from(">HH", content, place)
        part = content[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == SOS:
            return frame, codes, part, place
        if marker == SOF3:
            frame = part
        elif marker == DHT:
            while part:
                counts = np.frombuffer(part[1:17], np.uint8).astype(np.int64)
                symbols = np.frombuffer(part[17 : 17 + counts.sum()], np.uint8)
                words = counts << np.arange(15, -1, -1)
                is_code = symbols.size == counts.sum() <= 256 and words.sum() <= 1 << 16
                if not is_code or symbols.max() > 16:
                    raise ValueError("no prefix code of the categories")
                codes[part[0]] = counts, symbols
                part = part[17 + symbols.size :]
        elif marker not in IGNORED:
            raise ValueError(f"marker {marker:x}")
