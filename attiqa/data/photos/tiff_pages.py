"""Which page of a TIFF file is the photograph.

The first page may be a thumbnail or a mask (NewSubfileType: TIFF 6.0, page 36): the photograph is
the first page behind it that is neither. RAW files are TIFF files too (DNG specification 1.7;
TIFF/EP, ISO 12234-2): what they show without development is a preview, and they are refused.
"""

import struct
from itertools import islice
from pathlib import Path

import tifffile

from attiqa.errors import ImageFormatError

SUBFILE_TYPE = 254
OLD_SUBFILE_TYPE = 255
PHOTOMETRIC = 262
DNG_VERSION = 50706

REDUCED, MASK = 1, 4  # bits of NewSubfileType
OLD_REDUCED = 2
CFA, LINEAR_RAW = 32803, 34892  # of PhotometricInterpretation
CR2 = b"CR\x02"
"""At byte 8 of Canon's files, whose samples are compressed as JPEG and have no CFA tag."""

MOST_PAGES = 100
"""So many pages are searched: the photograph of a file with a thumbnail is the next one."""

BROKEN = (tifffile.TiffFileError, struct.error, ValueError, LookupError, TypeError, ArithmeticError)
"""What tifffile is known to raise on broken directories."""


def photo_page(path: Path) -> int:
    """Find the number of the page that is the photograph.

    A file that tifffile cannot take apart has its first page: decoding says what is wrong with it.

    Raises:
        ImageFormatError: A RAW file, or one whose pages are all thumbnails of what lies elsewhere.
    """
    with path.open("rb") as file:
        if file.read(11)[8:] == CR2:
            raise ImageFormatError("a RAW file: develop it first")
    try:
        with tifffile.TiffFile(path) as file:
            pages = [_tags(page) for page in islice(file.pages, MOST_PAGES)]
            below = [_tags(sub) for sub in islice(file.pages.first.pages or (), MOST_PAGES)]
    except BROKEN:
        return 0
    if any(DNG_VERSION in tags for tags in pages) or any(
        tags.get(PHOTOMETRIC) in (CFA, LINEAR_RAW) for tags in (*pages, *below)
    ):
        raise ImageFormatError("a RAW file: develop it first")
    for number, tags in enumerate(pages):
        if not _is_reduced_or_mask(tags):
            return number
    if any(not _is_reduced_or_mask(tags) for tags in below):
        raise ImageFormatError(
            "a TIFF file of thumbnails whose photograph lies in a SubIFD: expected it in a page; "
            "convert the file"
        )
    return 0


def _tags(page: tifffile.TiffPage | tifffile.TiffFrame) -> dict[int, object]:
    wanted = (SUBFILE_TYPE, OLD_SUBFILE_TYPE, PHOTOMETRIC, DNG_VERSION)
    tags = page.aspage().tags
    return {code: tags[code].value for code in wanted if code in tags}


def _is_reduced_or_mask(tags: dict[int, object]) -> bool:
    kind = tags.get(SUBFILE_TYPE, 0)
    reduced = isinstance(kind, int) and bool(kind & (REDUCED | MASK))
    return reduced or tags.get(OLD_SUBFILE_TYPE) == OLD_REDUCED
