from pathlib import Path

import pytest

from isp_env.batch_inputs import BatchError, RawInput, find_inputs, output_paths, read_list


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
    assert read_list(["a.dng\n", "\n", "# not this\n", " b c.nef \n"]) == ["a.dng", "b c.nef"]


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
