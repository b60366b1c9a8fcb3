"""Any RAW file -> `RawImage`: checked sensor data and what a rendering must know of the camera.

A DNG is decoded as its tags say (`dng_samples`), any other file by LibRaw (`libraw_samples`), which
also develops what is rare (`libraw_linear`). What a file does not say is replaced by an assumption
that is logged and listed in `RawImage.fallbacks`.
"""

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rawpy
from jaxtyping import Num

from isp_env.color.rgb import camera_to_rec709
from isp_env.dng.apply_opcodes import name_of
from isp_env.dng.layout import MOST_PIXELS
from isp_env.dng.opcodes import GainMap, Listed, MapPolynomial, MapTable, PerLine
from isp_env.dng.tags import DngTags, read_dng_tags
from isp_env.errors import RawFileError
from isp_env.raw.camera_color import as_shot_neutral, xyz_to_camera
from isp_env.raw.dng_samples import dng_samples
from isp_env.raw.exif import SIMULATED, read_exif
from isp_env.raw.image import RawImage
from isp_env.raw.libraw_linear import (
    REC709_FROM_PROPHOTO,
    XYZ_TO_PROPHOTO,
    develop_by_libraw,
)
from isp_env.raw.libraw_linear import WHITE as LINEAR_WHITE
from isp_env.raw.libraw_samples import libraw_samples
from isp_env.raw.picture_check import check_picture
from isp_env.raw.sensor_data import SensorData, UnusualSensorError
from isp_env.raw.xtrans import LIBRAW_TILE, WHITE, demosaic_xtrans

log = logging.getLogger(__name__)

# LibRaw's flip: 1 mirrors left-right, 2 top-bottom, 4 transposes first. Value: EXIF Orientation.
ORIENTATION_OF_FLIP = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}

SMALLEST = 4  # pixels at a side of a mosaic that can be interpolated

NO_NOISE_PROFILE = "no noise profile in the file: that of a typical sensor assumed"

REASONS = {
    rawpy.LibRawFileUnsupportedError: "not a RAW format that LibRaw knows",
    rawpy.LibRawIOError: "truncated or unreadable",
    rawpy.LibRawDataError: "damaged pixel data",
    rawpy.LibRawTooBigError: "larger than LibRaw's memory limit",
}


def read_raw(path: Path | str) -> RawImage:
    """Decode a RAW file and check that there is a picture in it.

    Raises:
        RawFileError: The file is missing or cannot be decoded, its metadata contradict its pixels,
            it demands a correction that cannot be applied, or the pixels are no picture (see
            `check_picture`).
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise RawFileError(path, "no such file")
        tags = read_dng_tags(path)
        with ExitStack() as stack:
            raw = _read(path, tags, _Opener(path, stack))
    except rawpy.LibRawError as error:
        raise RawFileError(path, libraw_reason(error)) from error
    except OSError as error:
        raise RawFileError(path, error.strerror or str(error)) from error
    for fallback in raw.fallbacks:
        # few cameras write a noise profile: a warning for every file would hide the others
        level = logging.INFO if fallback == NO_NOISE_PROFILE else logging.WARNING
        log.log(level, "%s: %s", path, fallback)
    return raw


def libraw_reason(error: rawpy.LibRawError) -> str:
    """Explain an error of LibRaw, with its own words."""
    reason = REASONS.get(type(error), "cannot be decoded")
    said = error.args[0] if error.args else ""
    return f"{reason} (LibRaw: {said.decode() if isinstance(said, bytes) else said})"


class _Opener:
    """Opens the file with LibRaw when it is first asked to; what it returns lives with the stack.

    Its header is read then; the samples are unpacked with whatever else LibRaw is asked.
    """

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path, self.stack = path, stack
        self.opened: rawpy.RawPy | None = None

    def __call__(self) -> rawpy.RawPy:
        if self.opened is None:
            name: str | BinaryIO = str(self.path)
            try:
                name.encode()
            except UnicodeEncodeError:  # rawpy takes names in UTF-8 alone
                name = self.stack.enter_context(self.path.open("rb"))
            self.opened = self.stack.enter_context(rawpy.imread(name))
            sizes = self.opened.sizes
            if sizes.raw_height * sizes.raw_width > MOST_PIXELS:
                told = f"{sizes.raw_height}x{sizes.raw_width}"
                raise RawFileError(self.path, f"declares {told} pixels: more than {MOST_PIXELS:,}")
        return self.opened


def _read(path: Path, tags: DngTags | None, libraw: _Opener) -> RawImage:
    """Return a `RawImage`; views of LibRaw's memory do not outlive the call."""
    try:
        if tags is None:
            sensor = libraw_samples(libraw(), path)
        elif tags.unusual:
            raise UnusualSensorError(tags.unusual)
        else:
            sensor = dng_samples(path, tags, libraw)
    except UnusualSensorError as error:
        return _developed(path, tags, libraw, str(error))
    notes = [*(tags.left_out if tags else ()), *sensor.notes]
    cfa, black, white = sensor.cfa, sensor.black, sensor.white
    if not np.all(black < white):
        raise RawFileError(path, f"black level {black.max():g} is not below white level {white:g}")
    image, plane = _image(sensor)
    if min(image.shape[-2:]) < SMALLEST:
        raise RawFileError(path, f"a picture of {image.shape[-2]}x{image.shape[-1]} pixels")
    if reason := check_picture(image[1] if cfa is None else image, plane, black.mean(), white):
        raise RawFileError(path, reason)
    neutral, note = as_shot_neutral(libraw, tags, image, cfa, black, white)
    notes += [note] if note else []
    matrix, note = xyz_to_camera(libraw, tags)
    notes += [note] if note else []
    by_tags = tags.camera_to_rec709 if tags else None
    deltas = sensor.black_rows, sensor.black_columns
    if cfa is not None and len(cfa) == 6:
        if (side := min(image.shape)) < LIBRAW_TILE:
            reason = f"X-Trans of {side} rows or columns: LibRaw needs {LIBRAW_TILE}"
            raise RawFileError(path, reason)
        if image.dtype != np.uint16:
            scale = WHITE / white
            image, white = np.rint((image * scale).clip(0, WHITE)).astype(np.uint16), float(WHITE)
            black = black * scale
            rows, columns = (None if d is None else d * scale for d in deltas)
            deltas = rows, columns
        image = demosaic_xtrans(image, cfa, black, deltas, white, neutral, matrix)
        black, deltas, white = np.zeros(3), (None, None), float(WHITE)
    return _raw_image(
        path,
        tags,
        libraw,
        notes,
        mosaic=image if image.ndim == 2 else None,
        linear=image if image.ndim == 3 else None,
        cfa=cfa,
        black=black.astype(np.float32),
        black_rows=deltas[0],
        black_columns=deltas[1],
        white=white,
        as_shot_neutral=neutral,
        xyz_to_camera=matrix,
        camera_to_rec709=camera_to_rec709(matrix) if by_tags is None else by_tags,
        gain_maps=sensor.gain_maps,
        active_area=sensor.area,
        opcodes=_third_list(tags) if tags else (),
    )


def _third_list(tags: DngTags) -> tuple[Listed, ...]:
    """Return OpcodeList3; of a picture of one plane, which has become three, for all of them."""
    if tags.layout.samples != 1 or tags.cfa is not None:
        return tags.opcodes[2]
    found = list[Listed]()
    for opcode, is_optional in tags.opcodes[2]:
        if isinstance(opcode, GainMap) and opcode.plane == 0:
            opcode = replace(opcode, planes=3)
        elif isinstance(opcode, MapTable | MapPolynomial | PerLine) and opcode.area.plane == 0:
            opcode = replace(opcode, area=opcode.area._replace(planes=3))
        found.append(Listed(opcode, is_optional))
    return tuple(found)


def _developed(path: Path, tags: DngTags | None, libraw: _Opener, why: str) -> RawImage:
    """Return a picture that LibRaw demosaics and brings to linear RGB."""
    notes = [f"{why}: demosaiced and brought to linear RGB by LibRaw"]
    if tags is not None:
        if not tags.layout.is_plain:
            raise RawFileError(path, f"{why}, in a layout of its parts that LibRaw misreads")
        for listed in (o for part in tags.opcodes for o in part):
            if not listed.is_optional:
                told = f"the file demands {name_of(listed.opcode)}, which cannot be applied ({why})"
                raise RawFileError(path, told)
            notes.append(f"{name_of(listed.opcode)}: left out ({why})")
    try:
        linear = develop_by_libraw(libraw())
    except rawpy.LibRawError as error:
        raise RawFileError(path, f"{why}: {libraw_reason(error)}") from error
    height, width = linear.shape[1:]
    if tags is not None:
        top, left, bottom, right = tags.active_area or (0, 0, *tags.layout.shape)
        if (height, width) != (bottom - top, right - left):  # turned: crops mean nothing there
            tags = replace(tags, crop=None, user_crop=None)
    if reason := check_picture(linear[1], linear[1], 0.0, LINEAR_WHITE):
        raise RawFileError(path, reason)
    return _raw_image(
        path,
        tags,
        libraw,
        notes,
        mosaic=None,
        linear=linear,
        cfa=None,
        black=np.zeros(3, np.float32),
        black_rows=None,
        black_columns=None,
        white=LINEAR_WHITE,
        as_shot_neutral=np.ones(3),
        xyz_to_camera=XYZ_TO_PROPHOTO,
        camera_to_rec709=REC709_FROM_PROPHOTO,
        gain_maps=(),
        active_area=(0, 0, height, width),
        opcodes=(),
    )


def _image(
    sensor: SensorData,
) -> tuple[Num[np.ndarray, "h w"] | Num[np.ndarray, "3 h w"], Num[np.ndarray, "r c"]]:
    """A copy of the samples as a mosaic or three planes, and the green ones on a regular grid."""
    pixels, cfa = sensor.pixels, sensor.cfa
    if cfa is None:  # (h, w, 3 or 4), or (h, w) of a monochrome sensor
        planes = np.moveaxis(pixels[..., :3], 2, 0) if pixels.ndim == 3 else pixels[None]
        image = np.broadcast_to(planes, (3, *planes.shape[1:])).copy()
        return image, image[1]
    is_own = pixels.flags.c_contiguous and pixels.base is not None and pixels.base.flags.owndata
    image = pixels if is_own else pixels.copy()
    row, col = np.argwhere(cfa == 1)[0]
    return image, image[row :: len(cfa), col :: len(cfa)]


def _raw_image(
    path: Path, tags: DngTags | None, libraw: _Opener, notes: list[str], **sensor: Any
) -> RawImage:
    """Add what the file says beside the sensor's data."""
    if tags is None:
        sizes, other = libraw().sizes, libraw().other
        orientation, aspect = ORIENTATION_OF_FLIP[sizes.flip], sizes.pixel_aspect
        iso, exposure_time = other.iso_speed, other.shutter_speed
    else:
        orientation, aspect = tags.orientation, tags.pixel_aspect
        iso, exposure_time = None, None
    noise = tags.noise_profile if tags else None
    notes += [NO_NOISE_PROFILE] if noise is None else []
    notes += [] if aspect == 1 else [f"pixel aspect {aspect:g} is left uncorrected"]
    exif = read_exif(path)
    shape = next(x.shape[-2:] for x in (sensor["mosaic"], sensor["linear"]) if x is not None)
    crop, crop_notes = _crop(shape, tags, is_mosaic=sensor["mosaic"] is not None)
    return RawImage(
        **sensor,
        noise_profile=noise,
        baseline_exposure=tags.baseline_exposure if tags else 0.0,
        orientation=orientation,
        iso=exif.iso or iso or None,
        exposure_time=exif.exposure_time or exposure_time or None,
        crop=crop,
        make=exif.make,
        model=exif.model,
        path=path,
        simulated=exif.description.startswith(SIMULATED),
        fallbacks=tuple(notes + crop_notes),
    )


def _crop(
    shape: tuple[int, int], tags: DngTags | None, *, is_mosaic: bool
) -> tuple[tuple[int, int, int, int], list[str]]:
    """Return DefaultCrop and DefaultUserCrop of a DNG, else all, where a mosaic has even sides."""
    height, width = (side - side % 2 for side in shape) if is_mosaic else shape
    whole = 0, 0, height, width
    if tags is None:
        return whole, []
    notes = list[str]()
    crop = tags.crop or (0, 0, *shape)
    top, left, bottom, right = max(crop[0], 0), max(crop[1], 0), *crop[2:]
    if min(bottom, height) <= top or min(right, width) <= left:
        return whole, [f"the default crop {crop} is not inside the active area: left out"]
    if bottom > shape[0] or right > shape[1] or min(crop) < 0:
        notes.append(f"the default crop {crop} reaches beyond the active area: shortened")
    bottom, right = min(bottom, shape[0]), min(right, shape[1])
    if tags.user_crop:
        rows, columns = bottom - top, right - left
        places = np.array(tags.user_crop) * (rows, columns, rows, columns)
        first, start, last, end = np.floor(places + 0.5).astype(int).tolist()
        top, bottom = top + min(first, rows - 1), top + max(last, first + 1)
        left, right = left + min(start, columns - 1), left + max(end, start + 1)
    bottom, right = min(bottom, height), min(right, width)
    return (min(top, bottom - 1), min(left, right - 1), bottom, right), notes
