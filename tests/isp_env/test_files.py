"""A file is either whole or as it was before."""

import os

import pytest

from isp_env.files import atomic_path


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "picture.png"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_text("old")
    forced: list[tuple[int, str]] = []
    force = os.fsync

    def fsync(descriptor: int) -> None:
        force(descriptor)
        forced.append((os.fstat(descriptor).st_ino, path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert forced == [(path.stat().st_ino, "old")]


def test_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        _fail_half_way(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "nowhere" / "picture.png"):
        pass


def _fail_half_way(path):
    path.write_text("half")
    raise RuntimeError
