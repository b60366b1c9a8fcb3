"""Tables of pairs, and their division."""

import logging

import numpy as np
import pytest
from PIL import Image

from attiqa.data.preference_pairs import Preferences, divide_preferences, read_preferences
from attiqa.errors import DatasetLayoutError


def test_a_photograph_of_several_pairs_is_there_once(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abc":
        Image.new("RGB", (2, 2)).save(tmp_path / "images" / f"{name}.png")
    table = tmp_path / "pairs.csv"
    rows = ["images/a.png,images/b.png,0.75", "./images/C.png,images/a.png,0"]
    table.write_text("\n".join(["first,second,preference,people", *(f"{r},9" for r in rows)]))
    paths, preferences = read_preferences(table)
    named = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert sorted(named) == ["images/a.png", "images/b.png", "images/c.png"]
    assert [named[row][7] for row in preferences.first] == ["a", "c"]
    assert [named[row][7] for row in preferences.second] == ["b", "a"]
    assert preferences.shares.tolist() == [0.75, 0.0]
    table.write_text("first,second,preference\nimages/a.png,images/A.png,1\n")
    with pytest.raises(DatasetLayoutError, match=r"1 pairs of one photograph, such as images/a"):
        read_preferences(table)


def ends(preferences: Preferences, rows: np.ndarray) -> set[int]:
    return {*preferences.first[rows].tolist(), *preferences.second[rows].tolist()}


@pytest.mark.parametrize("seed", range(3))
def test_pairs_that_share_a_photograph_share_a_part(seed, caplog):
    """Fifty scenes of three photographs each, all compared with one another."""
    scene = 3 * np.arange(50)
    first = np.concatenate([scene, scene, scene + 1])
    second = np.concatenate([scene + 1, scene + 2, scene + 2])
    preferences = Preferences(first, second, np.full(150, 0.5))
    split = divide_preferences(preferences, 0.2, 0.1, seed)
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [105, 15, 30]
    seen = [ends(preferences, part) for part in parts]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 150
    assert not caplog.records


def test_one_tournament_is_divided_by_its_photographs(caplog):
    first, second = np.triu_indices(40, 1)
    preferences = Preferences(first, second, np.full(len(first), 0.5))
    with caplog.at_level(logging.WARNING):
        split = divide_preferences(preferences)
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [28 * 27 / 2, 4 * 3 / 2, 8 * 7 / 2]
    seen = [ends(preferences, part) for part in parts]
    assert [len(part) for part in seen] == [28, 4, 8]
    assert not seen[0] & seen[2]
    assert "368 of 780 pairs are across parts" in caplog.text


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_pairs(count):
    rows = np.arange(count)
    with pytest.raises(DatasetLayoutError, match=f"pairs: {count} "):
        divide_preferences(Preferences(2 * rows, 2 * rows + 1, np.ones(count)))
