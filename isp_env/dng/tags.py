"""The tags of a DNG's full-resolution picture (tifffile). Tag numbers: DNG specification 1.7.1.

Tags that describe samples are those of the page that is decoded; those that describe the camera and
its colours stand in the first page as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import tifffile
from jaxtyping import Float, UInt8, UInt16

from isp_env.dng.color_matrices import calibration_of, matrix_and_neutral, rec709_by_forward_matrix
from isp_env.dng.layout import CFA, LINEAR_RAW, Layout, layout_of, raw_page
from isp_env.dng.opcode_lists import parse_opcodes
from isp_env.dng.opcodes import GainMap, Listed
from isp_env.errors import RawFileError

DNG_VERSION = 50706
NEWEST = (1, 7, 1, 0)  # DNG version that is known here
LINEARIZATION_TABLE = 50712
OPCODE_LISTS = (51008, 51009, 51022)
BAYER = ([[0, 1], [1, 2]], [[1, 0], [2, 1]], [[1, 2], [0, 1]], [[2, 1], [1, 0]])

# What a tag of one page says of its samples means nothing for those of another.
OF_STORED = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339}
    | {LINEARIZATION_TABLE, 50974, 50975, 52547, *OPCODE_LISTS}
)
OF_SAMPLES = frozenset(
    OF_STORED | {33421, 33422, 50710, 50711, *range(50713, 50721), 50829, 50830, 51125}
)

# How many numbers a tag has for a camera of three colours; others are left out.
NUMBERS = {
    50714: "BlackLevel",
    50715: "BlackLevelDeltaH",
    50716: "BlackLevelDeltaV",
    50717: "WhiteLevel",
    50730: "BaselineExposure",
    51041: "NoiseProfile",
}
SIZES = {
    50718: ("DefaultScale", 2),
    50719: ("DefaultCropOrigin", 2),
    50720: ("DefaultCropSize", 2),
    50721: ("ColorMatrix1", 9),
    50722: ("ColorMatrix2", 9),
    50723: ("CameraCalibration1", 9),
    50724: ("CameraCalibration2", 9),
    50727: ("AnalogBalance", 3),
    50728: ("AsShotNeutral", 3),
    50729: ("AsShotWhiteXY", 2),
    50829: ("ActiveArea", 4),
    50964: ("ForwardMatrix1", 9),
    50965: ("ForwardMatrix2", 9),
    51125: ("DefaultUserCrop", 4),
}

Values = Callable[[int], np.ndarray | None]


@dataclass(frozen=True)
class DngTags:
    """Tags of a DNG's full-resolution picture; None where the file does not say."""

    layout: Layout
    orientation: int  # 274 of the first page, else of the picture's; 1..8
    active_area: tuple[int, int, int, int] | None  # 50829: top, left, bottom, right
    linearization: UInt16[np.ndarray, " entries"] | None  # 50712
    black: Float[np.ndarray, "rows cols samples"]  # 50714, from the active area's corner
    black_rows: Float[np.ndarray, " h"] | None  # 50716, added to `black` in each row
    black_columns: Float[np.ndarray, " w"] | None  # 50715, in each column
    white: Float[np.ndarray, " samples"]  # 50717, saturation level of each plane
    crop: tuple[int, int, int, int] | None  # 50719, 50720: top, left, bottom, right in the area
    user_crop: tuple[float, float, float, float] | None  # 51125, in fractions of the crop
    pixel_aspect: float  # 50718, height of a pixel by its width
    camera_to_rec709: Float[np.ndarray, "3 3"] | None  # from 50964, 50965 at the as-shot white
    xyz_to_camera: Float[np.ndarray, "3 3"] | None  # 50721, 50722 at the as-shot white
    as_shot_neutral: Float[np.ndarray, "3"] | None  # 50728, or from 50729; G = 1
    noise_profile: tuple[float, float] | None  # 51041, mean of the planes
    baseline_exposure: float  # 50730, EV
    opcodes: tuple[tuple[Listed, ...], tuple[Listed, ...], tuple[Listed, ...]]  # lists 1, 2, 3
    cfa: UInt8[np.ndarray, "n n"] | None  # 33422, from the area's corner; None without a mosaic
    unusual: str | None  # why the mosaic is none that is developed here
    left_out: tuple[str, ...]  # what the file says and cannot be used, and why


def read_dng_tags(path: Path) -> DngTags | None:
    """Return the tags of a DNG file, or None for any other kind of file.

    Raises:
        RawFileError: The file says it is a DNG, but its tags cannot be parsed or parts of its
            picture are missing.
    """
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    try:
        with tifffile.TiffFile(path) as tiff:
            first = tiff.pages.first
            return _parse_dng(tiff, first, path) if DNG_VERSION in first.tags else None
    except RawFileError:
        raise
    except Exception as error:  # a parser of arbitrary bytes raises anything
        reason = f"damaged DNG structure ({type(error).__name__}: {error})"
        raise RawFileError(path, reason) from error


def _parse_dng(tiff: tifffile.TiffFile, first: tifffile.TiffPage, path: Path) -> DngTags:
    page = raw_page(tiff, path)
    # where the first page is a preview, sloppy writers leave tags of the samples there
    is_other = page is not first and first.photometric in (CFA, LINEAR_RAW)
    not_shared = OF_SAMPLES if is_other else OF_STORED
    shared = {tag.code: tag for tag in first.tags if tag.code not in not_shared}
    tags = shared | {tag.code: tag for tag in page.tags}  # the picture's own tags win
    version = first.tags[DNG_VERSION].value
    layout = layout_of(page, tuple(version) if isinstance(version, (bytes, tuple)) else (), path)

    malformed: dict[int, str] = {}

    def values(code: int) -> np.ndarray | None:
        return None if code not in tags or code in malformed else _numbers(tags[code])

    for code, (name, size) in SIZES.items():
        if (numbers := values(code)) is not None and numbers.size != size:
            malformed[code] = f"{name} has {numbers.size} values, not {size}: left out"
        elif numbers is None and code in tags:
            malformed[code] = f"{name} is no number: left out"
    for code, name in NUMBERS.items():
        if code in tags and values(code) is None:
            malformed[code] = f"{name} is no number: left out"
    left_out = [*malformed.values(), *_beyond(values, tags)]
    cfa, unusual = _mosaic(values, layout, path, is_cfa=page.photometric == CFA)
    of_color = _in_order(values) if cfa is not None else values
    calibration, notes = calibration_of(of_color, _signatures(tags))
    left_out += notes
    matrix, neutral = matrix_and_neutral(calibration, of_color)
    if neutral is None and (code := next((c for c in (50728, 50729) if c in tags), None)):
        left_out.append(f"{SIZES[code][0]} is no white of a light: left out")
    noise, baseline = values(51041), values(50730)
    if noise is not None and (noise.size % 2 or not noise.size):
        left_out.append(f"NoiseProfile has {noise.size} values, not two for each plane: left out")
        noise = None
    elif noise is not None and not np.all((noise >= 0) & (noise < 1)):
        left_out.append(f"NoiseProfile {noise.tolist()} is no noise of a sensor: left out")
        noise = None
    to_rec709 = rec709_by_forward_matrix(calibration, matrix, neutral)
    if calibration.forward and to_rec709 is None:
        left_out.append("ForwardMatrix cannot be used: colours by ColorMatrix alone")
    if baseline is not None and not abs(baseline[0]) < 20:
        raise RawFileError(path, f"damaged DNG structure (BaselineExposure {baseline[0]:g} EV)")
    black, black_note = _black(values, layout.samples, cfa)
    table = values(LINEARIZATION_TABLE)
    white, white_note = _white(values, layout, is_mapped=table is not None)
    user_crop, user_note = _user_crop(values)
    left_out += [note for note in (black_note, white_note, user_note) if note]
    scale = values(50718)
    area, rows = values(50829), values(50716)
    opcodes = [parse_opcodes(tags[code].value) if code in tags else () for code in OPCODE_LISTS]
    for number, part in enumerate(opcodes):
        opcodes[number] = tuple(o for o in part if not _is_outside(o, layout))
        if len(opcodes[number]) < len(part):
            left_out.append(f"a GainMap of OpcodeList{number + 1} lies outside the picture")
    return DngTags(
        layout=layout,
        orientation=_orientation(first.tags, page.tags),
        active_area=None if area is None else _rectangle(area),
        linearization=None if table is None or not table.size else _table(table),
        black=black,
        black_rows=rows,
        black_columns=values(50715),
        white=white,
        crop=_crop(values),
        user_crop=user_crop,
        pixel_aspect=1.0 if scale is None or not scale.min() > 0 else float(scale[1] / scale[0]),
        camera_to_rec709=to_rec709,
        xyz_to_camera=matrix,
        as_shot_neutral=neutral,
        noise_profile=None if noise is None else (noise[0::2].mean(), noise[1::2].mean()),
        baseline_exposure=0.0 if baseline is None else float(baseline[0]),
        opcodes=(opcodes[0], opcodes[1], opcodes[2]),
        cfa=cfa,
        unusual=unusual,
        left_out=tuple(left_out),
    )


def _rectangle(area: Float[np.ndarray, "4"]) -> tuple[int, int, int, int]:
    top, left, bottom, right = area.astype(int).tolist()
    return top, left, bottom, right


def _numbers(tag: tifffile.TiffTag) -> np.ndarray | None:
    """Return a numeric tag as float64 array; None where a number has no value (0/0, NaN)."""
    value = list(tag.value) if isinstance(tag.value, bytes) else tag.value
    if isinstance(value, str):
        return None
    numbers = np.atleast_1d(np.array(value, np.float64))
    if tag.dtype in (tifffile.DATATYPE.RATIONAL, tifffile.DATATYPE.SRATIONAL):
        if numbers.size != 2 * tag.count:  # of more than 1,024, tifffile reads the first half only
            parent = cast(tifffile.TiffFile, tag.parent)
            file = parent.filehandle
            file.seek(tag.valueoffset)
            signed = tag.dtype == tifffile.DATATYPE.SRATIONAL
            kind = parent.byteorder + ("i4" if signed else "u4")
            numbers = np.frombuffer(file.read(8 * tag.count), kind).astype(np.float64)
        numerator, denominator = numbers.reshape(-1, 2).T
        if np.any(denominator == 0):
            return None
        numbers = numerator / denominator
    return numbers if np.isfinite(numbers).all() else None


def _orientation(*pages: tifffile.TiffTags) -> int:
    """Return the orientation (274) of the first page that has one; upright where that is none."""
    for tags in pages:
        if (tag := tags.get(274)) is not None:
            value = _numbers(tag)
            return int(value[0]) if value is not None and value[0] in range(1, 9) else 1
    return 1


def _table(table: Float[np.ndarray, " stored"]) -> UInt16[np.ndarray, " entries"]:
    return table[: 1 << 16].clip(0, 65535).astype(np.uint16)


def _is_outside(listed: Listed, layout: Layout) -> bool:
    """Tell whether an opcode is a gain map that covers nothing of the picture."""
    m, (height, width) = listed.opcode, layout.shape
    return isinstance(m, GainMap) and (m.top >= height or m.left >= width)


def _beyond(values: Values, tags: Mapping[int, tifffile.TiffTag]) -> list[str]:
    """List what the file asks of its rendering that is not done here."""
    notes = list[str]()
    needed = values(50707)
    if needed is not None and tuple(needed.astype(int)) > NEWEST:
        told = ".".join(str(int(x)) for x in needed)
        notes.append(f"the file needs a reader of DNG {told}: read as one of 1.7.1")
    names = {52525: "ProfileGainTableMap", 52544: "ProfileGainTableMap2", 52531: "ColorMatrix3"}
    notes += [f"{name}: left out" for code, name in names.items() if code in tags]
    offset = values(51109)
    if offset is not None and offset.size and offset[0]:
        notes.append(f"BaselineExposureOffset {offset[0]:g} EV: left out")
    return notes


def _signatures(tags: Mapping[int, tifffile.TiffTag]) -> bool:
    """Tell whether CameraCalibration is meant for the profile: both signatures are the same."""
    camera, profile = (
        str(tags[code].value).strip("\0 ") if code in tags else "" for code in (50931, 50932)
    )
    return camera == profile


def _in_order(values: Values) -> Values:
    """Order values as red, green, blue, where CFAPlaneColor (50710) has another order."""
    planes = values(50710)
    order = [0, 1, 2] if planes is None else np.argsort(planes).tolist()

    def ordered(code: int) -> np.ndarray | None:
        found = values(code)
        if found is None or order == [0, 1, 2]:
            return found
        if code in (50721, 50722):
            return found.reshape(3, 3)[order].ravel()
        if code in (50723, 50724):
            return found.reshape(3, 3)[order][:, order].ravel()
        if code in (50964, 50965):
            return found.reshape(3, 3)[:, order].ravel()
        return found[order] if code in (50727, 50728) else found

    return ordered


def _mosaic(
    values: Values, layout: Layout, path: Path, *, is_cfa: bool
) -> tuple[UInt8[np.ndarray, "n n"] | None, str | None]:
    """CFAPattern (33422) in its dimensions (33421), and why it is none that is developed here.

    Developed are 2x2 patterns of Bayer and 6x6 ones of red, green and blue (X-Trans) in a
    rectangular layout (50711), and pictures of one or three planes without a mosaic. LibRaw
    develops others of two columns, one staggered layout and four planes.

    Raises:
        RawFileError: LibRaw would take it for another.
    """
    if not is_cfa:
        if layout.samples not in (1, 3, 4):
            raise RawFileError(path, f"a picture of {layout.samples} planes")
        return None, "a picture of 4 planes" if layout.samples == 4 else None
    size, pattern, planes, arrangement = (values(code) for code in (33421, 33422, 50710, 50711))
    shape = None if size is None or size.size != 2 else tuple(size.astype(int).tolist())
    if pattern is None or shape is None or pattern.size != shape[0] * shape[1]:
        raise RawFileError(path, "a mosaic without a CFAPattern that fills CFARepeatPatternDim")
    found = _smallest(pattern.reshape(shape).astype(np.uint8))
    shape = found.shape
    if arrangement is not None and arrangement.tolist() not in ([1], [2]):
        told = arrangement.astype(int).tolist()
        raise RawFileError(
            path, f"a mosaic in layout {told} (CFALayout), which cannot be read here"
        )
    is_xtrans = shape == (6, 6) and np.bincount(found.ravel()).tolist() == [8, 20, 8]
    if not is_xtrans and (shape[1] != 2 or shape[0] not in (1, 2, 4, 8)):
        told = f"the mosaic {found.tolist()}"
        raise RawFileError(path, f"{told}, which neither this program nor LibRaw develops")
    if layout.samples != 1:
        return None, f"a mosaic of {layout.samples} samples in each pixel"
    if arrangement is not None and arrangement.tolist() == [2]:
        return None, "a staggered mosaic (CFALayout 2)"
    if planes is not None and sorted(planes.tolist()) != [0, 1, 2]:
        return None, f"a mosaic of the colours {planes.astype(int).tolist()} (CFAPlaneColor)"
    if found.tolist() in BAYER or is_xtrans:
        return found, None
    return None, f"the mosaic {found.tolist()}"


def _smallest(pattern: UInt8[np.ndarray, "r c"]) -> UInt8[np.ndarray, "r2 c2"]:
    """Return the smallest part, of two rows and columns at least, that the pattern repeats."""
    rows, columns = pattern.shape
    for height in (n for n in range(2, rows + 1) if rows % n == 0):
        for width in (n for n in range(2, columns + 1) if columns % n == 0):
            part = pattern[:height, :width]
            if np.array_equal(np.tile(part, (rows // height, columns // width)), pattern):
                return part
    return pattern


def _black(
    values: Values, samples: int, cfa: UInt8[np.ndarray, "n n"] | None
) -> tuple[Float[np.ndarray, "rows cols samples"], str | None]:
    """BlackLevel (50714) in its repeat pattern (50713); what to note where it does not fit."""
    black, dim = values(50714), values(50713)
    if black is None or not black.size:
        return np.zeros((1, 1, samples)), None
    rows, cols = (1, 1) if dim is None or dim.size != 2 else dim.astype(int).tolist()
    if min(rows, cols) >= 1 and black.size == rows * cols * samples:
        return black.reshape(rows, cols, samples), None
    told = f"BlackLevel has {black.size} values for a pattern of {rows}x{cols}"
    if black.size == 1:
        return np.full((1, 1, samples), black[0]), None
    if min(rows, cols) >= 1 and black.size == rows * cols:
        return np.repeat(black.reshape(rows, cols, 1), samples, axis=2), None
    if cfa is not None and black.size == cfa.size:
        return black.reshape(*cfa.shape, 1), f"{told}: taken as one for each place of the mosaic"
    if black.size == samples:
        return black.reshape(1, 1, samples), f"{told}: taken as one for each plane"
    mean = np.full((1, 1, samples), black.mean())
    return mean, f"{told}: their mean taken, {black.mean():g}"


def _white(
    values: Values, layout: Layout, *, is_mapped: bool
) -> tuple[Float[np.ndarray, " samples"], str | None]:
    """WhiteLevel (50717) of each plane; by default the largest number that a sample can hold."""
    white = values(50717)
    most = 1.0 if layout.is_float else 2.0**layout.bits - 1
    if white is None or not white.size:
        return np.full(layout.samples, most), None
    note = None
    if white.size not in (1, layout.samples) and np.ptp(white) > 0:
        note = f"WhiteLevel has {white.size} values for {layout.samples} planes: the first taken"
    levels = white[: layout.samples] if white.size >= layout.samples else white[:1]
    reachable = np.inf if layout.is_float else max(most, 65535.0) if is_mapped else most
    if not np.all((levels > 0) & (levels <= reachable)):
        return np.full(layout.samples, most), (
            f"WhiteLevel {levels.tolist()} is none of samples of {layout.bits} bits: {most:g} taken"
        )
    return np.broadcast_to(levels, (layout.samples,)).copy(), note


def _crop(values: Values) -> tuple[int, int, int, int] | None:
    """Return DefaultCropOrigin (50719) and DefaultCropSize (50720), which say column before row."""
    origin, size = values(50719), values(50720)
    if origin is None or size is None:
        return None
    left, top = np.floor(origin + 0.5).astype(int).tolist()  # halves up, as the DNG SDK rounds
    width, height = np.floor(size + 0.5).astype(int).tolist()
    return top, left, top + height, left + width


def _user_crop(
    values: Values,
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """Return DefaultUserCrop (51125): top, left, bottom, right as fractions of the default crop."""
    crop = values(51125)
    if crop is None:
        return None, None
    top, left, bottom, right = crop.tolist()
    if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
        return None, f"DefaultUserCrop {crop.tolist()} is no part of the picture: left out"
    return (top, left, bottom, right), None
