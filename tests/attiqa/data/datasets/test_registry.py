"""What holds for every data set: complete, deliberately incomplete, and broken in each way."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attiqa.data.datasets.names import NAMES, PLAIN
from attiqa.data.datasets.registry import DATASETS, load_dataset
from attiqa.data.photo_folder import read_photo
from attiqa.errors import DatasetLayoutError

ROWS = {
    "koniq": 10073,
    "clive": 1162,
    "spaq": 11125,
    "flive": 30253 + 7727 + 1827,
    "ava": 255530,
    "uhdiqa": 4269 + 904 + 900,
    "agiqa3k": 2982,
    "kadid": 10125,
    "tid2013": 3000,
    "biq2021": 12000,
}
"""As their authors state them."""


def test_all_data_sets_are_tested():
    assert set(DATASETS) == {*ROWS, "biq2021-train"}


def test_a_complete_data_set(dataset, published, tmp_path):
    photos = load_dataset(dataset, tmp_path)
    by_name = dict(zip(photos.names, photos.mos, strict=True))
    expected = {
        Path(name).name: mos for name, mos in zip(published.names, published.mos, strict=True)
    }
    assert by_name == pytest.approx(expected)
    assert photos.scale[0] <= photos.mos.min()
    assert photos.mos.max() <= photos.scale[1]
    assert read_photo(photos.paths[0]).shape == (2, 2, 3)
    assert photos.source


def test_the_published_number_of_rows_is_demanded(dataset, miniature, tmp_path):
    with pytest.raises(DatasetLayoutError, match=f"expected {ROWS[dataset]} rows, found 5"):
        load_dataset(dataset, tmp_path)


def test_fewer_rows_on_purpose(dataset, miniature, tmp_path, caplog):
    if dataset == "clive":
        pytest.skip("its lists are MATLAB files with seven leading entries: they are never cut")
    with caplog.at_level(logging.WARNING):
        photos = load_dataset(dataset, tmp_path, subset=True)
    assert len(photos.paths) == 5
    assert "expected" in caplog.text


def test_more_rows_than_published(dataset, published, tmp_path):
    another = re.sub(r"[\da-z](?=\)?\.\w+$)", "7", published.names[0])
    published.write(tmp_path, (*published.names, another), (*published.mos, published.mos[0]))
    with pytest.raises(DatasetLayoutError, match="expected 5 rows, found 6"):
        load_dataset(dataset, tmp_path, subset=True)


def test_missing_images_are_named(dataset, published, tmp_path):
    missing = published.names[1:3]
    for name in missing:
        (tmp_path / published.images / name).unlink()
    with pytest.raises(DatasetLayoutError, match=r"2 of 5 .*missing") as error:
        load_dataset(dataset, tmp_path)
    assert all(name in str(error.value) for name in missing)


def test_images_missing_on_purpose(dataset, published, tmp_path, caplog):
    for name in published.names[1:3]:
        (tmp_path / published.images / name).unlink()
    with caplog.at_level(logging.WARNING):
        photos = load_dataset(dataset, tmp_path, subset=True)
    assert sorted(photos.mos) == pytest.approx([published.mos[index] for index in (0, 3, 4)])
    assert set(published.names[1:3]) <= set(photos.dropped)
    assert published.names[1] in caplog.text
    if photos.split:
        parts = (photos.split.train, photos.split.validation, photos.split.test)
        assert sorted(np.concatenate(parts)) == [0, 1, 2]


def test_a_data_set_without_any_image(dataset, published, tmp_path):
    for name in published.names:
        (tmp_path / published.images / name).unlink()
    with pytest.raises(DatasetLayoutError, match="5 of 5"):
        load_dataset(dataset, tmp_path, subset=True)


def test_the_case_of_file_names_may_differ(dataset, published, tmp_path):
    name = Path(published.names[0])
    folder = tmp_path / published.images / name.parent
    (folder / name.name).rename(folder / f"{name.stem}{name.suffix.upper()}")
    assert f"{name.stem}{name.suffix.upper()}" in load_dataset(dataset, tmp_path).names


def test_a_name_twice(dataset, published, tmp_path):
    names = (*published.names[:2], published.names[1].upper().replace("JPG", "jpg"))
    if dataset in ("ava", "clive", "kadid", "tid2013", "agiqa3k"):
        names = (*published.names[:2], published.names[1])
    published.write(tmp_path, (*names, *published.names[3:]), published.mos)
    with pytest.raises(DatasetLayoutError, match="1 names occur twice"):
        load_dataset(dataset, tmp_path, subset=True)


@pytest.mark.parametrize("score", ["too high", "nan"])
def test_a_score_out_of_range(dataset, published, tmp_path, score):
    if dataset == "ava":
        pytest.skip("its scores are means of votes from 1 to 10")
    wrong = published.too_high if score == "too high" else float("nan")
    published.write(tmp_path, published.names, (*published.mos[:3], wrong, published.mos[4]))
    with pytest.raises(DatasetLayoutError, match=r"expected mos in \[.*; 1 rows") as error:
        load_dataset(dataset, tmp_path, subset=True)
    assert published.names[3] in str(error.value)


@pytest.mark.parametrize(
    ("dataset", "file", "column"),
    [
        ("koniq", "koniq10k_distributions_sets.csv", "MOS"),
        ("koniq", "koniq10k_distributions_sets.csv", "set"),
        ("flive", "labels_image.csv", "mos"),
        ("flive", "labels640.csv", "name_image"),
        ("flive", "labels=640_padded.csv", "is_valid"),
        ("uhdiqa", "uhd-iqa-metadata.csv", "quality_mos"),
        ("uhdiqa", "uhd-iqa-metadata.csv", "set"),
        ("agiqa3k", "data.csv", "mos_quality"),
        ("agiqa3k", "data.csv", "prompt"),
        ("kadid", "dmos.csv", "dmos"),
        ("biq2021", "Test (Images and MOS).csv", "Image Name"),
    ],
    indirect=["dataset"],
)
def test_a_missing_column_is_named(dataset, published, tmp_path, file, column):
    header, rest = (tmp_path / file).read_text().split("\n", 1)
    columns = ["other" if name == column else name for name in header.split(",")]
    (tmp_path / file).write_text(",".join(columns) + "\n" + rest)
    with pytest.raises(DatasetLayoutError, match=rf"no column \['{column}'\].*other"):
        load_dataset(dataset, tmp_path, subset=True)


def test_a_folder_that_is_something_else(dataset, tmp_path):
    with pytest.raises(DatasetLayoutError, match=r"expected the .* layout with"):
        load_dataset(dataset, tmp_path)


def test_names_that_are_known_before_the_readers_are_those_of_the_readers():
    assert sorted(NAMES) == sorted([*DATASETS, PLAIN])


def test_an_unknown_name(tmp_path):
    with pytest.raises(DatasetLayoutError, match=r"koniq.*'live'; did you mean 'flive'\?"):
        load_dataset("live", tmp_path)


def test_an_exact_name_wins_over_one_that_differs_in_case(tmp_path):
    """Linux allows both files; the label must not get the other's image."""
    (tmp_path / "Images").mkdir()
    for name, color in (("A.jpg", "white"), ("a.jpg", "black")):
        Image.new("RGB", (2, 2), color).save(tmp_path / "Images" / name)
    (tmp_path / "Train (Images and MOS).csv").write_text("Image Name,MOS\nA.jpg,0.5\n")
    assert load_dataset("biq2021-train", tmp_path, subset=True).names == ("A.jpg",)
