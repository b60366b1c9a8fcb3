import os
import socket
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from attiqa.data.photos import formats
from attiqa.data.photos.decoding import read_photo, rgb_pixels
from attiqa.data.photos.formats import missing_extra, photo_suffixes
from attiqa.errors import ImageFileError


def without_plugins(monkeypatch) -> None:
    """A machine where neither plugin is installed; Pillow forgets what they registered."""
    for format_ in ("HEIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, format_, raising=False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name not in ("HEIF", "JXL")])
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    photo_suffixes.cache_clear()


@pytest.fixture(autouse=True)
def fresh_suffixes():
    yield
    photo_suffixes.cache_clear()


@pytest.fixture
def picture(photo) -> np.ndarray:
    return np.ascontiguousarray(photo[:96, :128])


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
JXL = b"\xff\x0a" + bytes(64)


@pytest.mark.parametrize(
    "suffix",
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".gif", ".bmp"),
        *(".avif", ".jp2", ".ppm", ".psd", ".mpo", ".tga"),
    ],
)
def test_suffixes_of_photographs(suffix):
    assert suffix in photo_suffixes()


@pytest.mark.parametrize(
    "suffix",
    [".dng", ".nef", ".pdf", ".eps", ".mpg", ".mp4", ".ico", ".icns", ".svg", ".h5", ".txt"],
)
def test_suffixes_of_other_files(suffix):
    assert suffix not in photo_suffixes()


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_without_the_plugin(tmp_path, monkeypatch, brand):
    without_plugins(monkeypatch)
    (tmp_path / "a.jpg").write_bytes(HEIC.replace(b"ftypheic", b"ftyp" + brand))
    with pytest.raises(ImageFileError, match=r"a\.jpg: .*pip install 'attiqa\[heif\]'"):
        read_photo(tmp_path / "a.jpg")
    assert ".heic" not in photo_suffixes()
    assert missing_extra(".HEIC") == "heif"


def test_jpeg_xl_without_the_plugin(tmp_path, monkeypatch):
    without_plugins(monkeypatch)
    (tmp_path / "a.jxl").write_bytes(JXL)
    with pytest.raises(ImageFileError, match=r"a\.jxl: .*pip install 'attiqa\[jxl\]'"):
        read_photo(tmp_path / "a.jxl")
    assert missing_extra(".jxl") == "jxl"
    assert missing_extra(".jpg") is None


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic(tmp_path, picture, orientation):
    pytest.importorskip("pillow_heif", reason="needs the extra heif")
    photo_suffixes()  # registers
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.heic", exif=exif.tobytes(), quality=95)
    shown = picture if orientation == 1 else np.rot90(picture, -1)
    found = read_photo(tmp_path / "a.heic")
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).mean() < 4
    assert {".heic", ".heif", ".hif"} <= photo_suffixes()


def test_jpeg_xl_has_its_own_orientation(tmp_path, picture):
    """ISO/IEC 18181-2: decoders ignore that of EXIF; a packed JPEG is a JPEG."""
    pytest.importorskip("pillow_jxl", reason="needs the extra jxl")
    photo_suffixes()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(picture)
    image.save(tmp_path / "a.jxl", exif=exif.tobytes(), lossless=True)
    assert np.array_equal(read_photo(tmp_path / "a.jxl"), picture)
    buffer = BytesIO()
    image.save(buffer, "JPEG", exif=exif.tobytes(), quality=95)
    (tmp_path / "b.jpg").write_bytes(buffer.getvalue())
    with Image.open(tmp_path / "b.jpg") as jpeg:
        jpeg.save(tmp_path / "b.jxl", lossless_jpeg=True)
    packed = read_photo(tmp_path / "b.jxl").astype(int)
    assert packed.shape == (128, 96, 3)
    assert np.abs(packed - read_photo(tmp_path / "b.jpg")).mean() < 1


@pytest.mark.parametrize("name", ["a.jfif", "a.JPE", "a.avif", "a.jp2", "a.TIFF", "a.ppm"])
def test_files_of_rarer_suffixes_are_read(tmp_path, picture, name):
    format_ = Image.registered_extensions()[f".{name.split('.')[1].lower()}"]
    Image.fromarray(picture).save(tmp_path / name, format_, quality=95)
    assert np.abs(read_photo(tmp_path / name).astype(int) - picture).mean() < 4


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = tmp_path / "a.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/null")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("a.jpg")
    with pytest.raises(ImageFileError, match=rf"a\.jpg: expected an image file, found .*{kind}"):
        read_photo(path)


def test_a_name_that_no_system_has(tmp_path):
    for name in ("a" * 300 + ".jpg", "a\0b.jpg"):
        with pytest.raises(ImageFileError, match="cannot be read as an image"):
            read_photo(tmp_path / name)


def test_premultiplied_grey():
    grey = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    image = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (60, 60), 255)])
    assert np.array_equal(rgb_pixels(image.convert("La"))[..., 0], grey)
