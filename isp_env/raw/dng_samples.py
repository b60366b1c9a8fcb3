"""Samples of a DNG, mapped to linear reference values as its own tags say.

DNG specification 1.7.1, chapter 5, "Mapping Raw Values to Linear Reference Values": OpcodeList1,
linearization table, active area, black level, white level, OpcodeList2. Where a file states one
white level and a black level that repeats with the mosaic, the stored numbers stay as they are and
the levels are told; else the numbers become light from 0 to 1.

LibRaw decodes the rare kinds of lossless JPEG, but two layouts of them it takes for others, without
an error: several strips, and tiles of two components of which exactly two lie side by side.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import rawpy
from jaxtyping import Float32, Num, UInt8

from isp_env.dng.apply_opcodes import WARPS, OpcodeError, apply_opcode, mend, name_of
from isp_env.dng.layout import LOSSLESS_JPEG, Layout
from isp_env.dng.lossless_jpeg import HEADERS, count_components
from isp_env.dng.opcodes import GainMap, Listed, TrimBounds, UnknownOpcode
from isp_env.dng.samples import UnsupportedSamplesError, read_samples
from isp_env.dng.tags import DngTags
from isp_env.errors import RawFileError
from isp_env.raw.optical_black import covered_black
from isp_env.raw.sensor_data import Area, SensorData, highest_black

log = logging.getLogger(__name__)

STRIP = 256  # rows that are normalised at a time
BEYOND = 16  # rows and columns by which an active area may miss its frame
MOST_BAD = 0.01  # of the samples that may be mended


def dng_samples(path: Path, tags: DngTags, libraw: Callable[[], rawpy.RawPy]) -> SensorData:
    """Decode a DNG's samples.

    Args:
        path: The file.
        tags: Of a picture that is not `unusual`.
        libraw: Opens the file with LibRaw, if it is needed.

    Raises:
        RawFileError: The pixels are damaged, or contradict the tags, or an opcode that the file
            demands cannot be applied.
        rawpy.LibRawError: LibRaw is needed, and cannot decode it.
    """
    notes = list[str]()
    frame, area, cfa = _linear_frame(path, tags, libraw, notes)
    top, left, bottom, right = area
    pixels = frame[top:bottom, left:right]
    rows, columns = _deltas(tags, pixels.shape, notes)
    second = _usable(tags, 1, path, notes)
    size = 1 if cfa is None else len(cfa)
    repeats = size % tags.black.shape[0] == 0 and size % tags.black.shape[1] == 0
    maps = [o.opcode for o in second if isinstance(o.opcode, GainMap)]
    is_deferred = len(maps) == len(second) and not (maps and size == 6)
    if not (repeats and is_deferred and np.ptp(tags.white) == 0 and frame.dtype != np.uint32):
        light = _normalise(pixels, tags, rows, columns, path)
        light, cfa, (down, across) = _apply(light, second, cfa, 1, 1.0, path, notes)
        top, left = top + down, left + across
        area = top, left, top + light.shape[1], left + light.shape[2]
        black = np.zeros((size, size) if cfa is not None else 3)
        return SensorData(_last_planes(light), area, cfa, black, 1.0, notes=tuple(notes))
    white, black = float(tags.white[0]), _level(tags, cfa)
    if cfa is not None and size == 2 and rows is None and columns is None and not tags.opcodes[0]:
        black, note = covered_black(frame, area, black, white)
        notes += [note] if note else []
    if pixels.dtype.kind == "f" or tags.opcodes[0]:  # what list 1 has brightened is no damage
        pixels = np.minimum(pixels, np.array(np.ceil(white), pixels.dtype))
    if tags.layout.samples == 1 and cfa is None:  # its only plane becomes three
        maps = [replace(m, planes=3) for m in maps if m.plane == 0]
    return SensorData(pixels, area, cfa, black, white, rows, columns, tuple(maps), tuple(notes))


def _linear_frame(
    path: Path, tags: DngTags, libraw: Callable[[], rawpy.RawPy], notes: list[str]
) -> tuple[Num[np.ndarray, "..."], Area, UInt8[np.ndarray, "n n"] | None]:
    """All samples after OpcodeList1 and the linearization table; active area and its mosaic."""
    frame, is_linear = _decode(path, tags, libraw)
    area, cfa = tags.active_area, tags.cfa
    of_frame = np.roll(cfa, area[:2], axis=(0, 1)) if cfa is not None and area else cfa
    if frame.dtype.kind == "f":
        frame = _finite(frame, of_frame, path, notes)
    if first := _usable(tags, 0, path, notes):
        frame, trimmed = _first_list(frame, first, of_frame, path, notes)
        cfa = cfa if area else trimmed  # the pattern of a file begins at its active area
    if tags.linearization is not None and not is_linear:
        if frame.dtype.kind == "f":
            notes.append("LinearizationTable of floating point samples: left out")
        else:
            table = tags.linearization
            frame = table[np.minimum(frame, len(table) - 1)]
    height, width = frame.shape[:2]
    area = area or (0, 0, height, width)
    inside = area[0], area[1], min(area[2], height), min(area[3], width)
    if area != inside and 0 < area[2] - inside[2] + area[3] - inside[3] <= BEYOND:
        notes.append(f"the active area {area} reaches beyond the frame: shortened")
        area = inside
    if not (0 <= area[0] < area[2] <= height and 0 <= area[1] < area[3] <= width):
        told = f"the active area {area} is not inside the frame of {height}x{width} pixels"
        raise RawFileError(path, told)
    return frame, area, cfa


def _finite(
    frame: Num[np.ndarray, "..."],
    cfa: UInt8[np.ndarray, "n n"] | None,
    path: Path,
    notes: list[str],
) -> Num[np.ndarray, "..."]:
    """Return floating point samples, those that are no numbers mended as bad pixels are.

    Raises:
        RawFileError: They are too many.
    """
    bad = ~np.isfinite(frame)
    if not bad.any():
        return frame
    if bad.mean() > MOST_BAD:
        raise RawFileError(path, f"damaged pixel data: {bad.mean():.1%} are no finite numbers")
    notes.append(f"{bad.sum()} samples that are no finite numbers: interpolated")
    frame = frame.copy()
    planes = np.moveaxis(np.atleast_3d(frame), 2, 0), np.moveaxis(np.atleast_3d(bad), 2, 0)
    for plane, mask in zip(*planes, strict=True):
        mend(plane, mask, cfa)
    return frame


def _decode(
    path: Path, tags: DngTags, libraw: Callable[[], rawpy.RawPy]
) -> tuple[Num[np.ndarray, "h w *samples"], bool]:
    """Return all samples of the picture, and whether they went through the linearization table."""
    try:
        return read_samples(path, tags.layout), False
    except UnsupportedSamplesError as error:
        log.debug("%s: left to LibRaw: %s", path, error)
    if _misread_by_libraw(path, tags.layout):
        raise RawFileError(path, "damaged pixel data, or a layout that LibRaw misreads")
    frame = libraw().raw_image
    if frame.shape[:2] != tags.layout.shape:
        told, found = ("x".join(map(str, s)) for s in (tags.layout.shape, frame.shape[:2]))
        raise RawFileError(path, f"the tags say {told} pixels, LibRaw decodes {found}")
    if _usable(tags, 0, path, []) and tags.linearization is not None:
        raise RawFileError(path, "OpcodeList1 belongs before a table that LibRaw has applied")
    frame = frame[..., : tags.layout.samples] if frame.ndim == 3 else frame
    return frame.copy(), True


def _misread_by_libraw(path: Path, layout: Layout) -> bool:
    """Tell whether LibRaw decodes something else, without an error (see the module's docstring)."""
    if layout.compression != LOSSLESS_JPEG:
        return False
    if not layout.is_tiled:
        return len(layout.offsets) > 1
    if 2 * layout.part[1] != layout.shape[1]:
        return False
    with path.open("rb") as file:
        file.seek(layout.offsets[0])
        return count_components(np.frombuffer(file.read(HEADERS), np.uint8)) == 2


def _usable(tags: DngTags, number: int, path: Path, notes: list[str]) -> tuple[Listed, ...]:
    """The opcodes of list 1 or 2 that can be applied; the others are noted, or refuse the file."""
    found = list[Listed]()
    for listed in tags.opcodes[number]:
        if isinstance(listed.opcode, (UnknownOpcode, *WARPS)):
            _leave_out(listed, number, "no correction of a mosaic", path, notes)
        else:
            found.append(listed)
    return tuple(found)


def _leave_out(listed: Listed, number: int, why: str, path: Path, notes: list[str]) -> None:
    name = f"{name_of(listed.opcode)} of OpcodeList{number + 1}"
    if not listed.is_optional:
        raise RawFileError(path, f"the file demands {name}, which cannot be applied ({why})")
    notes.append(f"{name}: left out ({why})")


def _first_list(
    frame: Num[np.ndarray, "..."],
    opcodes: tuple[Listed, ...],
    cfa: UInt8[np.ndarray, "n n"] | None,
    path: Path,
    notes: list[str],
) -> tuple[Num[np.ndarray, "..."], UInt8[np.ndarray, "n n"] | None]:
    """Apply OpcodeList1 to the samples as they are stored; the mosaic of what is left."""
    top = 1.0 if frame.dtype.kind == "f" else float(np.iinfo(frame.dtype).max)
    planes = np.ascontiguousarray(np.moveaxis(np.atleast_3d(frame), 2, 0), np.float32)
    planes, cfa, _ = _apply(planes, opcodes, cfa, 0, top, path, notes)
    if frame.dtype.kind != "f":
        planes = np.rint(planes).clip(0, top)
    return _last_planes(planes.astype(frame.dtype)), cfa


def _apply(
    image: Float32[np.ndarray, "c h w"],
    opcodes: tuple[Listed, ...],
    cfa: UInt8[np.ndarray, "n n"] | None,
    number: int,
    top: float,
    path: Path,
    notes: list[str],
) -> tuple[Float32[np.ndarray, "c h2 w2"], UInt8[np.ndarray, "n n"] | None, tuple[int, int]]:
    """Apply opcodes: the image, its mosaic from its corner, and the row and column of that."""
    corner = 0, 0
    for listed in opcodes:
        try:
            image = apply_opcode(image, listed.opcode, cfa, top)
        except OpcodeError as error:
            _leave_out(listed, number, str(error), path, notes)
            continue
        if isinstance(trim := listed.opcode, TrimBounds):
            corner = corner[0] + trim.top, corner[1] + trim.left
            cfa = None if cfa is None else np.roll(cfa, (-trim.top, -trim.left), axis=(0, 1))
    return image, cfa, corner


def _last_planes(planes: Num[np.ndarray, "c h w"]) -> Num[np.ndarray, "h w *c"]:
    return planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, 2)


def _deltas(
    tags: DngTags, shape: tuple[int, ...], notes: list[str]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the deltas of the black level, of each row and each column of the active area."""
    found = list[np.ndarray | None]()
    names = ("BlackLevelDeltaV", "rows"), ("BlackLevelDeltaH", "columns")
    for deltas, size, (name, of) in zip(
        (tags.black_rows, tags.black_columns), shape[:2], names, strict=True
    ):
        fits = deltas is not None and deltas.size == size
        if deltas is not None and not fits:
            notes.append(f"{name} has {deltas.size} values for {size} {of}: left out")
        found.append(deltas if fits and deltas is not None and deltas.any() else None)
    return found[0], found[1]


def _level(tags: DngTags, cfa: UInt8[np.ndarray, "n n"] | None) -> Num[np.ndarray, "*channels"]:
    """Return the black level per CFA position (n, n) or channel (3,)."""
    rows, columns, _ = tags.black.shape
    if cfa is None:
        return np.broadcast_to(tags.black[0, 0], (3,)).copy()
    return np.tile(tags.black[..., 0], (len(cfa) // rows, len(cfa) // columns))


def _normalise(
    pixels: Num[np.ndarray, "h w *samples"],
    tags: DngTags,
    rows: np.ndarray | None,
    columns: np.ndarray | None,
    path: Path,
) -> Float32[np.ndarray, "c h w"]:
    """Map samples to light: 0 = black, 1 = white, clipped there."""
    samples = np.atleast_3d(pixels)
    height, width, count = samples.shape
    down, across, _ = tags.black.shape
    span = tags.white - highest_black(tags.black, rows, columns)
    if not span.min() > 0:
        told = f"black level {tags.black.max():g} is not below white level {tags.white.min():g}"
        raise RawFileError(path, told)
    lines = np.tile(tags.black, (1, -(-width // across), 1))[:, :width]  # (down, w, c)
    if columns is not None:
        lines = lines + columns[:, None]
    light = np.empty((count, height, width), np.float32)
    for top in range(0, height, STRIP):
        places = np.arange(top, min(top + STRIP, height))
        dark = lines[places % down]
        if rows is not None:
            dark = dark + rows[places, None, None]
        part = (samples[places] - dark) / span
        light[:, places] = np.moveaxis(np.minimum(part, 1), 2, 0)
    return light
