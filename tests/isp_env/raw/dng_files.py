"""DNG files of a simulated picture, with parts, numbers and tags of one's own."""

import numpy as np
import tifffile

from experiments.isp.dng_reference.tiff_writer import (
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    ByteOrder,
    Directory,
    Tag,
    rationals,
    write_tiff,
)
from isp_env.dng.layout import Layout
from isp_env.dng.tags import DngTags, read_dng_tags
from isp_env.raw import RawImage
from isp_env.raw import write_dng as dng
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate


def a_mosaic(shape=(64, 80)) -> np.ndarray:
    mosaic = a_picture(shape).mosaic
    assert mosaic is not None
    return mosaic


def a_picture(shape=(64, 80), camera=NIKON_D750) -> RawImage:
    photo = np.random.default_rng(0).uniform(0, 1, (3, shape[0] // 8, shape[1] // 8))
    photo = photo.repeat(8, 1).repeat(8, 2)
    raw, _ = simulate(photo, camera, Capture(iso=800), np.random.default_rng(1))
    return raw


def write_parts(path, raw, parts, *, tile=None, rows=None, extra=(), drop=()) -> None:
    """A DNG with these parts in the places of its strips or tiles, with tags added or left out."""
    tags = [*(tag for tag in dng._tags(raw, np.asarray(raw.mosaic)) if tag[0] not in drop), *extra]
    tifffile.imwrite(
        path,
        raw.mosaic,
        photometric=dng.CFA,
        tile=tile,
        rowsperstrip=rows,
        metadata=None,
        byteorder="<",
        extratags=[tag for tag in tags if tag[0] != dng.EXIF_IFD_PLACE],
    )
    offsets = []
    with path.open("r+b") as file:
        file.seek(0, 2)
        for part in parts:
            offsets.append(file.tell())
            file.write(part + bytes(len(part) % 2))
    sizes = [len(part) for part in parts]
    codes = (324, 325) if tile else (273, 279)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        found = tiff.pages.first.tags
        for code, numbers in zip(codes, (offsets, sizes), strict=True):
            assert found[code].count == len(numbers)
            found[code].overwrite(numbers)
        found[259].overwrite(dng.LOSSLESS_JPEG)


def tags_of(path) -> DngTags:
    tags = read_dng_tags(path)
    assert tags is not None
    return tags


def write_stored(raw: RawImage, samples: np.ndarray, path, *extra, **options) -> Layout:
    """A DNG of these stored numbers, with the tags of `raw` and others."""
    tags = [t for t in dng._tags(raw, np.asarray(raw.mosaic)) if t[0] not in {e[0] for e in extra}]
    tifffile.imwrite(
        path,
        samples,
        photometric=dng.CFA,
        metadata=None,
        extratags=[*(t for t in tags if t[0] != dng.EXIF_IFD_PLACE), *extra],
        **options,
    )
    return tags_of(path).layout


def write_blocks(
    raw: RawImage,
    path,
    blocks: list[bytes],
    changes: dict[int, Tag],
    order: ByteOrder = "<",
) -> None:
    """A DNG with the colours of `raw`, and blocks and tags of one's own."""
    path.write_bytes(write_tiff([directory_of(raw, blocks, changes)], order))


def directory_of(raw: RawImage, blocks: list[bytes], changes: dict[int, Tag]) -> Directory:
    """The directory of such a DNG."""
    height, width = mosaic_of(raw).shape
    tags: dict[int, Tag] = {
        254: (LONG, [0]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [16]),
        259: (SHORT, [1]),
        262: (SHORT, [32803]),
        277: (SHORT, [1]),
        278: (LONG, [height]),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, bytes(np.ravel(NIKON_D750.cfa).tolist())),
        50706: (BYTE, bytes((1, 4, 0, 0))),
        50721: (SRATIONAL, rationals(raw.xyz_to_camera.ravel().tolist(), 10_000)),
        50728: (RATIONAL, rationals(raw.as_shot_neutral.tolist(), 10_000)),
    }
    return Directory({**tags, **changes}, blocks)


def mosaic_of(raw: RawImage) -> np.ndarray:
    assert raw.mosaic is not None
    return raw.mosaic
