"""Which files hold photographs, and what opens them.

Suffixes are those of the formats that Pillow can open, without the formats of `NO_PHOTOGRAPHS`.
HEIC and JPEG XL come from plugins of Pillow that are imported when such a file is met.
"""

import stat
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from attiqa.errors import ImageFileError

NO_PHOTOGRAPHS = frozenset(
    {
        *("BUFR", "FITS", "GRIB", "HDF5", "MCIDAS", "SPIDER"),  # measurements
        *("CUR", "ICNS", "ICO", "XBM", "XPM", "MSP", "XVTHUMB"),  # icons, cursors, thumbnails
        *("BLP", "DDS", "FTEX", "GBR", "PIXAR", "IM", "IMT"),  # textures and brushes
        *("EPS", "PDF", "WMF"),  # drawings and pages
        *("FLI", "MPEG", "IPTC", "MIC"),  # films, captions, compound documents
    }
)
"""Formats of Pillow that are passed over in folders."""

PLUGINS: Mapping[str, str] = MappingProxyType({"HEIF": "pillow_heif", "JXL": "pillow_jxl"})
"""Module of the plugin that opens a format."""

EXTRAS: Mapping[str, str] = MappingProxyType({"HEIF": "heif", "JXL": "jxl"})
"""Extra of this package that installs it."""

PLUGIN_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL"}
)
"""Formats by suffix, for advice where the plugin is not installed."""

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
HEIF_BRANDS_OF_SEVERAL_CODECS = (b"mif1", b"msf1")
JXL_SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


@lru_cache(1)
def photo_suffixes() -> frozenset[str]:
    """List the suffixes of files that can be read here, in small letters."""
    Image.init()
    for format_ in PLUGINS:
        load_plugin(format_)
    return frozenset(
        suffix
        for suffix, format_ in Image.registered_extensions().items()
        if format_ in {*Image.OPEN, "MPO"} - NO_PHOTOGRAPHS  # Pillow opens MPO as JPEG first
    )


def missing_extra(suffix: str) -> str | None:
    """Name the extra that files of a suffix need and that is not installed."""
    format_ = PLUGIN_SUFFIXES.get(suffix.lower())
    return None if format_ is None or load_plugin(format_) else EXTRAS[format_]


def open_photo(file: BinaryIO) -> ImageFile.ImageFile:
    """Open an image with Pillow and, where the file asks for it, a plugin.

    Raises:
        UnidentifiedImageError: No decoder knows it.
        ImageFileError: It needs an extra.
    """
    needed = _plugin_format(file.read(32))
    file.seek(0)
    found = needed is None or load_plugin(needed)
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if found or needed is None:
            raise
        name = {"HEIF": "HEIC", "JXL": "JPEG XL"}[needed]
        raise ImageFileError(
            f"{name} needs the plugin {PLUGINS[needed]}: pip install 'attiqa[{EXTRAS[needed]}]'"
        ) from None


def load_plugin(format_: str) -> bool:
    """Let Pillow open a format of `PLUGINS`; False where the plugin is not installed."""
    if find_spec(PLUGINS[format_]) is None:
        return False
    _REGISTER[format_]()
    return True


@lru_cache(1)
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


@lru_cache(1)
def _register_jxl() -> None:
    import pillow_jxl  # noqa: F401  # registers itself


_REGISTER: Mapping[str, Callable[[], None]] = {"HEIF": _register_heif, "JXL": _register_jxl}


def _plugin_format(start: bytes) -> str | None:
    """Recognise a format of `PLUGINS` by the first bytes of a file."""
    if start.startswith(JXL_SIGNATURES):
        return "JXL"
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    return "HEIF" if brand in (*HEIF_BRANDS, *HEIF_BRANDS_OF_SEVERAL_CODECS) else None


def require_regular_file(path: Path) -> None:
    """Refuse what is no file of data before it is opened: a pipe would wait for its writer.

    Raises:
        ImageFileError: Not there, or a folder, pipe, socket or device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise ImageFileError(f"{path}: cannot be read as an image: {error}") from error
    if not stat.S_ISREG(mode):
        raise ImageFileError(f"{path}: expected an image file, found {kind_of_file(mode)}")


def kind_of_file(mode: int) -> str:
    """Say what a `st_mode` stands for."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
