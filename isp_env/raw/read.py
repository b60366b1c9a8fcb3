"""Any RAW file -> `RawImage`: checked sensor data and what a rendering must know of the camera.

LibRaw (rawpy) decodes the pixels, or `sensor_data` where that is faster; `dng.tags` and `exif` read
what LibRaw does not pass on. What a file does not say is replaced by an assumption that is logged
and listed in `RawImage.fallbacks`.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import rawpy

from isp_env.color import camera_to_rec709
from isp_env.dng.tags import DngTags, read_dng_tags
from isp_env.errors import RawFileError
from isp_env.raw.camera_color import as_shot_neutral, xyz_to_camera
from isp_env.raw.exif import SIMULATED, read_exif
from isp_env.raw.image import RawImage
from isp_env.raw.optical_black import covered_black
from isp_env.raw.picture_check import check_picture
from isp_env.raw.sensor_data import sensor_data
from isp_env.raw.xtrans import LIBRAW_TILE, WHITE, demosaic_xtrans

log = logging.getLogger(__name__)

# LibRaw's flip: 1 mirrors left-right, 2 top-bottom, 4 transposes first. Value: EXIF Orientation.
ORIENTATION_OF_FLIP = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}

MOST_PIXELS = 600_000_000  # that a file may declare: four times the largest sensor on sale

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
        RawFileError: The file is missing, LibRaw cannot decode it, its metadata contradict its
            pixels, or the pixels are no picture (see `check_picture`).
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise RawFileError(path, "no such file")
        tags = read_dng_tags(path)
        with rawpy.imread(str(path)) as libraw:  # reads the header only
            sizes = libraw.sizes
            if sizes.raw_height * sizes.raw_width > MOST_PIXELS:
                told = f"{sizes.raw_height}x{sizes.raw_width}"
                raise RawFileError(path, f"declares {told} pixels: more than {MOST_PIXELS:,}")
            raw = _decode(libraw, tags, path)
    except rawpy.LibRawError as error:
        reason = REASONS.get(type(error), "cannot be decoded")
        said = error.args[0] if error.args else ""
        said = said.decode() if isinstance(said, bytes) else said
        raise RawFileError(path, f"{reason} (LibRaw: {said})") from error
    except OSError as error:
        raise RawFileError(path, error.strerror or str(error)) from error
    except NotImplementedError as error:  # rawpy, of patterns that it cannot express
        raise RawFileError(path, f"its mosaic is not supported ({error})") from error
    for fallback in raw.fallbacks:
        # few cameras write a noise profile: a warning for every file would hide the others
        level = logging.INFO if fallback == NO_NOISE_PROFILE else logging.WARNING
        log.log(level, "%s: %s", path, fallback)
    return raw


def _decode(libraw: rawpy.RawPy, tags: DngTags | None, path: Path) -> RawImage:
    """A `RawImage` from an opened file; views of LibRaw's memory do not outlive the call."""
    sensor = sensor_data(libraw, tags, path)
    area, cfa, black, white = sensor.area, sensor.cfa, sensor.black, sensor.white
    top, left, bottom, right = area
    pixels = sensor.frame[top:bottom, left:right]
    black_note, deltas = None, _black_deltas(tags, area)
    left_out = (*tags.left_out, *_misfits(tags, area)) if tags else ()
    is_bayer = cfa is not None and len(cfa) == 2
    if tags and is_bayer and not any(d is not None for d in deltas):  # elsewhere LibRaw measures it
        black, black_note = covered_black(sensor.frame, area, black, white)
    if not np.all(black < white):
        raise RawFileError(path, f"black level {black.max():g} is not below white level {white:g}")

    if cfa is None:  # linear: (h, w, 3 or 4), or (h, w) of a monochrome sensor
        image = np.moveaxis(pixels[..., :3], 2, 0) if pixels.ndim == 3 else pixels[None]
        image = np.broadcast_to(image, (3, *image.shape[1:])).copy()
        whole, plane = image[1], image[1]
    else:
        image = pixels
        if is_bayer:  # the others are demosaiced below, while LibRaw's memory is there
            image = np.ascontiguousarray(pixels) if sensor.frame.flags.owndata else pixels.copy()
        step = len(cfa)
        row, col = np.argwhere(cfa == 1)[0]
        whole, plane = image, image[row::step, col::step]
    if reason := check_picture(whole, plane, float(black.mean()), white):
        raise RawFileError(path, reason)

    neutral, neutral_note = as_shot_neutral(libraw, tags, image, cfa, black, white)
    matrix, matrix_note = xyz_to_camera(libraw, tags)
    by_tags = tags.camera_to_rec709 if tags else None
    to_rec709 = camera_to_rec709(matrix) if by_tags is None else by_tags
    gain_maps = tags.gain_maps if tags else ()
    if cfa is None and pixels.ndim == 2:  # its only plane has become three
        gain_maps = tuple(replace(m, planes=3) for m in gain_maps if m.plane == 0)
    if cfa is not None and len(cfa) == 6:
        if (side := min(image.shape)) < LIBRAW_TILE:
            reason = f"X-Trans of {side} rows or columns: LibRaw needs {LIBRAW_TILE}"
            raise RawFileError(path, reason)
        image = demosaic_xtrans(image, cfa, black, deltas, white, neutral, matrix)
        black, deltas, white = np.zeros(3), (None, None), float(WHITE)
        if gain_maps:  # they come before the mosaic is interpolated
            left_out = (*left_out, "GainMap (lens shading) of an X-Trans mosaic: left out")
            gain_maps = ()
    noise = tags.noise_profile if tags else None
    noise_note = NO_NOISE_PROFILE if noise is None else None
    aspect = libraw.sizes.pixel_aspect
    aspect_note = None if aspect == 1 else f"pixel aspect {aspect:g} is left uncorrected"
    exif = read_exif(path)
    return RawImage(
        mosaic=image if image.ndim == 2 else None,
        linear=image if image.ndim == 3 else None,
        cfa=cfa,
        black=black.astype(np.float32),
        black_rows=deltas[0],
        black_columns=deltas[1],
        white=white,
        as_shot_neutral=neutral,
        xyz_to_camera=matrix,
        camera_to_rec709=to_rec709,
        noise_profile=noise,
        baseline_exposure=tags.baseline_exposure if tags else 0.0,
        gain_maps=gain_maps,
        orientation=ORIENTATION_OF_FLIP[libraw.sizes.flip],
        iso=exif.iso or libraw.other.iso_speed or None,
        exposure_time=exif.exposure_time or libraw.other.shutter_speed or None,
        active_area=area,
        crop=_crop(area, tags, image.ndim == 2, path),
        make=exif.make,
        model=exif.model,
        path=path,
        simulated=exif.description.startswith(SIMULATED),
        fallbacks=tuple(
            note
            for note in (*left_out, black_note, neutral_note, matrix_note, noise_note, aspect_note)
            if note
        ),
    )


def _black_deltas(
    tags: DngTags | None, area: tuple[int, int, int, int]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What is added to the black level in each row and in each column of the active area."""
    if tags is None:
        return None, None
    sizes = (area[2] - area[0], area[3] - area[1])
    found = zip((tags.black_rows, tags.black_columns), sizes, strict=True)
    rows, columns = (
        d if d is not None and d.size == size and d.any() else None for d, size in found
    )
    return rows, columns


def _misfits(tags: DngTags, area: tuple[int, int, int, int]) -> list[str]:
    """Which black deltas are left out, because they are not one for each row or column."""
    found = (
        ("BlackLevelDeltaV", tags.black_rows, area[2] - area[0], "rows"),
        ("BlackLevelDeltaH", tags.black_columns, area[3] - area[1], "columns"),
    )
    return [
        f"{name} has {deltas.size} values for {size} {of}: left out"
        for name, deltas, size, of in found
        if deltas is not None and deltas.size != size
    ]


def _crop(
    area: tuple[int, int, int, int], tags: DngTags | None, is_mosaic: bool, path: Path
) -> tuple[int, int, int, int]:
    """The DefaultCrop of a DNG, else the whole area, where a mosaic has even sides."""
    height, width = area[2] - area[0], area[3] - area[1]
    if is_mosaic:
        height, width = height - height % 2, width - width % 2
    if tags is None or tags.crop is None:
        return 0, 0, height, width
    top, left, bottom, right = tags.crop
    if not (0 <= top < bottom <= height + 1 and 0 <= left < right <= width + 1):
        raise RawFileError(path, f"the default crop {tags.crop} is not inside the active area")
    return top, left, min(bottom, height), min(right, width)
