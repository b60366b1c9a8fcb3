"""Divisions in and out as lists of names."""

import json
from pathlib import Path

import numpy as np
import pytest

from attiqa.data.rated_photos import RatedPhotos, split_hash
from attiqa.data.split_files import read_splits, write_splits
from attiqa.data.splits import divide, random_splits
from attiqa.errors import DatasetLayoutError, SettingsError


def rated(names, **more) -> RatedPhotos:
    return RatedPhotos(
        "made up", tuple(map(Path, names)), np.arange(len(names)) * 1.0, (0.0, 9.0), **more
    )


PHOTOS = rated([f"folder/{number}.jpg" for number in range(20)])


def test_what_is_written_is_read(tmp_path):
    splits = random_splits(20, 3, validation=0.1)
    write_splits(tmp_path / "splits.json", PHOTOS, splits)
    found = read_splits(tmp_path / "splits.json", PHOTOS)
    names = PHOTOS.names
    assert [split_hash(names, s) for s in found] == [split_hash(names, s) for s in splits]


def test_one_division_of_some_photographs(tmp_path):
    (tmp_path / "own.json").write_text('{"train": ["3.jpg", "1.jpg"], "test": ["2.jpg"]}')
    (split,) = read_splits(tmp_path / "own.json", PHOTOS)
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == (
        [1, 3],
        [],
        [2],
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "expected"),
        ("[3]", "expected"),
        (json.dumps([{"train": ["1.jpg"], "test": ["99.jpg"]}]), r"division 1: 1 names .*99\.jpg"),
        (json.dumps([{"train": ["1.jpg"], "test": ["1.jpg"]}]), r"'1\.jpg' is named 2 times"),
        (json.dumps([{"train": ["1.jpg"]}]), "no photographs in 'test'"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(DatasetLayoutError, match=said):
        read_splits(tmp_path / "own.json", PHOTOS)


def test_names_must_tell_photographs_apart(tmp_path):
    write_splits(tmp_path / "splits.json", PHOTOS, random_splits(20, 1))
    with pytest.raises(DatasetLayoutError, match=r"not unique, such as 1\.jpg"):
        read_splits(tmp_path / "splits.json", rated(["a/1.jpg", "b/1.jpg"]))


def test_the_paper_divides_flive_and_ava_as_their_authors_do():
    official = random_splits(20, 1, validation=0.0, seed=7)[0]
    ava = RatedPhotos("AVA", PHOTOS.paths, PHOTOS.mos, (1.0, 10.0), split=official)
    koniq = RatedPhotos("KonIQ-10k", PHOTOS.paths, PHOTOS.mos, (1.0, 5.0), split=official)
    (split,) = divide(ava)
    assert np.array_equal(split.test, official.test)
    assert len(divide(koniq)) == 10
    assert all(len(split.train) == 16 and not len(split.validation) for split in divide(koniq))
    assert len(divide(ava, 3)) == 3
    (checked,) = divide(ava, validation=0.25)
    assert len(checked.validation) == 4
    assert np.array_equal(checked.test, official.test)
    given = RatedPhotos("AVA", PHOTOS.paths, PHOTOS.mos, (1.0, 10.0), split=checked)
    assert divide(given, validation=0.5)[0] is checked  # the authors' own validation part


def test_too_few_photographs_for_so_few_labels_are_named():
    with pytest.raises(SettingsError, match=r"labels: 0\.01 of 20 photographs"):
        divide(PHOTOS, labels=0.01)
