"""MIT-Adobe FiveK: 5,000 DNGs and five experts' renderings of each.

Bychkovsky et al. 2011, "Learning Photographic Global Tonal Adjustment with a Database of Input /
Output Image Pairs"; https://data.csail.mit.edu/graphics/fivek. The folders are those of the
archive and of the web site, also inside of `fivek_dataset/` or `img/`:

    raw_photos/HQa1to700/photos/a0001-jmac_DSC1459.dng    or    dng/a0001-jmac_DSC1459.dng
    tiff16_a/a0001-jmac_DSC1459.tif   ...   tiff16_e/a0001-jmac_DSC1459.tif

The DNGs are taken as they are, with the white balance as shot: the inputs that Lightroom exports
from the catalogue often carry the balance of expert C.

| split | ids | photographs |
|---|---|---|
| train | 1-4000 without test_b | 3,205 |
| validation | 4001-4500 without test_b | 385 |
| test_a | 4501-5000, the range most often held out | 500 |
| test_b | the 1,000 of Exposure and TreEnhance | 1,000; 90 of them in test_a |
"""

import csv
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
import torch
from jaxtyping import Float32
from torch.nn import functional

from isp_env.color.icc_profile import ProfileError, parse_matrix_profile
from isp_env.color.output_spaces import D50_FROM_D65, PROPHOTO
from isp_env.color.rgb import XYZ_FROM_REC709, srgb_encode
from isp_env.develop.linear_image import upright
from isp_env.errors import IspEnvError

log = logging.getLogger(__name__)

Split = Literal["train", "validation", "test_a", "test_b"]
Expert = Literal["a", "b", "c", "d", "e"]

URL = "https://data.csail.mit.edu/graphics/fivek"
TEST_B_URL = "FiveK_test.txt of https://github.com/yuanming-hu/exposure"
TEST_B_SIZE = 1000
MARK = "in_exposure_test_1000"
NESTED = (".", "fivek_dataset", "img")
DNG_FOLDERS = ("raw_photos/*/photos", "dng")
NAMED = 5  # missing files that an error names
ORIENTATION, ICC_PROFILE = 274, 34675  # TIFF tags
SAME_SHAPE = 0.02  # relative; Adobe crops a few pixels otherwise than the camera


class FiveKError(IspEnvError):
    """A folder that is not FiveK, or not all that was asked for of it."""


@dataclass(frozen=True)
class FiveKPhoto:
    """One photograph.

    Attributes:
        id: 1..5000.
        name: As the data set calls it, for example "a0001-jmac_DSC1459".
        dng: The RAW file.
        experts: TIFF of each expert that was asked for.
    """

    id: int
    name: str
    dng: Path
    experts: Mapping[str, Path]


def read_test_b(path: Path) -> frozenset[int]:
    """Return ids of test B from Exposure's `FiveK_test.txt`, or from a CSV file that marks them.

    Args:
        path: One photograph in each line, by its id or its name; or a table with the columns
            `basename` and `in_exposure_test_1000` (0 or 1).

    Raises:
        FiveKError: The file is missing, or does not name 1,000 photographs of FiveK.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise FiveKError(f"{path}: {error.strerror}; test B is {TEST_B_URL}") from error
    if MARK in lines[0]:
        rows = csv.DictReader(lines)
        names = [row["basename"] for row in rows if row[MARK].strip() == "1"]
    else:
        names = [line.strip() for line in lines if line.strip()]
    numbers = [re.match(r"a?(\d{1,4})\b", name) for name in names]
    ids = frozenset(int(number[1]) for number in numbers if number)
    if None in numbers or len(ids) != TEST_B_SIZE or not ids <= set(range(1, 5001)):
        raise FiveKError(
            f"{path}: expected {TEST_B_SIZE:,} ids or names of FiveK, found {len(ids):,} among "
            f"{len(names):,} lines; test B is {TEST_B_URL}"
        )
    return ids


def split_ids(split: Split, test_b: frozenset[int]) -> tuple[int, ...]:
    """Return ids of a split, ascending.

    Args:
        split: Which.
        test_b: From `read_test_b`; training and validation leave them out.
    """
    if split == "test_b":
        return tuple(sorted(test_b))
    first, last = {"train": (1, 4000), "validation": (4001, 4500), "test_a": (4501, 5000)}[split]
    held_out = test_b if split != "test_a" else frozenset()
    return tuple(number for number in range(first, last + 1) if number not in held_out)


def read_fivek(
    root: Path, ids: Iterable[int], experts: Sequence[Expert] = (), *, partial: bool = False
) -> list[FiveKPhoto]:
    """Find photographs and their renderings; opens none of them.

    Args:
        root: Folder of the data set.
        ids: Which photographs, for example of `split_ids`; the result keeps their order.
        experts: Whose renderings.
        partial: Leave out what is not wholly there, with a warning, instead of refusing.

    Raises:
        FiveKError: There is no such data set, or something of it is missing; the message says what.
    """
    if not root.is_dir():
        raise FiveKError(f"{root}: no such folder; FiveK is to be had from {URL}")
    dngs = _numbered(root, DNG_FOLDERS, ".dng")
    if not dngs:
        looked = " or ".join(f"{folder}/a0001-*.dng" for folder in DNG_FOLDERS)
        raise FiveKError(f"{root}: no DNG of FiveK (expected {looked}); see {URL}")
    tiffs = {expert: _numbered(root, (f"tiff16_{expert}",), ".tif") for expert in experts}
    photos: list[FiveKPhoto] = []
    missing: dict[str, list[str]] = {}
    for number in ids:
        if number not in dngs:
            missing.setdefault("DNG", []).append(f"a{number:04d}-*.dng")
            continue
        name = dngs[number].stem
        found = {e: tiffs[e][number] for e in experts if number in tiffs[e]}
        for expert in experts:
            if expert not in found:
                lacking = missing.setdefault(f"rendering by expert {expert.upper()}", [])
                lacking.append(f"tiff16_{expert}/{name}.tif")
        if len(found) == len(experts):
            photos.append(FiveKPhoto(number, name, dngs[number], found))
    if missing:
        said = "; ".join(f"no {what} of {_some(names)}" for what, names in missing.items())
        if not partial:
            raise FiveKError(f"{root}: {said}. The files are to be had from {URL}")
        log.warning("%s: left out: %s", root, said)
    return photos


def read_expert(path: Path, size: tuple[int, int] | None = None) -> Float32[np.ndarray, "3 h w"]:
    """Read an expert's rendering as encoded sRGB in [0, 1], upright.

    The embedded profile is obeyed, relative colorimetric; colours outside of sRGB are clipped. A
    file without a profile is taken for ProPhoto RGB, as which the data set is published.

    Args:
        path: 16-bit RGB TIFF.
        size: Height and width to reduce to, averaging light; its shape must be that of the file.

    Raises:
        FiveKError: The file cannot be read, is not 16-bit RGB, or its shape does not fit.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            pixels, tags = page.asarray(), {tag.code: tag.value for tag in page.tags}
    except (OSError, ValueError, KeyError, IndexError) as error:  # KeyError: a codec is missing
        raise FiveKError(f"{path}: cannot be read: {error}") from error
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise FiveKError(f"{path}: expected 16-bit RGB, got {pixels.dtype} of {pixels.shape}")
    if ICC_PROFILE not in tags:
        log.warning("%s: no profile; taken for ProPhoto RGB", path)
    try:
        profile = parse_matrix_profile(tags.get(ICC_PROFILE, PROPHOTO.icc_profile))
    except ProfileError as error:
        raise FiveKError(f"{path}: {error}") from error
    turned = upright(torch.from_numpy(np.moveaxis(pixels, 2, 0)), tags.get(ORIENTATION, 1)).numpy()
    if size is not None:
        _check_shape(path, turned.shape[1:], size)
    linear = torch.cat(
        [_reduced(curve[plane], size) for curve, plane in zip(profile.linear, turned, strict=True)]
    )
    matrix = np.linalg.solve(D50_FROM_D65 @ XYZ_FROM_REC709, profile.xyz_from_linear)
    rec709 = torch.einsum("ij,jhw->ihw", linear.new_tensor(matrix), linear)
    return srgb_encode(rec709.clamp(0, 1)).numpy()


def _reduced(plane: np.ndarray, size: tuple[int, int] | None) -> torch.Tensor:
    """Downscale to `size`: (1, h, w)."""
    image = torch.from_numpy(plane)[None, None]
    if size is not None:
        image = functional.interpolate(image, size, mode="bilinear", antialias=True)
    return image[0]


def _check_shape(path: Path, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    rounding = 1 / min(size)
    if abs(shape[0] * size[1] / (shape[1] * size[0]) - 1) > SAME_SHAPE + rounding:
        raise FiveKError(f"{path}: {shape[1]}x{shape[0]} is no rendering of {size[1]}x{size[0]}")


def _numbered(root: Path, folders: Sequence[str], suffix: str) -> dict[int, Path]:
    """Return files called a0001-... by their number."""
    paths = [
        path
        for nested in NESTED
        for folder in folders
        for path in sorted(root.glob(f"{nested}/{folder}/a*{suffix}"))
    ]
    numbers = [(re.match(r"a(\d{4})-", path.name), path) for path in reversed(paths)]
    return {int(match[1]): path for match, path in numbers if match}


def _some(names: list[str]) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)}: {', '.join(names[:NAMED])}{more}"
