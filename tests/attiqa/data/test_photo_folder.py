import logging
import os
import socket

import pytest
from PIL import Image

from attiqa.data.photo_folder import list_photos
from attiqa.data.photos import formats
from attiqa.errors import DatasetLayoutError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (8, 8)).save(root / name)
    return root


def names(folder) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_photos(folder)]


def add(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")


def test_suffixes_of_any_case_and_of_rare_formats(folder):
    for name in ("c.jfif", "d.JPE", "e.avif", "f.JPEG", "g.Tif", "h.jp2"):
        add(folder / name)
    assert names(folder) == sorted(
        ["a.png", "c.jfif", "d.JPE", "e.avif", "f.JPEG", "g.Tif", "h.jp2", "sub/b.png"]
    )


def test_links_to_folders_are_followed(folder, tmp_path):
    add(tmp_path / "elsewhere" / "deep" / "x.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert names(folder) == ["a.png", "link/deep/x.png", "sub/b.png"]


def test_links_in_circles_and_to_one_place_count_once(folder, tmp_path, caplog):
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "0").symlink_to(folder / "sub")
    (folder / "self").symlink_to(folder / "self")
    add(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    for name in ("l1", "l2"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    with caplog.at_level(logging.INFO):
        assert names(folder) == ["a.png", "l1/x.png", "sub/b.png"]
    assert "links to what is listed" in caplog.text


def test_a_linked_file_counts_once_and_its_own_place_is_named(folder, tmp_path):
    add(tmp_path / "elsewhere" / "x.png")
    (folder / "0.png").symlink_to(folder / "a.png")
    (folder / "y.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (folder / "z.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    assert names(folder) == ["a.png", "sub/b.png", "y.png"]


def test_what_only_looks_like_a_photograph_is_passed_over(folder, caplog, monkeypatch):
    os.mkfifo(folder / "pipe.jpg")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
    (folder / "device.jpg").symlink_to("/dev/null")
    (folder / "gone.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "folder.jpg").mkdir()
    add(folder / "folder.jpg" / "inside.png")
    for name in ("._a.png", "@eaDir/t.png", ".AppleDouble/a.png", "__MACOSX/._a.png"):
        add(folder / name)
    with caplog.at_level(logging.INFO):
        assert names(folder) == ["a.png", "folder.jpg/inside.png", "sub/b.png"]
    (line,) = caplog.messages
    for part in ("1 named pipes", "1 sockets", "1 devices", "1 broken links", "1 ._* of macOS"):
        assert part in line
    for part in ("1 folders @eaDir", "1 folders .AppleDouble", "1 folders __MACOSX"):
        assert part in line


def test_one_line_counts_what_was_passed_over_by_suffix(folder, caplog):
    for name in ("1.NEF", "2.nef", "sub/3.nef", "notes.txt", "README"):
        (folder / name).touch()
    with caplog.at_level(logging.INFO):
        assert names(folder) == ["a.png", "sub/b.png"]
    (line,) = caplog.messages
    assert "root: 2 image files; passed over: 3 .nef, " in line
    assert "1 .txt" in line
    assert "1 without a suffix" in line


def test_many_suffixes_are_summed_up(folder, caplog):
    for index in range(30):
        (folder / f"x.{index}").touch()
    with caplog.at_level(logging.INFO):
        list_photos(folder)
    assert "18 of other kinds" in caplog.text


def test_nothing_is_said_where_nothing_was_passed_over(folder, caplog):
    with caplog.at_level(logging.INFO):
        list_photos(folder)
    assert not caplog.messages


def test_the_extra_for_heic_is_named(folder, caplog, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    monkeypatch.setattr(
        "attiqa.data.photo_folder.photo_suffixes", lambda: frozenset({".png", ".jpg"})
    )
    (folder / "a.HEIC").touch()
    with caplog.at_level(logging.INFO):
        list_photos(folder)
    assert "1 .heic (to read them: pip install 'attiqa[heif]')" in caplog.text


def test_a_folder_that_cannot_be_searched_is_reported(folder, caplog, monkeypatch):
    scan = os.scandir

    def refused(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert names(folder) == ["a.png"]
    assert "sub: cannot be searched: Permission denied" in caplog.text


def test_a_missing_folder_and_one_without_photographs(tmp_path):
    with pytest.raises(DatasetLayoutError, match="absent: cannot be searched"):
        list_photos(tmp_path / "absent")
    (tmp_path / "a.nef").touch()
    with pytest.raises(DatasetLayoutError, match=r"no image files; passed over: 1 \.nef"):
        list_photos(tmp_path)


def test_names_that_are_no_text(folder, caplog):
    (folder / os.fsdecode(b"x.\xff")).touch()
    add(folder / os.fsdecode(b"\xe4.png"))
    with caplog.at_level(logging.INFO):
        assert len(list_photos(folder)) == 3
    assert r"1 .\udcff" in caplog.text


@pytest.mark.data
def test_the_reported_folder(data):
    folder = data / "faults" / "images"
    assert {"06_photo.jfif", "07_photo.JPE", "08_photo.avif"} <= {
        p.name for p in list_photos(folder)
    }
