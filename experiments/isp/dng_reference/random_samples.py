"""Pictures of random legal kinds, and their samples in random legal layouts (TIFF 6.0, DNG 1.7.1).

The encoders are zlib, imagecodecs and this project's lossless JPEG; everything else is here.
"""

import math
import zlib
from dataclasses import dataclass, replace
from typing import Literal

import imagecodecs
import numpy as np
from jaxtyping import Float, Num

from experiments.isp.dng_reference.tiff_writer import LONG, SHORT, ByteOrder, Tag
from isp_env.dng.lossless_jpeg import encode

NONE, LOSSLESS_JPEG, DEFLATE = 1, 7, 8
Kind = Literal["mosaic", "rgb", "grey"]


@dataclass(frozen=True)
class Storage:
    """How samples are stored."""

    bits: int
    is_float: bool
    compression: int
    predictor: int
    order: ByteOrder
    block: tuple[int, int]  # rows and columns of a strip or tile
    is_tiled: bool
    is_planar: bool
    subtile: tuple[int, int]
    interleave: tuple[int, int]
    jpeg_components: int
    jpeg_predictor: int  # 1 or 6
    expanded: bool  # the tag of an interleave factor is there though it is 1


def scene(
    height: int, width: int, planes: int, rng: np.random.Generator
) -> Float[np.ndarray, "h w planes"]:
    """Return something smooth with a little noise, from 0.03 to 0.97."""
    rows, columns = np.mgrid[:height, :width][..., None] / 40
    values = np.zeros((height, width, planes))
    for _ in range(3):
        along, across = rng.uniform(0.5, 4, 2)
        values += np.sin(along * rows + across * columns + rng.uniform(0, 6.3, planes))
    values += 0.02 * rng.standard_normal(values.shape)
    low, high = values.min((0, 1)), values.max((0, 1))
    return 0.03 + (values - low) / (high - low) * rng.uniform(0.5, 0.95, planes)


def random_storage(
    kind: Kind, size: tuple[int, int], has_table: bool, rng: np.random.Generator
) -> Storage:
    """Draw bits, codec and layout for a picture of this kind and size."""
    choose = rng.choice
    is_float = not has_table and rng.random() < 0.15
    bits = int(choose([16, 24, 32]) if is_float else choose([8, 10, 12, 14, 16, 16, 16, 32]))
    if has_table and bits == 32:
        bits = 16
    if is_float or bits == 32:
        compression = int(choose([NONE, DEFLATE, DEFLATE]))
    elif bits in (8, 16):
        compression = int(choose([NONE, NONE, LOSSLESS_JPEG, LOSSLESS_JPEG, DEFLATE]))
    else:
        compression = int(choose([NONE, LOSSLESS_JPEG]))
    if is_float and bits == 24:
        compression = DEFLATE  # readers differ in the byte order of bare 24-bit numbers
    predictor = 1
    if compression == DEFLATE:
        predictor = int(choose([3, 3, 34894, 34895] if is_float else [1, 2, 34892, 34893]))
        if is_float and bits != 24 and rng.random() < 0.3:
            predictor = 1
    is_tiled = rng.random() < 0.5
    block = (
        (int(rng.integers(1, 5)) * 16, int(rng.integers(1, 5)) * 16)
        if is_tiled
        else (int(rng.integers(1, size[0] + 1)), size[1])
    )
    if block[1] % 4 and predictor in (34894, 34895):
        predictor = 3  # rows that two or four pixels do not divide are left open
    subtile = (1, 1)
    if is_tiled and compression != DEFLATE and rng.random() < 0.15:
        subtile = (int(choose([1, 2, 4, 8])), int(choose([2, 4, 8])))
    interleave = (1, 1)
    if rng.random() < 0.3:
        interleave = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    components = 1
    if kind == "rgb":
        components = 3
    elif block[1] % 2 == 0 and rng.random() < 0.7:
        components = 2
    is_planar = kind == "rgb" and rng.random() < 0.25
    return Storage(
        bits=bits,
        is_float=is_float,
        compression=compression,
        predictor=predictor,
        order="<" if rng.random() < 0.6 else ">",
        block=block,
        is_tiled=is_tiled,
        is_planar=is_planar,
        subtile=subtile,
        interleave=interleave,
        jpeg_components=1 if is_planar else components,
        jpeg_predictor=6 if components == 1 and rng.random() < 0.2 else 1,
        expanded=bool(rng.random() < 0.1),
    )


def rounded(
    values: Float[np.ndarray, "h w planes"], storage: Storage
) -> Num[np.ndarray, "h w planes"]:
    """Return samples that the storage can hold: unsigned integers, or floats of so many bits."""
    if not storage.is_float:
        whole = np.clip(np.round(values), 0, 2.0**storage.bits - 1)
        return whole.astype(np.uint32 if storage.bits > 16 else np.uint16)
    if storage.bits == 16:
        return values.astype(np.float16).astype(np.float32)
    found = values.astype(np.float32)
    if storage.bits == 24:  # 16 bits of fraction
        found = (found.view(np.uint32) & np.uint32(0xFFFFFF80)).view(np.float32)
    return found


def layout_tags(storage: Storage, planes: int) -> dict[int, Tag]:
    """Return the tags that say how the samples are stored, but for the size of the picture."""
    tags: dict[int, Tag] = {
        258: (SHORT, [storage.bits] * planes),
        259: (SHORT, [storage.compression]),
        277: (SHORT, [planes]),
        284: (SHORT, [2 if storage.is_planar else 1]),
    }
    if storage.is_tiled:
        tags |= {322: (LONG, [storage.block[1]]), 323: (LONG, [storage.block[0]])}
    else:
        tags[278] = (LONG, [storage.block[0]])
    if storage.predictor != 1:
        tags[317] = (SHORT, [storage.predictor])
    if storage.is_float:
        tags[339] = (SHORT, [3] * planes)
    if storage.subtile != (1, 1) or storage.expanded:
        tags[50974] = (SHORT, list(storage.subtile))
    for code, fields in zip((50975, 52547), storage.interleave, strict=True):
        if fields > 1 or storage.expanded:
            tags[code] = (SHORT if storage.order == "<" else LONG, [fields])
    return tags


def encode_blocks(samples: Num[np.ndarray, "h w planes"], storage: Storage) -> list[bytes]:
    """Return the strips or tiles of a picture."""
    if storage.is_planar:
        single = replace(storage, is_planar=False)
        return [
            b for i in range(samples.shape[2]) for b in encode_blocks(samples[..., [i]], single)
        ]
    for axis, fields in enumerate(storage.interleave):
        order = [i for f in range(fields) for i in range(f, samples.shape[axis], fields)]
        samples = samples.take(order, axis)
    height, width, _ = samples.shape
    rows, columns = storage.block
    if storage.is_tiled:  # what lies beyond the edges is arbitrary; the edge is what is common
        below, right = -height % rows, -width % columns
        samples = np.pad(samples, ((0, below), (0, right), (0, 0)), "edge")
    return [
        _encoded(samples[top : top + rows, left : left + columns], storage)
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]


def _encoded(block: Num[np.ndarray, "rows columns planes"], storage: Storage) -> bytes:
    if storage.is_tiled and storage.subtile != (1, 1):
        block = _into_subtiles(block, storage.subtile)
    rows, columns, planes = block.shape
    if storage.compression == LOSSLESS_JPEG:
        if storage.jpeg_predictor == 6:
            picture = np.ascontiguousarray(block.reshape(rows, columns * planes), np.uint16)
            content = bytes(imagecodecs.ljpeg_encode(picture, bitspersample=storage.bits))
            if _is_decodable(content):
                return content
        parts = storage.jpeg_components
        return encode(
            np.ascontiguousarray(block.reshape(rows, columns * planes // parts, parts), np.uint16),
            storage.bits,
        )
    if storage.predictor in (3, 34894, 34895):
        step = {3: 1, 34894: 2, 34895: 4}[storage.predictor]
        content = _float_predicted(block, storage.bits, step)
    else:
        if storage.predictor in (2, 34892, 34893):
            step = {2: 1, 34892: 2, 34893: 4}[storage.predictor]
            block = block.copy()
            block[:, step:] -= block[:, :-step].copy()
            if storage.bits == 8:
                block &= 255
        content = _packed(block.reshape(rows, -1), storage)
    return zlib.compress(content, 1) if storage.compression == DEFLATE else content


def _is_decodable(content: bytes) -> bool:
    """Tell whether it is lossless JPEG: imagecodecs now and then writes what nothing reads."""
    try:
        imagecodecs.ljpeg_decode(content)
    except imagecodecs.LjpegError:
        return False
    return True


def _packed(lines: Num[np.ndarray, "rows n"], storage: Storage) -> bytes:
    bits = storage.bits
    if storage.is_float:
        return lines.astype(f"{storage.order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32):
        return lines.astype(f"{storage.order}u{bits // 8}").tobytes()
    packed = b""
    for line in lines.tolist():  # most significant bit first; every row begins on a byte
        number = 0
        for value in line:
            number = number << bits | value
        count = math.ceil(len(line) * bits / 8)
        packed += (number << 8 * count - len(line) * bits).to_bytes(count, "big")
    return packed


def _float_predicted(
    block: Float[np.ndarray, "rows columns planes"], bits: int, step: int
) -> bytes:
    """Return bytes by significance, each less the one `step` pixels before (Technical Note 3)."""
    rows, _, planes = block.shape
    if bits == 16:
        octets = block.astype(">f2").view(np.uint8).reshape(rows, -1, 2)
    elif bits == 32:
        octets = block.astype(">f4").view(np.uint8).reshape(rows, -1, 4)
    else:
        fields = block.astype(np.float32).view(np.uint32).reshape(rows, -1).astype(np.int64)
        exponent = np.clip((fields >> 23 & 255) - 127 + 63, 0, 127)
        fraction = np.where(exponent > 0, fields >> 7 & 0xFFFF, 0)
        short = (fields >> 31) << 23 | exponent << 16 | fraction
        octets = np.stack([short >> 16, short >> 8 & 255, short & 255], -1).astype(np.uint8)
    lines = np.ascontiguousarray(octets.swapaxes(1, 2)).reshape(rows, -1)
    distance = step * planes
    lines[:, distance:] -= lines[:, :-distance].copy()
    return lines.tobytes()


def _into_subtiles(
    tile: Num[np.ndarray, "rows columns planes"], size: tuple[int, int]
) -> Num[np.ndarray, "rows columns planes"]:
    rows, columns, planes = tile.shape
    grid = tile.reshape(rows // size[0], size[0], columns // size[1], size[1], planes)
    return np.ascontiguousarray(grid.swapaxes(1, 2)).reshape(tile.shape)
