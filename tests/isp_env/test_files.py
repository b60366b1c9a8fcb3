"""A file is either whole or as it was before."""

import os

import pytest
from filelock import Timeout

from isp_env.files import alone_in, atomic_path, fitting, shown


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


def test_a_name_of_255_bytes_is_written(tmp_path):
    path = tmp_path / ("ü" * 125 + "x.jpg")
    assert len(os.fsencode(path.name)) == 255
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    odd = tmp_path / f"a.{'b' * 253}"
    with atomic_path(odd) as temporary:
        temporary.write_text("new")
    assert odd.read_text() == "new"


def test_names_that_fit_stay_and_longer_ones_are_told_apart():
    assert fitting("a.jpg", ".json") == "a.jpg.json"
    assert fitting("x" * 250, ".json") == "x" * 250 + ".json"
    long = [fitting("x" * 250 + end, ".json") for end in ("a", "b")]
    assert len(set(long)) == 2
    assert {len(name) for name in long} == {255}
    assert all(name.startswith("xxx") and name.endswith(".json") for name in long)
    cut = fitting("a" + "三" * 84, ".json")
    assert len(os.fsencode(cut)) <= 255
    assert cut.startswith("a三三")
    assert os.fsencode(fitting(os.fsdecode(b"\xff" * 255), ".jpg")).decode()


def test_names_for_people():
    assert shown("a/ü 三.dng") == "a/ü 三.dng"
    assert shown(os.fsdecode(b"b\xe9d.dng")) == "b\\xe9d.dng"
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"


def test_a_folder_is_held_by_one_and_freed_after_an_error(tmp_path):
    busy = ValueError("another one is at work")
    held = alone_in(tmp_path, busy)
    with held, pytest.raises(ValueError, match="another one"), alone_in(tmp_path, busy):
        pytest.fail("held twice")
    with pytest.raises(Timeout), alone_in(tmp_path, busy):
        raise Timeout("of the work inside: another lock's")
    with alone_in(tmp_path, busy):
        pass
