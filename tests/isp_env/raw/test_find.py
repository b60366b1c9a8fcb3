import codecs
import os
import unicodedata
from pathlib import Path

import pytest

from isp_env.raw.find import (
    BatchError,
    RawInput,
    find_inputs,
    is_raw_path,
    output_paths,
    read_list,
)


@pytest.fixture
def photos(tmp_path):
    for name in ("a/one.NEF", "a/b/two.dng", "a/notes.txt", "c/one.dng", "c/one.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(inputs: list[RawInput]) -> list[str]:
    return [one.path.name for one in inputs]


def test_folders_are_searched_files_are_taken_and_each_once(photos):
    found = find_inputs([photos / "a", photos / "c" / "one.dng", photos / "a" / "one.NEF"])
    assert names(found) == ["two.dng", "one.NEF", "one.dng"]
    assert [str(one.relative) for one in found] == ["b/two.dng", "one.NEF", "one.dng"]


def test_globs(photos):
    assert names(find_inputs([str(photos / "*" / "*.dng")])) == ["one.dng"]
    assert names(find_inputs([str(photos / "**" / "*.dng")])) == ["two.dng", "one.dng"]
    with pytest.raises(BatchError, match="nothing matches"):
        find_inputs([photos / "*.cr2"])


def test_lists():
    names = read_list(b"a.dng\n\n# not this\n b c.nef \r\n")
    assert names == [Path("a.dng"), Path("b c.nef")]


def test_lines_with_hashes_and_quotes(tmp_path):
    for name in ("#1.dng", "a b.dng", '"c.dng"'):
        (tmp_path / name).touch()
    lines = b"#1.dng\n# 2.dng\n\"a b.dng\"\n'a b.dng'\n\"c.dng\"\n'gone.dng'\n\"d.dng'\n"
    assert read_list(lines, tmp_path) == [
        *(tmp_path / name for name in ("#1.dng", "a b.dng", "a b.dng", '"c.dng"')),
        *(Path("gone.dng"), Path("\"d.dng'")),
    ]


def test_names_follow_the_pattern(photos):
    inputs = find_inputs([photos / "a"])
    out = Path("out")
    assert list(output_paths(inputs, out, "{relative}", ".jpg").values()) == [
        out / "b" / "two.jpg",
        out / "one.jpg",
    ]
    named = output_paths(inputs, out, "{index:03}_{parent}_{name}_{suffix}", ".tif")
    assert str(named[inputs[1].path]) == "out/002_a_one.NEF_NEF.tif"


def test_collisions_name_both_files(photos):
    inputs = find_inputs([photos / "a", photos / "c"])
    with pytest.raises(BatchError, match=r"a/one\.NEF and .*c/one\.dng would both be written"):
        output_paths(inputs, Path("out"), "{stem}", ".jpg")
    with pytest.raises(BatchError, match="would both be written"):  # a.jpg and A.jpg may be one
        output_paths(
            [RawInput(Path("a.dng"), Path("a.dng")), RawInput(Path("A.dng"), Path("A.dng"))],
            *(Path("out"), "{stem}", ".jpg"),
        )


def test_no_input_is_written_over(photos, monkeypatch):
    inputs = find_inputs([photos / "c" / "one.jpg"])
    monkeypatch.chdir(photos / "a")
    for out in (photos / "c", Path("../c")):
        with pytest.raises(BatchError, match=r"would be written over the input .*c/one\.jpg"):
            output_paths(inputs, out, "{stem}", ".jpg")
    assert output_paths(inputs, photos / "c", "{name}", ".jpg")


@pytest.mark.parametrize("pattern", ["{date}", "{stem", "../{stem}", "/{stem}"])
def test_wrong_patterns(photos, pattern):
    with pytest.raises(BatchError, match="pattern"):
        output_paths(find_inputs([photos / "c"]), Path("out"), pattern, ".jpg")


def test_folders_are_followed_through_links_and_no_file_is_taken_twice(photos):
    (photos / "elsewhere").mkdir()
    (photos / "elsewhere" / "three.cr3").touch()
    (photos / "c" / "linked").symlink_to(photos / "elsewhere")
    (photos / "c" / "again").symlink_to(photos / "elsewhere")
    (photos / "c" / "loop").symlink_to(photos / "c")
    (photos / "elsewhere" / "up").symlink_to(photos)
    (photos / "a" / "same.nef").symlink_to(photos / "a" / "one.NEF")
    assert sorted(names(find_inputs([photos / "c"]))) == [
        *("one.NEF", "one.dng", "three.cr3", "two.dng")
    ]
    assert names(find_inputs([photos / "a"])) == ["two.dng", "one.NEF"]


def test_what_is_passed_over_is_counted(photos, caplog):
    folder = photos / "card"
    for name in (
        *("a.dng", "b.JPG", "c.jpg", "README", "._a.dng", "x.dng/inside.nef"),
        *("@eaDir/a.dng/thumb.nef", ".AppleDouble/a.dng", "__MACOSX/._a.dng"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    os.mkfifo(folder / "pipe.dng")
    (folder / "gone.dng").symlink_to("nowhere")
    (folder / "self.dng").symlink_to("self.dng")
    assert names(find_inputs([folder])) == ["a.dng", "inside.nef"]
    (said,) = caplog.messages
    assert said == (
        f"{folder}: passed over, as no RAW files: 1 .AppleDouble, 1 ._*, 2 .jpg, 1 @eaDir, "
        "1 __MACOSX, 2 broken link, 1 no regular file, 1 without suffix"
    )


def test_an_unreadable_folder(photos, monkeypatch, caplog):
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BatchError, match=r"a/b: Permission denied"):
        find_inputs([photos / "a" / "b"])
    assert names(find_inputs([photos / "a"])) == ["one.NEF"]
    assert "a/b: passed over: Permission denied" in caplog.text


KNOWN_TO_LIBRAW = """
    3fr ari arw bay cap cine cr2 cr3 crw cs1 dc2 dcr dcs dng drf erf fff gpr ia iiq k25 kc2 kdc mdc
    mef mfw mos mrw nef nrw orf ori pef ptx pxn qtk raf raw rw2 rwl rwz sr2 srf srw sti x3f
"""


@pytest.mark.parametrize("suffix", KNOWN_TO_LIBRAW.split())
def test_suffixes(suffix):
    assert is_raw_path(f"a.{suffix}")
    assert is_raw_path(f"a.{suffix.upper()}")


@pytest.mark.parametrize("suffix", ["insp", "insv", "tif", "jpg", "xmp", "dng.json", ""])
def test_other_suffixes(suffix):
    assert not is_raw_path(f"a.{suffix}")


def test_a_file_that_is_named_may_have_any_suffix(photos):
    assert names(find_inputs([photos / "a" / "notes.txt"])) == ["notes.txt"]


@pytest.fixture
def odd(tmp_path, monkeypatch) -> Path:
    """A folder of oddly named files, and a list's folder elsewhere; we are in neither."""
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ("a b.dng", "Größe.dng", os.fsdecode(b"b\xe9d_\xff.dng"), "three\u2028.dng"):
        (folder / name).touch()
    (folder / unicodedata.normalize("NFD", "é.dng")).touch()
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    "content",
    [
        "a b.dng\r\nGröße.dng\r\n".encode(),
        "a b.dng\rGröße.dng".encode("utf-8-sig"),
        "a b.dng\nGröße.dng\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "a b.dng\r\nGröße.dng".encode("utf-16-be"),
        "a b.dng\nGröße.dng\n".encode("utf-32"),
        "a b.dng\nGröße.dng\n".encode("latin-1"),
        unicodedata.normalize("NFD", "a b.dng\nGröße.dng\n").encode(),
    ],
)
def test_lists_of_any_encoding(odd, content):
    assert read_list(content, odd) == [odd / "a b.dng", odd / "Größe.dng"]
    (odd.parent / "a b.dng").touch()  # the working folder comes first
    assert read_list(content, odd)[0] == Path("a b.dng")


def test_lists_of_bytes(odd):
    found = read_list(b"b\xe9d_\xff.dng\nthree\xe2\x80\xa8.dng\n\xc3\xa9.dng\n", odd)
    assert [path.exists() for path in found] == [True] * 3
    assert os.fsencode(found[0].name) == b"b\xe9d_\xff.dng"


@pytest.mark.parametrize("content", [b"a\0b.dng", b"\xff\xfea", "a.dng".encode("utf-16-le")])
def test_lists_that_are_no_text(content):
    with pytest.raises(BatchError, match="the list of files"):
        read_list(content)


def test_what_a_list_names_may_be_missing(photos):
    found = find_inputs([], read_list(b"a/one.NEF\ngone.dng\nc/*.dng\na/b\n", photos))
    assert names(found) == ["one.NEF", "gone.dng", "one.dng", "two.dng"]
    with pytest.raises(BatchError, match=r"gone\.dng: no such file"):
        find_inputs(["gone.dng"])


@pytest.mark.data
def test_lists_as_windows_writes_them(data, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lists = data / "faults" / "names"
    for name, count in (("bom.txt", 2), ("utf16.txt", 1), ("bytes.txt", 1)):
        found = read_list((lists / name).read_bytes(), lists)
        assert sum(path.exists() for path in found) == count, name


def test_without_a_pattern_equal_stems_are_told_apart(tmp_path):
    def named(*files: str) -> list[str]:
        inputs = [RawInput(tmp_path / file, Path(file)) for file in files]
        paths = output_paths(inputs, Path("out"), None, ".png").values()
        return [path.relative_to("out").as_posix() for path in paths]

    assert named("a.dng", "b.dng") == ["a.png", "b.png"]
    assert named("a.dng", "A.nef", "b.dng") == ["a.dng.png", "A.nef.png", "b.png"]
    assert named("2023/a.dng", "2024/a.dng") == ["2023_a.dng.png", "2024_a.dng.png"]
    years = named("2023/DCIM/a.dng", "2024/DCIM/a.dng")
    assert years == ["2023_DCIM_a.dng.png", "2024_DCIM_a.dng.png"]
    assert named("contact_sheet.dng") == ["contact_sheet.dng.png"]
    joined = named("a_b/c.dng", "a/b_c.dng", "a_b_c.dng", "x/a_b_c.dng")
    assert len(set(joined)) == 4


def test_long_names_are_shortened(tmp_path):
    long = [tmp_path / f"{'x' * 248}{end}.nef" for end in ("abc", "abd")]
    inputs = [RawInput(path, Path(path.name)) for path in long]
    for pattern in (None, "{stem}"):
        whole = output_paths(inputs, Path("out"), pattern, ".jpg").values()
        assert [path.stem for path in whole] == [path.stem for path in long]
    cut = [path.name for path in output_paths(inputs, Path("out"), "{name}", ".jpg").values()]
    assert len(set(cut)) == 2
    assert {len(name) for name in cut} == {255}


def test_a_line_that_is_too_long_for_a_name_is_a_missing_file(tmp_path):
    (tmp_path / "a.dng").touch()
    listed = read_list(b"x" * 5000 + b"\na.dng\n", tmp_path)
    found = find_inputs([], listed)
    assert [len(str(one.path)) for one in found] == [5000, len(str(tmp_path / "a.dng"))]
