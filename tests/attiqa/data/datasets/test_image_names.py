"""Names in label files: text, matched whatever wrote them."""

import os
import unicodedata
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from PIL import Image

from attiqa.data.datasets.image_names import ImageNames, name_key
from attiqa.data.datasets.own_folder import read_plain
from attiqa.data.datasets.registry import load_dataset
from attiqa.errors import DatasetLayoutError

COMPOSED = unicodedata.normalize("NFC", "Ärger/Zoë é.png")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
ODD = [
    "0001",
    "007.50",
    "NA",
    "null",
    "NaN",
    "None",
    "1e5",
    "True",
    "FALSE",
    "-",
    "#N/A",
    "2020-01-01",
]


def save(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name, "PNG")


def labels(folder: Path, *names: str) -> Path:
    table = pd.DataFrame({"name": names, "mos": [1 + index % 4 for index in range(len(names))]})
    table.to_csv(folder / "scores.csv", index=False)
    return folder / "scores.csv"


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_names_and_groups_that_look_like_something_else_stay_text(tmp_path, suffix):
    save(tmp_path / "images", *[name.replace("/", "-") for name in ODD])
    names = [name.replace("/", "-") for name in ODD]
    path = tmp_path / f"mine{suffix}"
    groups = [name for pair in zip(names[::2], names[::2], strict=True) for name in pair]
    if suffix == ".csv":
        rows = "".join(
            f"{n},{g},{i % 5}\n" for i, (n, g) in enumerate(zip(names, groups, strict=True))
        )
        path.write_text("name,scene,mos\n" + rows)
    else:
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.append(["name", "scene", "mos"])
        for index, (name, group) in enumerate(zip(names, groups, strict=True), 2):
            for column, value in enumerate((name, group), 1):
                cell = sheet.cell(index, column, value)
                cell.data_type = "s"  # text, as in a column that is formatted so
            sheet.cell(index, 3, (index - 2) % 5)
        book.save(path)
    photos = read_plain(path, tmp_path / "images", (0.0, 5.0), group="scene")
    assert list(photos.names) == names
    assert photos.groups == tuple(groups)
    assert photos.mos.tolist() == [index % 5 for index in range(len(names))]


@pytest.mark.parametrize(("label", "file"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_composed_and_decomposed_letters_are_the_same(tmp_path, label, file):
    save(tmp_path, file)
    labels(tmp_path, label)
    photos = load_dataset("plain", tmp_path, scale=(0.0, 5.0))
    assert photos.paths == (tmp_path / file,)


def test_the_exact_form_goes_before_the_other(tmp_path):
    save(tmp_path, "é.png", unicodedata.normalize("NFD", "é.png"), "É.png")
    files = ImageNames(tmp_path)
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "é.png")
        assert files.find(name) == tmp_path / name
    assert files.find(unicodedata.normalize("NFD", "É.png")) == tmp_path / "É.png"


@pytest.mark.parametrize(
    "name",
    ["./a/b.png", ".\\a\\b.png", "a\\b.png", "a//b.png", "c/../a/b.png", "A/B.PNG", "././a/b.png"],
)
def test_how_a_path_is_written_does_not_count(tmp_path, name):
    save(tmp_path, "a/b.png")
    labels(tmp_path, name)
    assert load_dataset("plain", tmp_path, scale=(0.0, 5.0)).paths == (tmp_path / "a" / "b.png",)


def test_a_backslash_in_the_name_of_a_file(tmp_path):
    save(tmp_path, "a\\b.png", "a/b.png")
    assert ImageNames(tmp_path).find("a\\b.png") == tmp_path / "a\\b.png"


def test_absolute_names_and_names_of_a_neighbour(tmp_path):
    save(tmp_path, "a/b.png", "c/d.png")
    files = ImageNames(tmp_path / "a")
    assert files.find(str(tmp_path / "c" / "d.png")) == tmp_path / "c" / "d.png"
    found = files.find("../c/d.png")
    assert found is not None
    assert found.resolve() == tmp_path / "c" / "d.png"


def test_a_folder_is_no_image(tmp_path):
    (tmp_path / "a.png").mkdir()
    assert ImageNames(tmp_path).find("a.png") is None


@pytest.mark.parametrize("name", ["/", "//", "\\", ".", "..", "a/.."])
def test_a_name_of_a_folder_is_a_missing_image(tmp_path, name):
    save(tmp_path, "a/b.png")
    labels(tmp_path, name)
    with pytest.raises(DatasetLayoutError, match="labelled images missing"):
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))


@pytest.mark.parametrize(
    "rows", ["a.png,3,9\nb.png,2,9\n", "a.png,3\nb.png,2,9\n", "a.png,3\nb.png\n"]
)
def test_a_row_of_another_length_than_the_header_is_named(tmp_path, rows):
    save(tmp_path, "a.png", "b.png")
    (tmp_path / "scores.csv").write_text("name,mos\n" + rows)
    line = 2 if rows.startswith("a.png,3,") else 3
    with pytest.raises(DatasetLayoutError, match=rf"scores\.csv: .*line {line}: expected 2 fields"):
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_two_columns_of_one_name_are_refused(tmp_path, suffix):
    table = pd.DataFrame([["a.png", 1, 5]], columns=["name", "mos", "MOS"])
    path = tmp_path / f"labels{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_excel(path, index=False)
    save(tmp_path, "a.png")
    with pytest.raises(DatasetLayoutError, match=r"columns \['mos'\] occur twice"):
        read_plain(path, tmp_path, (0.0, 5.0))


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_pipe_is_no_table(tmp_path, suffix):
    os.mkfifo(tmp_path / f"labels{suffix}")
    with pytest.raises(DatasetLayoutError, match="expected a table, found a named pipe"):
        read_plain(tmp_path / f"labels{suffix}", tmp_path, (0.0, 5.0))


@pytest.mark.parametrize("again", ["./a.png", "b/../a.png", "A.PNG", ".\\a.png", "b\\..\\a.png"])
def test_one_file_under_two_spellings_is_refused(tmp_path, again):
    save(tmp_path, "a.png", "b/c.png")
    labels(tmp_path, "a.png", again)
    with pytest.raises(DatasetLayoutError, match=r"scores\.csv: 1 names occur twice") as error:
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))
    assert again in str(error.value)


def test_two_forms_of_one_name_are_refused(tmp_path):
    save(tmp_path, COMPOSED)
    labels(tmp_path, COMPOSED, DECOMPOSED)
    with pytest.raises(DatasetLayoutError, match="occur twice"):
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))
    assert name_key(COMPOSED) == name_key(DECOMPOSED)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_header_alone_is_an_error(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    table = pd.DataFrame({"name": [], "mos": []})
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_excel(path, index=False)
    with pytest.raises(DatasetLayoutError, match=rf"mine\{suffix}: a header without rows"):
        read_plain(path, tmp_path, (0.0, 5.0))


@pytest.mark.parametrize("content", ["", "\n", "\ufeff"])
def test_an_empty_file_is_an_error(tmp_path, content):
    (tmp_path / "scores.csv").write_text(content)
    with pytest.raises(DatasetLayoutError, match=r"scores\.csv"):
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))


@pytest.mark.parametrize(("row", "what"), [(",x,2", "a file name"), ("b.png,,2", "a group")])
def test_rows_without_a_name_or_a_group(tmp_path, row, what):
    save(tmp_path, "a.png", "b.png")
    (tmp_path / "scores.csv").write_text(f"name,group,mos\na.png,x,1\n{row}\n")
    with pytest.raises(DatasetLayoutError, match=f"1 rows without {what}"):
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))


@pytest.mark.parametrize("score", ["", "good", "nan", "1,5"])
def test_a_score_that_is_no_number(tmp_path, score):
    save(tmp_path, "a.png")
    (tmp_path / "scores.csv").write_text(f'name,mos\na.png,"{score}"\n')
    with pytest.raises(
        DatasetLayoutError, match=r"expected mos in \[0, 5\]; 1 rows differ: a\.png"
    ):
        load_dataset("plain", tmp_path, scale=(0.0, 5.0))


@pytest.mark.data
def test_the_reported_folders(data):
    folder = data / "faults" / "labels"
    dots = load_dataset("plain", folder / "dotslash", scale=(0.0, 5.0))
    assert (dots.names, dots.mos.tolist()) == (("a.png", "b.png"), [3, 4])
    odd = load_dataset("plain", folder / "name_NA", scale=(0.0, 5.0))
    assert (odd.names, odd.mos.tolist()) == (("NA", "null", "c.png"), [3, 4, 3])
