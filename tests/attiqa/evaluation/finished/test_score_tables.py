from pathlib import Path

import numpy as np
import pytest

from attiqa.errors import DatasetLayoutError
from attiqa.evaluation.finished.score_tables import ScoreTable


def table(folder: Path, *lines: str) -> ScoreTable:
    path = folder / "scores.csv"
    path.write_text("\n".join(lines) + "\n")
    return ScoreTable(path)


def test_names_are_ends_of_paths_in_any_spelling(tmp_path):
    scores = table(tmp_path, "name,score,device", "b/2.JPG,2.5,x", "./1.png,-1e-3,x", "3.png,9,x")
    paths = [Path("/data/Images/1.png"), Path("/data/b/2.jpg"), Path("/data/Images/1.png")]
    np.testing.assert_array_equal(scores(paths), [-1e-3, 2.5, -1e-3])


def test_tables_of_attiqa_score_are_read(tmp_path):
    rows = ("photos/\\udcff.png,0.5,", "photos/broken.png,,cannot be decoded")
    scores = table(tmp_path, "path,score,error", *rows)
    assert scores([Path("/data/photos/\udcff.png")]) == [0.5]
    with pytest.raises(DatasetLayoutError, match=r"1 of 1 photographs have no score: broken\.png"):
        scores([Path("photos/broken.png")])


def test_photographs_without_a_score_are_named(tmp_path):
    scores = table(tmp_path, "name,score", "1.png,1", "2.png,oops", "3.png,inf")
    paths = [Path(f"{number}.png") for number in range(9)]
    with pytest.raises(DatasetLayoutError, match=r"8 of 9 .*: 0\.png, 2\.png, 3\.png, .*\.\.\."):
        scores(paths)


def test_a_row_is_of_one_photograph(tmp_path):
    scores = table(tmp_path, "name,score", "1.png,1", "b/1.png,2")
    np.testing.assert_array_equal(scores([Path("a/1.png"), Path("b/1.png")]), [1, 2])
    with pytest.raises(DatasetLayoutError, match=r"1\.png fits both a/1\.png and c/1\.png"):
        scores([Path("c/1.png")])


def test_what_is_no_table_of_scores(tmp_path):
    with pytest.raises(DatasetLayoutError, match=r"names that occur twice: a\.png"):
        table(tmp_path, "name,score", "a.png,1", "A.png,2")
    with pytest.raises(DatasetLayoutError, match="no column"):
        table(tmp_path, "name,quality", "a.png,1")
